"""When each frame of a video is on screen, known from its packets without decoding wherever that can be trusted.

Reading all packets takes about a hundredth of the time of decoding them. Their timestamps are believed when every
shown packet has one and `stamps` finds in them the order of the pictures on screen. AVI numbers its chunks in decoding
order, and old files pack two pictures into one: neither passes. `decoder.decode_timeline` is for all the rest.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.video.avi import lost_by_index
from tdn_data.pipeline.video.bitstream import is_blank, packet_reader
from tdn_data.pipeline.video.completeness import announced_seconds, announces_duration, is_cut_off
from tdn_data.pipeline.video.container import flags_incomplete_packets, format_names, open_video, read_packets
from tdn_data.pipeline.video.continuity import breaks as find_breaks
from tdn_data.pipeline.video.continuity import lost_by_numbers, usual_step
from tdn_data.pipeline.video.decode_plan import PacketTable
from tdn_data.pipeline.video.matroska import has_empty_block, torn_blocks
from tdn_data.pipeline.video.packet_facts import BROKEN, PREDICTED, PacketFacts
from tdn_data.pipeline.video.settings import find_foreign
from tdn_data.pipeline.video.stamps import are_believable, can_reorder, is_nearly_rising, lost_after, unseen_after
from tdn_data.pipeline.video.structure import lacks_time_scale
from tdn_data.pipeline.video.unannounced import lacks_its_end

MAX_KEPT_BYTES = 64 << 20  # compressed packets kept from the first pass, so that the second need not read them again
_GUESSED = {"flv", "mpegts", "nut"}  # store no durations: what FFmpeg says of them follows from a rate
_STAMPING = {"matroska", "webm", "mpegts", "flv", "nut"}  # store each picture's time, and none for one that stays on
_HOLDING_BACK = ("h264", "hevc", "mpeg1video", "mpeg2video")  # whose decoders show nothing before they can
_PLAIN = ("rawvideo", "huffyuv", "ffvhuff", "v210", "r210", "yuv4", "v408", "v410")  # a flat picture may be one byte
FALLBACK_FRAME_SECONDS = 0.04  # for a frame whose duration nothing tells


@dataclass(frozen=True)
class Timeline:
    """Frames 0 .. N - 1 of a video that can be decoded. Times are in seconds from the first shown frame."""

    pts_seconds: np.ndarray  # float64 (N,), rising; from 0, or later if the beginning cannot be decoded
    end_seconds: float  # when the last frame leaves the screen
    tick_seconds: float
    gap_after: np.ndarray  # bool (N,): what was to come next on screen cannot be decoded
    announced_seconds: float  # for a video without gaps the same as `end_seconds`
    announced_frames: int
    table: PacketTable | None = None  # packets in decoding order; None: frames are known only by decoding all
    frame_packets: np.ndarray | None = None  # int64 (N,): the packet of each frame
    lost_seconds: np.ndarray | None = None  # float64 (N,): when the next packet's picture was due, NaN for unknown
    outputs: np.ndarray | None = None  # int64 (N,): each frame's place among all that a full decode gives

    @property
    def leaves_seconds(self) -> np.ndarray:
        """When each frame leaves the screen, float64 (N,); before a gap, after the time a frame usually stays."""
        next_seconds = np.append(self.pts_seconds[1:], self.end_seconds)
        usual_seconds = self.pts_seconds + np.median(next_seconds - self.pts_seconds)
        if self.lost_seconds is not None:
            usual_seconds = np.where(np.isnan(self.lost_seconds), usual_seconds, self.lost_seconds)
        return np.where(self.gap_after, np.minimum(next_seconds, usual_seconds), next_seconds)


@dataclass(frozen=True)
class PacketRows:
    """The packets of one stream in file order, one entry per packet in each sequence."""

    pts: tuple[int | None, ...]
    duration: tuple[int | None, ...]  # ticks
    keyframe: tuple[bool, ...]
    discard: tuple[bool, ...]  # decoded but cut away by an edit list
    facts: tuple[PacketFacts, ...]
    packets: tuple[av.Packet, ...] | None  # None: more than MAX_KEPT_BYTES
    damaged: bool  # some packet is incomplete
    cut_off: bool  # the file ends too early
    lacks_end: bool  # so it does, and says nowhere how much was to come
    changes_setup: bool  # decoder configuration replaced half-way
    readable: bool  # `facts` were read from the packets, and not just assumed
    holds_back: bool  # after a reset the decoder shows nothing before it can show it right
    lost: dict[int, int]  # packet -> how many pictures are missing on screen after its own
    pauses: dict[int, int]  # the same by nothing but a steady rate: left out by the encoder, or lost
    breaks: np.ndarray  # bool (P,): what the packet may need is missing before it

    @property
    def resumes(self) -> np.ndarray:
        """Where decoding may go on after damage, bool (P,): by the packets themselves, else by the container."""
        told = np.array([fact.start or fact.restart for fact in self.facts], dtype=bool)
        if self.readable and (told[1:].any() or not self.holds_back):
            return told
        return told if all(self.keyframe[1:]) and not self.holds_back else told | np.array(self.keyframe, dtype=bool)

    @property
    def begins_in_the_middle(self) -> bool:
        """Whether pictures come first that need others from before the beginning, as in a recording of a broadcast."""
        resumes = self.resumes
        known = bool(resumes.any()) or (self.readable and not self.holds_back)
        return known and len(resumes) > 0 and not resumes[0] and not self.facts[0].broken

    @property
    def leading(self) -> np.ndarray:
        """Which pictures come after a start and are shown before it, bool (P,); no later one is predicted from them."""
        leads, start = np.zeros(len(self.pts), dtype=bool), None
        for number, (pts, fact) in enumerate(zip(self.pts, self.facts, strict=True)):
            start = pts if fact.start else start
            leads[number] = None not in (start, pts) and pts < start
        return leads

    @property
    def shown(self) -> np.ndarray:
        """Which packets give a picture on screen, bool (P,)."""
        return np.array([fact.shown for fact in self.facts], dtype=bool) & ~np.array(self.discard, dtype=bool)

    @property
    def shown_pts(self) -> list[int]:
        """The stamps of those packets, without those that have none."""
        return [pts for pts, shown in zip(self.pts, self.shown.tolist(), strict=True) if shown and pts is not None]

    @property
    def due_packets(self) -> np.ndarray:
        """The packets that give a picture or are spoiled, int64, in the order of decoding."""
        broken = np.array([fact.broken for fact in self.facts], dtype=bool)
        return np.flatnonzero(self.shown | (broken & ~np.array(self.discard, dtype=bool)))

    @property
    def due_pts(self) -> list[int]:
        """The stamps of `due_packets`, without those that have none."""
        return [self.pts[packet] for packet in self.due_packets.tolist() if self.pts[packet] is not None]


def read_rows(path: str | os.PathLike, container: InputContainer, stream: VideoStream) -> PacketRows:
    """Read all packets of the stream, to the end of the file or to where it breaks."""
    context = stream.codec_context
    codec = context.codec
    reader = packet_reader(codec.canonical_name, context.extradata, intra_only=codec.intra_only)
    read = reader or (lambda packet: PREDICTED)
    compresses = codec.canonical_name not in _PLAIN
    rows, dts, packets, places, num_bytes, failed = [], [], [], [], 0, False
    foreign = find_foreign(path, container, stream)
    try:
        for packet in read_packets(container, stream):
            is_foreign = foreign is not None and (packet.pos or 0) >= foreign.begin
            if is_foreign and not foreign.is_told:
                break
            is_broken = is_foreign or (compresses and is_blank(memoryview(packet)))
            keyframe, facts = packet.is_keyframe, BROKEN if is_broken else read(memoryview(packet))
            new_setup = keyframe and packet.has_sidedata("new_extradata")
            discard = packet.is_discard and not is_foreign
            rows.append((packet.pts, packet.duration, keyframe, discard, facts, packet.is_corrupt, new_setup))
            dts.append(packet.dts)
            places.append((packet.pos or 0, packet.size))
            num_bytes += packet.size
            if num_bytes <= MAX_KEPT_BYTES:
                packets.append(packet)
            else:
                packets.clear()
    except MemoryError:
        raise
    except av.FFmpegError:
        failed = True
    pts, duration, keyframe, discard, facts, corrupt, new_setup = zip(*rows, strict=True) if rows else ((),) * 7
    ends_inside = bool(places) and _ends_inside_picture(path, container, places[-1])
    if ends_inside:
        facts = (*facts[:-1], _spoiled(facts[-1]))
    torn = set(torn_blocks(path)) if "matroska" in format_names(container) else set()
    facts = tuple(_spoiled(fact) if place in torn else fact for fact, (place, _) in zip(facts, places, strict=True))
    extent = {"num_packets": len(rows), "span_seconds": _span_seconds(pts, duration, stream)}
    seconds = np.sort([ticks for ticks in pts if ticks is not None]) * float(stream.time_base)
    extent["begin_seconds"] = max(float(seconds[0]), 0.0) if len(seconds) else 0.0
    extent |= {"frame_seconds": _usual_frame_seconds(seconds, stream)}
    unlisted = lost_by_index(path, container, stream, dts)
    damaged = any(corrupt) and flags_incomplete_packets(container)
    ends_inside = ends_inside or (damaged and corrupt[-1] and not announces_duration(container))
    spoiled = failed or damaged or bool(torn) or _tell_of_loss(facts)
    seen = _Seen(path, pts, tuple(places), discard, facts, spoiled)
    lost, breaks = _missing(container, seen, unlisted)
    return PacketRows(
        lost=lost,
        pauses={} if _proves_loss(seen) or unlisted else _holes(container, seen),
        breaks=breaks,
        pts=pts,
        duration=duration,
        keyframe=keyframe,
        discard=discard,
        facts=facts,
        packets=tuple(packets) if num_bytes <= MAX_KEPT_BYTES else None,
        damaged=damaged,
        cut_off=failed or is_cut_off(path, container, stream, **extent),
        lacks_end=ends_inside or lacks_its_end(path),
        changes_setup=any(new_setup[1:]),
        readable=reader is not None,
        holds_back=codec.canonical_name in _HOLDING_BACK,
    )


class _Seen(NamedTuple):
    """The packets of a file, one entry per packet in each sequence."""

    path: str | os.PathLike
    pts: Sequence[int | None]
    places: Sequence[tuple[int, int]]  # first byte, number of bytes
    discard: Sequence[bool]
    facts: Sequence[PacketFacts]
    spoiled: bool  # something of the file is damaged


def _ends_inside_picture(path: str | os.PathLike, container: InputContainer, last: tuple[int, int]) -> bool:
    """Whether a DV file (IEC 61834) ends inside its last picture, which FFmpeg fills up from the one before."""
    return "dv" in format_names(container) and sum(last) > os.stat(path).st_size


def _spoiled(fact: PacketFacts) -> PacketFacts:
    """The same picture, of which only the place can be believed."""
    return fact._replace(broken=True, start=False, restart=False, new_setup=False)


def _proves_loss(seen: _Seen) -> bool:
    """Whether a hole in a steady rate is a loss: the pictures carry numbers, or other packets are spoiled.

    Without either an encoder that leaves a picture out writes the same file as one that lost it.
    """
    return seen.spoiled or _are_numbered(seen.facts)


def _missing(container: InputContainer, seen: _Seen, by_index: dict[int, int]) -> tuple[dict[int, int], np.ndarray]:
    """`PacketRows.lost` and `.breaks`: by the pictures' numbers, else by the index or by holes in a steady rate."""
    pts, facts = seen.pts, seen.facts
    numbered, suspect = _are_numbered(facts), any(fact.suspect for fact in facts)
    keys: Sequence[int | None] = [fact.order for fact in facts] if numbered or suspect else pts
    lost = {} if suspect else by_index or (_holes(container, seen) if _proves_loss(seen) else {})
    by_numbers = {}
    if numbered and not suspect:  # a pause between pictures whose numbers follow one another is nothing missing
        lost = {at: count for at, count in lost.items() if not _is_followed(at, pts, facts)}
        by_numbers = lost_by_numbers(facts)
    names_references = all(fact.names_references for fact in facts if fact.shown)
    untold = lost.keys() - by_numbers.keys() if names_references else lost.keys() | by_numbers.keys()
    return _without_spoiled(lost | by_numbers, pts, facts), find_breaks(facts, keys, untold)


