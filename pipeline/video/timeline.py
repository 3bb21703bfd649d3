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

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.video.completeness import announced_seconds, announces_duration
from tdn_data.pipeline.video.container import open_video, read_packets
from tdn_data.pipeline.video.decode_plan import PacketTable
from tdn_data.pipeline.video.frame_seconds import are_of_pictures, span_seconds_of, stored_seconds, usual_frame_seconds
from tdn_data.pipeline.video.packet_facts import PacketFacts
from tdn_data.pipeline.video.packet_rows import HOLDING_BACK, PacketRows, stamped
from tdn_data.pipeline.video.stamps import are_believable, can_reorder, lost_after
from tdn_data.pipeline.video.structure import lacks_time_scale

_SILENT = ("av1",)  # whose decoders may show another picture in place of one that is missing


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
    met_too_large: bool = False  # some pictures were refused for their size
    packet_seconds: float = np.inf  # from one packet's picture to the next, usually, by the packets' own stamps
    outputs: np.ndarray | None = None  # int64 (N,): each frame's place among all that a full decode gives

    @property
    def leaves_seconds(self) -> np.ndarray:
        """When each frame leaves the screen, float64 (N,); before a gap, after the time a frame usually stays.

        Of the middle and the mean time the shorter one: stamps that are rounded to 10 and 20 ms lie apart from it. And
        not longer than from packet to packet: of few frames that are left all may stand before gaps.
        """
        next_seconds = np.append(self.pts_seconds[1:], self.end_seconds)
        stays = next_seconds - self.pts_seconds
        usual = min(np.median(stays), self.packet_seconds)
        if not self.gap_after.all():
            usual = min(usual, stays[~self.gap_after].mean())
        usual_seconds = self.pts_seconds + usual
        if self.lost_seconds is not None:
            usual_seconds = np.where(np.isnan(self.lost_seconds), usual_seconds, self.lost_seconds)
        return np.where(self.gap_after, np.minimum(next_seconds, usual_seconds), next_seconds)


def packet_timeline(
    path: str | os.PathLike, container: InputContainer, stream: VideoStream, rows: PacketRows, *, max_pixels: int
) -> Timeline | None:
    """Timeline from the packets alone; None where their timestamps are not to be believed."""
    if lacks_time_scale(path, float(stream.time_base)) or not _is_believable(stream, rows):
        return None
    pts, shown = np.array([0 if pts is None else pts for pts in rows.pts], dtype=np.int64), rows.shown
    if _may_begin_hidden(rows, pts, shown):
        first = _first_shown_pts(path, rows, max_pixels=max_pixels)
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
    durations = [rows.duration[packet] for packet in frame_packets.tolist()]
    last_seconds = stored_seconds(container, stream, durations[-1]) if are_of_pictures(durations, ticks) else 0.0
    return make_timeline(
        ticks,
        container,
        stream,
        rows,
        tick=stream.time_base,
        last_seconds=last_seconds,
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
    usual_seconds = usual_frame_seconds(pts_seconds, stream, rows.duration)
    end_seconds = float(pts_seconds[-1]) + (last_seconds or usual_seconds)
    lost = np.zeros(len(ticks), dtype=np.int64) if known_lost is None else known_lost
    gap_after = lost > 0
    if rows.lacks_end and _is_steady(ticks):
        gap_after[-1] = True
    if rows.cut_off:  # some of the last pictures may have been held back for others that are gone
        depth = stream.codec_context.reorder_depth if can_reorder(stream.codec_context) else 0
        gap_after[-1 - depth :] = True
        if lost_seconds is not None:  # the next picture on screen may be one of those, and not the next packet's
            held_back = np.arange(len(ticks)) >= len(ticks) - _reordering(rows.shown_pts)
            lost_seconds = np.where(held_back, np.nan, lost_seconds)
    announced_end, announced_frames = end_seconds, len(ticks) + int(lost.sum())
    announced_end += int(lost[-1]) * (end_seconds - float(pts_seconds[-1]))  # the last ones were to stay as long
    if breaks_off or rows.cut_off:
        span_seconds = span_seconds_of(rows.pts, rows.duration, stream)
        if not any(rows.duration):  # the last picture stays as long as others do
            span_seconds += usual_seconds
        begin_seconds = min(rows.shown_pts, default=0) * float(stream.time_base)
        by_header = announced_seconds(container, stream, begin_seconds=begin_seconds)
        by_header = by_header if rows.cut_off or not span_seconds else 0.0
        announced_end = max(announced_end, span_seconds, by_header)
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
        packet_seconds=_packet_ticks(rows) * float(tick) if tick == stream.time_base else np.inf,
        **packets,
    )


def _is_believable(stream: VideoStream, rows: PacketRows) -> bool:
    if rows.damaged or rows.breaks.any() or any(fact.suspect or fact.broken for fact in rows.facts):
        return False
    if rows.begins_in_the_middle and stream.codec_context.codec.canonical_name not in HOLDING_BACK:
        return False
    shown = np.flatnonzero(rows.shown)
    pts = [rows.pts[row] for row in shown.tolist()]
    if not pts or None in pts:
        return False
    if stream.codec_context.codec.canonical_name in _SILENT and lost_after(np.sort(pts)).any():
        return False
    starts = np.searchsorted(shown, _starts(rows))
    facts = [rows.facts[row] for row in shown.tolist()]
    return are_believable(stream.codec_context, np.array(pts, dtype=np.int64), facts, starts[starts < len(pts)])


def _may_begin_hidden(rows: PacketRows, pts: np.ndarray, shown: np.ndarray) -> bool:
    """Whether the decoder may swallow the first pictures, having never seen what they are predicted from."""
    first_shown = int(np.argmax(shown))
    clean = rows.keyframe[0] and rows.facts[0].start
    return not clean or bool((pts[shown] < pts[first_shown]).any())


def _first_shown_pts(path: str | os.PathLike, rows: PacketRows, *, max_pixels: int) -> int | None:
    """Timestamp of the first picture that the decoder gives out; None where there is none or damage comes before it."""
    with open_video(path, max_pixels=max_pixels) as (container, stream):
        packets = stamped(read_packets(container, stream), rows.pts)
        for packet in chain(packets, [None]):  # None asks for what the decoder holds back
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


def _packet_ticks(rows: PacketRows) -> float:
    """The middle distance of the packets' stamps; infinite where there are no two."""
    steps = np.diff(np.unique(np.array(rows.shown_pts, dtype=np.int64)))
    return float(np.median(steps)) if len(steps) else np.inf


def _is_steady(ticks: np.ndarray) -> bool:
    """Whether all pictures stay equally long, but for the rounding of their times."""
    steps = np.diff(ticks)
    return bool(len(steps) and np.ptp(steps) <= 1)


def _reordering(pts: Sequence[int]) -> int:
    """By how many places pictures are shown apart from where they are decoded."""
    order = np.argsort(np.array(pts, dtype=np.int64), kind="stable")
    return int(np.abs(order - np.arange(len(order))).max(initial=0))
