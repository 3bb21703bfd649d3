"""The packets of one stream and what they say of themselves, read without decoding."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.video.bare import clock_reader, is_bare, shown_times
from tdn_data.pipeline.video.bitstream import has_hole, is_blank, packet_reader
from tdn_data.pipeline.video.completeness import announced_seconds, announces_duration, is_cut_off
from tdn_data.pipeline.video.container import flags_incomplete_packets, format_names, read_packets
from tdn_data.pipeline.video.container_losses import ContainerLosses, find_losses
from tdn_data.pipeline.video.continuity import time_by_number
from tdn_data.pipeline.video.frame_seconds import span_seconds_of, usual_frame_seconds
from tdn_data.pipeline.video.missing import SeenPackets, holes_in_rate, missing_pictures, proves_loss, tell_of_loss
from tdn_data.pipeline.video.packet_facts import BROKEN, PREDICTED, PacketFacts
from tdn_data.pipeline.video.screen_family import whole_reader
from tdn_data.pipeline.video.settings import find_foreign
from tdn_data.pipeline.video.unannounced import lacks_its_end

MAX_KEPT_BYTES = 64 << 20  # compressed packets kept from the first pass, so that the second need not read them again
HOLDING_BACK = ("h264", "hevc", "mpeg1video", "mpeg2video")  # whose decoders show nothing before they can
_PLAIN = ("rawvideo", "huffyuv", "ffvhuff", "v210", "r210", "yuv4", "v408", "v410")  # a flat picture may be one byte


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
    lacks_beginning: bool  # packets are missing before the first
    ends_unmarked: bool  # the file has no mark of its end where its kind has one, and is sound
    is_torn: bool  # something in it is missing or makes no sense where that need not have cost a picture
    has_wrong_sum: bool  # a check sum is not that of the bytes, and no packet is known to be spoiled
    changes_setup: bool  # decoder configuration replaced half-way
    readable: bool  # `facts` were read from the packets, and not just assumed
    is_bare: bool  # without a container, which would store times
    holds_back: bool  # after a reset the decoder shows nothing before it can show it right
    lost: dict[int, int]  # packet -> how many pictures are missing on screen after its own
    pauses: dict[int, int]  # the same by nothing but a steady rate: left out by the encoder, or lost
    holes: frozenset[int]  # packets right behind which, by the container, others are missing
    breaks: np.ndarray  # bool (P,): what the packet may need is missing before it

    @property
    def resumes(self) -> np.ndarray:
        """Where decoding may go on after damage, bool (P,): by the packets themselves, else by the container."""
        said = np.array([fact.start or fact.restart for fact in self.facts], dtype=bool)
        if self.readable and (said[1:].any() or not self.holds_back):
            return said
        return said if all(self.keyframe[1:]) and not self.holds_back else said | np.array(self.keyframe, dtype=bool)

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


class _Table(NamedTuple):
    """The packets as FFmpeg gives them, one entry per packet in each sequence."""

    pts: tuple[int | None, ...] = ()
    dts: tuple[int | None, ...] = ()
    duration: tuple[int | None, ...] = ()
    keyframe: tuple[bool, ...] = ()
    discard: tuple[bool, ...] = ()
    facts: tuple[PacketFacts, ...] = ()
    incomplete: tuple[bool, ...] = ()  # as marked by FFmpeg, which for some containers means nothing
    new_setup: tuple[bool, ...] = ()
    places: tuple[tuple[int, int], ...] = ()  # first byte, number of bytes
    clock: tuple[int | None, ...] = ()  # a bare stream's own; see `bare`


def read_rows(
    path: str | os.PathLike, container: InputContainer, stream: VideoStream, *, max_pixels: int
) -> PacketRows:
    """Read all packets of the stream, to the end of the file or to where it breaks."""
    codec = stream.codec_context.codec
    reader = packet_reader(codec.canonical_name, stream.codec_context.extradata, intra_only=codec.intra_only)
    context = stream.codec_context
    sees_whole = whole_reader(codec.canonical_name, bits_per_pixel=context.bits_per_coded_sample, width=context.width)
    table, packets, failed = _read_table(path, container, stream, reader or sees_whole or (lambda packet: PREDICTED))
    own = shown_times(container, table.pts, table.duration, table.clock)
    table = table if own is None else table._replace(pts=own[0], duration=own[1])
    losses = find_losses(path, container, stream, table.pts, table.dts, table.places)
    ends_inside = _ends_inside_picture(path, container, table.places)
    table = _corrected(table, losses, ends_inside=ends_inside)
    damaged = any(table.incomplete) and flags_incomplete_packets(container)
    cut_off, lacks_end = _ends_early(path, container, stream, table, losses, max_pixels=max_pixels)
    spoiled = failed or damaged or bool(losses.spoiled or losses.apart) or tell_of_loss(table.facts)
    seen = SeenPackets(path, table.pts, table.places, table.discard, table.facts, spoiled)
    lost, breaks = missing_pictures(container, seen, losses.lost, losses.apart)
    return PacketRows(
        pts=table.pts,
        duration=table.duration,
        keyframe=table.keyframe,
        discard=table.discard,
        facts=table.facts,
        packets=None if packets is None else tuple(stamped(packets, table.pts)),
        damaged=damaged,
        cut_off=failed or cut_off,
        lacks_end=ends_inside or lacks_end,
        lacks_beginning=losses.lacks_beginning or _begins_spoiled(container, stream, table.facts),
        ends_unmarked=losses.ends_unmarked,
        is_torn=losses.is_torn,
        has_wrong_sum=losses.has_wrong_sum and not any(fact.broken for fact in table.facts),
        changes_setup=any(table.new_setup[1:]),
        readable=reader is not None,
        is_bare=is_bare(container),
        holds_back=codec.canonical_name in HOLDING_BACK,
        lost=lost,
        pauses={} if proves_loss(seen) or losses.lost else holes_in_rate(container, seen),
        holes=frozenset(losses.lost),
        breaks=breaks,
    )


def stamped(packets: Iterable[av.Packet], pts: Sequence[int | None]) -> Iterator[av.Packet]:
    """A stream's packets, each with its time `pts`."""
    for packet, time in zip(packets, pts, strict=False):
        packet.pts = time
        yield packet