def _without_spoiled(lost: dict[int, int], pts: Sequence[int | None], facts: Sequence[PacketFacts]) -> dict[int, int]:
    """`lost` without the pictures whose packets are there and spoiled."""
    lost = dict(lost)
    for packet in (at for at, fact in enumerate(facts) if fact.broken and not fact.shown and pts[at] is not None):
        before = [at for at in lost if pts[at] is not None and pts[at] < pts[packet]]
        nearest = max(before, key=lambda at: pts[at], default=None)
        if nearest is not None:
            lost[nearest] -= 1
            lost = {at: count for at, count in lost.items() if count}
    return lost


def _are_numbered(facts: Sequence[PacketFacts]) -> bool:
    return bool(facts) and all(fact.order is not None for fact in facts if fact.shown)


def _holes(container: InputContainer, seen: _Seen) -> dict[int, int]:
    """Packet -> how many pictures are missing on screen after its own, by holes in a steady rate."""
    pts, names = seen.pts, format_names(container)
    shown = (at for at, fact in enumerate(seen.facts) if fact.shown and not seen.discard[at] and pts[at] is not None)
    packet_of = {pts[at]: at for at in shown}
    if not packet_of or names.isdisjoint(_STAMPING):
        return {}
    stamps = sorted(packet_of)
    counts = lost_after(np.array(stamps, dtype=np.int64)).tolist()
    lost = {packet_of[stamp]: count for stamp, count in zip(stamps, counts, strict=True) if count}
    stays = "matroska" in names
    return {at: count for at, count in lost.items() if not (stays and _is_followed_by_empty(at, seen))}


def pause_words(rows: PacketRows, stream: VideoStream) -> str | None:
    """A sentence about the first of `PacketRows.pauses`, and how many more there are; None for none."""
    if not rows.pauses:
        return None
    packet, *more = sorted(rows.pauses, key=lambda at: rows.pts[at])
    seconds = (rows.pts[packet] - min(rows.shown_pts)) * float(stream.time_base)
    places = f" and at {len(more)} more place{'s' if len(more) > 1 else ''}" if more else ""
    return f"after {seconds:.2f} s{places} a picture is missing from a steady rate: left out by the encoder, or lost"


def _is_followed_by_empty(packet: int, seen: _Seen) -> bool:
    following = seen.places[packet + 1 : packet + 2]
    return bool(following) and has_empty_block(seen.path, seen.places[packet], following[0][0])


def _is_followed(packet: int, pts: Sequence[int | None], facts: Sequence[PacketFacts]) -> bool:
    """Whether the next picture on screen after a packet's own has the next place by the numbers of both."""
    later = [at for at, fact in enumerate(facts) if fact.shown and pts[at] is not None and pts[at] > pts[packet]]
    following = min(later, key=lambda at: pts[at], default=packet)
    return facts[following].order - facts[packet].order == usual_step(fact.order for fact in facts if fact.shown)