def _read_table(
    path: str | os.PathLike,
    container: InputContainer,
    stream: VideoStream,
    read: Callable[[memoryview], PacketFacts],
) -> tuple[_Table, tuple[av.Packet, ...] | None, bool]:
    """The table, `PacketRows.packets`, and whether the file breaks. `read` says what a sound packet tells of itself."""
    rows, packets, num_bytes, failed = [], [], 0, False
    codec, foreign = stream.codec_context.codec.canonical_name, find_foreign(path, container, stream)
    read_clock = clock_reader(container) or (lambda packet: None)
    try:
        for packet in read_packets(container, stream):
            is_foreign = foreign is not None and (packet.pos or 0) >= foreign.begin
            if is_foreign and not foreign.is_known:
                break
            facts = BROKEN if is_foreign or _is_overwritten(packet, codec) else read(memoryview(packet))
            discard = packet.is_discard and not is_foreign
            keyframe, place = packet.is_keyframe, (packet.pos or 0, packet.size)
            marks = (packet.is_corrupt, keyframe and packet.has_sidedata("new_extradata"))
            times = (packet.pts, packet.dts, packet.duration)
            rows.append((*times, keyframe, discard, facts, *marks, place, read_clock(memoryview(packet))))
            num_bytes += packet.size
            if num_bytes <= MAX_KEPT_BYTES:
                packets.append(packet)
            else:
                packets.clear()
    except MemoryError:
        raise
    except av.FFmpegError:
        failed = True
    return _Table(*zip(*rows, strict=True)), tuple(packets) if num_bytes <= MAX_KEPT_BYTES else None, failed


def _is_overwritten(packet: av.Packet, codec: str) -> bool:
    """Whether bytes stand in a packet that its codec never writes."""
    is_flat = codec not in _PLAIN and is_blank(memoryview(packet))
    return is_flat or has_hole(bytes(packet), codec)


def _corrected(table: _Table, losses: ContainerLosses, *, ends_inside: bool) -> _Table:
    """The table with the right times and marks of what is spoiled; `ends_inside`: the last picture is."""
    spoiled = losses.spoiled | ({len(table.facts) - 1} if ends_inside else set())
    pts = [losses.moved.get(number, time) for number, time in enumerate(table.pts)]
    due = {number: time_by_number(number, pts, table.facts) for number, time in losses.moved.items() if time is None}
    return table._replace(
        pts=tuple(due.get(number, time) for number, time in enumerate(pts)),
        facts=tuple(_spoiled(fact) if number in spoiled else fact for number, fact in enumerate(table.facts)),
    )


def _ends_early(
    path: str | os.PathLike,
    container: InputContainer,
    stream: VideoStream,
    table: _Table,
    losses: ContainerLosses,
    *,
    max_pixels: int,
) -> tuple[bool, bool]:
    """`PacketRows.cut_off` and `lacks_end`, by the container and by what the last packet is marked with."""
    says_length = _says_length(container, stream)
    cut_off = bool(losses.cut_off) and says_length
    if losses.cut_off is None:
        seconds = np.sort([ticks for ticks in table.pts if ticks is not None]) * float(stream.time_base)
        cut_off = is_cut_off(
            path,
            container,
            stream,
            num_packets=len(table.pts),
            begin_seconds=max(float(seconds[0]), 0.0) if len(seconds) else 0.0,
            span_seconds=span_seconds_of(table.pts, table.duration, stream),
            frame_seconds=usual_frame_seconds(seconds, stream, table.duration),
            max_pixels=max_pixels,
        )
    breaks_off = (
        any(table.incomplete[-1:]) and flags_incomplete_packets(container) and not announces_duration(container)
    )
    lacks_end = (losses.lacks_end and not cut_off) or lacks_its_end(path) or (bool(losses.cut_off) and not says_length)
    return cut_off, breaks_off or lacks_end


def _begins_spoiled(container: InputContainer, stream: VideoStream, facts: Sequence[PacketFacts]) -> bool:
    """Whether the first picture is spoiled where no length tells that it, and what depends on it, was to come."""
    return bool(facts) and facts[0].broken and not _says_length(container, stream)


def _says_length(container: InputContainer, stream: VideoStream) -> bool:
    return announces_duration(container) and announced_seconds(container, stream) > 0


def _ends_inside_picture(path: str | os.PathLike, container: InputContainer, places: Sequence[tuple[int, int]]) -> bool:
    """Whether a DV file (IEC 61834) ends inside its last picture, which FFmpeg fills up from the one before."""
    return bool(places) and "dv" in format_names(container) and sum(places[-1]) > os.stat(path).st_size


def _spoiled(fact: PacketFacts) -> PacketFacts:
    """The same picture, of which only the place can be believed."""
    return fact._replace(broken=True, start=False, restart=False, new_setup=False)