def packet_timeline(
    path: str | os.PathLike, container: InputContainer, stream: VideoStream, rows: PacketRows
) -> Timeline | None:
    """Timeline from the packets alone; None where their timestamps are not to be believed."""
    if lacks_time_scale(path, float(stream.time_base)) or not _is_believable(stream, rows):
        return None
    pts, shown = np.array([0 if pts is None else pts for pts in rows.pts], dtype=np.int64), rows.shown
    if _may_begin_hidden(rows, pts, shown):
        first = _first_shown_pts(path)
        if first is None:
            return None
        shown &= pts >= first
    if not shown.any():
        return None
    frame_packets = np.flatnonzero(shown)
    frame_packets = frame_packets[np.argsort(pts[frame_packets], kind="stable")]
    droppable = _droppable(rows.facts)
    table = PacketTable(pts=pts, shown=shown, droppable=droppable, starts=_starts(rows))
    ticks = pts[frame_packets] - pts[frame_packets[0]]
    return make_timeline(
        ticks,
        container,
        stream,
        rows,
        tick=stream.time_base,
        last_seconds=_stored_seconds(container, stream, rows.duration[frame_packets[-1]]),
        known_lost=np.array([rows.lost.get(row, 0) for row in frame_packets.tolist()], dtype=np.int64),
        table=table,
        frame_packets=frame_packets,
    )


def make_timeline(
    ticks: np.ndarray,
    container: InputContainer,
    stream: VideoStream,
    rows: PacketRows,
    *,
    tick: Fraction,
    last_seconds: float = 0.0,
    known_lost: np.ndarray | None = None,
    breaks_off: bool = False,
    lost_seconds: np.ndarray | None = None,
    **packets: np.ndarray | PacketTable,
) -> Timeline:
    """Timeline from rising ticks of `tick` seconds each; the last frame stays for `last_seconds`, 0 for unknown.

    `known_lost` int64 (N,): how many pictures are known to be missing after each. `breaks_off`: more may be missing, so
    that only the header tells how long the video was to be.
    """
    pts_seconds = ticks * tick.numerator / tick.denominator
    end_seconds = float(pts_seconds[-1]) + (last_seconds or _usual_frame_seconds(pts_seconds, stream))
    lost = np.zeros(len(ticks), dtype=np.int64) if known_lost is None else known_lost
    gap_after = lost > 0
    if rows.cut_off:  # some of the last pictures may have been held back for others that are gone
        depth = stream.codec_context.reorder_depth if can_reorder(stream.codec_context) else 0
        gap_after[-1 - depth :] = True
        if lost_seconds is not None:  # the next picture on screen may be one of those, and not the next packet's
            held_back = np.arange(len(ticks)) >= len(ticks) - _reordering(rows.shown_pts)
            lost_seconds = np.where(held_back, np.nan, lost_seconds)
    announced_end, announced_frames = end_seconds, len(ticks) + int(lost.sum())
    if breaks_off or rows.cut_off:
        span_seconds = _span_seconds(rows.pts, rows.duration, stream)
        if not any(rows.duration):  # the last picture stays as long as others do
            span_seconds += _usual_frame_seconds(pts_seconds, stream)
        by_header = announced_seconds(container, stream) if rows.cut_off or not span_seconds else 0.0
        announced_end = max(end_seconds, span_seconds, by_header)
        by_duration = round(announced_end * len(ticks) / end_seconds) if rows.cut_off else 0
        announced_frames = max(announced_frames, stream.frames, int(rows.shown.sum()), by_duration)
    return Timeline(
        pts_seconds=pts_seconds,
        end_seconds=end_seconds,
        tick_seconds=float(stream.time_base),
        gap_after=gap_after,
        announced_seconds=announced_end,
        announced_frames=announced_frames,
        lost_seconds=lost_seconds,
        **packets,
    )


def lost_by_stamps(
    ticks: np.ndarray, pts: Sequence[int | None], container: InputContainer, rows: PacketRows
) -> np.ndarray:
    """How many pictures are lost after each by their own stamps, int64 (N,); only where a container stores stamps.

    `pts` are those of the pictures' packets. Where nothing is spoiled, a hole is a loss if a packet's stamp lies in it.
    """
    if format_names(container).isdisjoint(_STAMPING) or _are_numbered(rows.facts):
        return np.zeros(len(ticks), dtype=np.int64)
    lost = lost_after(ticks)
    if rows.damaged or _tell_of_loss(rows.facts):
        return lost
    return np.where(unseen_after(pts, rows.shown_pts) > 0, lost, 0)


def _tell_of_loss(facts: Sequence[PacketFacts]) -> bool:
    """Whether a packet is spoiled, or a picture itself says that one is missing which it needs."""
    return any(fact.broken or (fact.after_loss and fact.names_references) for fact in facts)


def _is_believable(stream: VideoStream, rows: PacketRows) -> bool:
    if rows.damaged or rows.breaks.any() or any(fact.suspect or fact.broken for fact in rows.facts):
        return False
    if rows.begins_in_the_middle and stream.codec_context.codec.canonical_name not in _HOLDING_BACK:
        return False
    shown = np.flatnonzero(rows.shown)
    pts = [rows.pts[row] for row in shown.tolist()]
    if not pts or None in pts:
        return False
    starts = np.searchsorted(shown, _starts(rows))
    facts = [rows.facts[row] for row in shown.tolist()]
    return are_believable(stream.codec_context, np.array(pts, dtype=np.int64), facts, starts[starts < len(pts)])


def _may_begin_hidden(rows: PacketRows, pts: np.ndarray, shown: np.ndarray) -> bool:
    """Whether the decoder may swallow the first pictures, having never seen what they are predicted from."""
    first_shown = int(np.argmax(shown))
    clean = rows.keyframe[0] and rows.facts[0].start
    return not clean or bool((pts[shown] < pts[first_shown]).any())


def _first_shown_pts(path: str | os.PathLike) -> int | None:
    """Timestamp of the first picture that the decoder gives out; None where there is none or damage comes before it."""
    with open_video(path) as (container, stream):
        for packet in chain(read_packets(container, stream), [None]):  # None asks for what the decoder holds back
            try:
                frames = stream.codec_context.decode(packet)
            except MemoryError:
                raise
            except av.FFmpegError:
                if announces_duration(container):
                    return None
                continue  # recordings of broadcasts begin anywhere
            if frames:
                return frames[0].pts
    return None


def _droppable(facts: tuple[PacketFacts, ...]) -> np.ndarray:
    highest_layer = max(fact.layer for fact in facts)
    return np.array([fact.droppable and fact.layer == highest_layer for fact in facts], dtype=bool)


def _starts(rows: PacketRows) -> np.ndarray:
    """Packets where decoding can begin, the first packet among them.

    Parameter sets sent along the way narrow the choice: when later starts repeat them, only those starts will do, and
    when they come anywhere else, decoding always begins at the first packet.
    """
    starts = [i for i, fact in enumerate(rows.facts) if i > 0 and fact.start and rows.keyframe[i]]
    setups = {i for i, fact in enumerate(rows.facts) if i > 0 and fact.parameters}
    if rows.changes_setup or not setups <= set(starts):
        starts = []
    elif setups:
        starts = sorted(setups)
    return np.array([0, *starts], dtype=np.int64)


def _span_seconds(pts: tuple[int | None, ...], duration: tuple[int | None, ...], stream: VideoStream) -> float:
    """From the first timestamp to the end of the last; where times begin anew, at least as long as all are shown."""
    ends = [begin + (ticks or 0) for begin, ticks in zip(pts, duration, strict=True) if begin is not None]
    if not ends:
        return 0.0
    begins = np.array([begin for begin in pts if begin is not None], dtype=np.int64)
    seconds = float((max(ends) - int(begins.min())) * stream.time_base)
    return seconds if is_nearly_rising(begins) else max(seconds, len(begins) * _mean_frame_seconds(stream))


def _reordering(pts: Sequence[int]) -> int:
    """By how many places pictures are shown apart from where they are decoded."""
    order = np.argsort(np.array(pts, dtype=np.int64), kind="stable")
    return int(np.abs(order - np.arange(len(order))).max(initial=0))


def _stored_seconds(container: InputContainer, stream: VideoStream, duration: int | None) -> float:
    """A packet's duration, 0 where the container stores none."""
    return 0.0 if format_names(container) & _GUESSED else float((duration or 0) * stream.time_base)


def _usual_frame_seconds(pts_seconds: np.ndarray, stream: VideoStream) -> float:
    """How long a picture stays: by the announced rate, unless the pictures' own times plainly contradict it."""
    mean_seconds = _mean_frame_seconds(stream)
    if len(pts_seconds) < 2:
        return mean_seconds
    seen_seconds = float(np.median(np.diff(pts_seconds)))
    agree = stream.average_rate and 0.5 < seen_seconds / mean_seconds < 2
    return mean_seconds if agree else seen_seconds


def _mean_frame_seconds(stream: VideoStream) -> float:
    return float(1 / stream.average_rate) if stream.average_rate else FALLBACK_FRAME_SECONDS
