"""Packets to pictures: everything, or the few runs of packets that some chosen frames depend on."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.video.completeness import announces_duration
from tdn_data.pipeline.video.container import (
    flags_incomplete_packets,
    nothing_decodes,
    open_video,
    read_packets,
    refuses_size,
)
from tdn_data.pipeline.video.decode_plan import needed_packets, plan_runs
from tdn_data.pipeline.video.frame_seconds import FALLBACK_FRAME_SECONDS, picture_rate
from tdn_data.pipeline.video.missing import lost_by_stamps
from tdn_data.pipeline.video.packet_rows import PacketRows, read_rows
from tdn_data.pipeline.video.places import Placed, place_pictures, screen_order
from tdn_data.pipeline.video.proof import Output, are_proven
from tdn_data.pipeline.video.stamps import MAX_REORDER, are_single_pictures, is_nearly_rising, unseen_after
from tdn_data.pipeline.video.structure import lacks_time_scale
from tdn_data.pipeline.video.timeline import Timeline, make_timeline, packet_timeline

FALLBACK_TICK = Fraction(FALLBACK_FRAME_SECONDS).limit_denominator(1000)


class TimelineMismatchError(Exception):
    """Decoding gave other pictures than the packets announced; only a full decode tells what is on screen."""


def read_timeline(path: str | os.PathLike, *, max_pixels: int) -> Timeline:
    """When each frame is on screen: from the packets where they can be believed, else from a full decode."""
    with open_video(path, max_pixels=max_pixels) as (container, stream):
        rows = read_rows(path, container, stream, max_pixels=max_pixels)
        timeline = packet_timeline(path, container, stream, rows, max_pixels=max_pixels)
    return timeline or decode_timeline(path, rows, max_pixels=max_pixels)


def decode_timeline(path: str | os.PathLike, rows: PacketRows, *, max_pixels: int) -> Timeline:
    """When each frame is on screen, from a full decode without conversion: right for any file.

    Times are the pictures' own stamps, put in order, or if these do not nearly rise those of their packets, or else
    follow the mean frame rate, 25 a second in a file without a time scale. Raises VideoError where not one picture
    decodes.
    """
    with open_video(path, max_pixels=max_pixels) as (container, stream):
        frames = decode_all(container, stream, rows, max_pixels=max_pixels)
        outputs, met_too_large = _all_outputs(frames, rows)
        proven = are_proven(outputs, rows)
        if not proven.any() and met_too_large:
            raise VideoError("too_large", f"{path}: pictures are larger than allowed", path=path)
        if not proven.any():
            raise nothing_decodes(path, failed=bool(outputs), cut_off=rows.cut_off or rows.lacks_end)
        single = are_single_pictures(stream.codec_context, rows.facts)
        begins = announces_duration(container) or (single and _lost_its_start(outputs, proven, rows))
        begins = begins and not rows.begins_in_the_middle
        order = screen_order(stream.codec_context, rows) if single else None
        placed = None if order is None else place_pictures(outputs, proven, order, rows)
        if placed is not None and not lacks_time_scale(path, float(stream.time_base)):
            timeline = _exact_timeline(placed, container, stream, rows, begins=begins)
        else:
            timeline = _stamped_timeline(path, outputs, proven, container, stream, rows, begins=begins)
        return replace(timeline, met_too_large=met_too_large)


def _lost_its_start(outputs: list[Output | None], proven: np.ndarray, rows: PacketRows) -> bool:
    """Whether the first packet is whole by its head, needs no other, and its picture did not come."""
    came = {output.packet for output, sound in zip(outputs, proven.tolist(), strict=True) if output and sound}
    return bool(rows.facts) and rows.facts[0].start and bool(rows.shown[0]) and not came & {0, None}


def _exact_timeline(
    placed: Placed, container: InputContainer, stream: VideoStream, rows: PacketRows, *, begins: bool
) -> Timeline:
    """The timeline where each picture's packet is known, and when each packet's picture was to come on screen."""
    gap_before = (begins or placed.lacks_start) and placed.num_before > 0
    zero = placed.due[0] if gap_before else placed.ticks[0]
    return make_timeline(
        placed.ticks - zero,
        container,
        stream,
        rows,
        tick=stream.time_base,
        known_lost=placed.lost,
        breaks_off=gap_before or bool(placed.lost.any()),
        outputs=placed.outputs,
        lost_seconds=(placed.lost_ticks - zero) * float(stream.time_base),
    )


def _stamped_timeline(
    path: str | os.PathLike,
    outputs: list[Output | None],
    proven: np.ndarray,
    container: InputContainer,
    stream: VideoStream,
    rows: PacketRows,
    *,
    begins: bool,
) -> Timeline:
    """The timeline by what the pictures that came say of themselves."""
    stamps, gaps = [], set()
    for output, sound in zip(outputs, proven.tolist(), strict=True):
        if sound:
            stamps.append((output.pts, output.dts))
        else:
            gaps.add(len(stamps) - 1)
    gap_before = begins and -1 in gaps
    by_rate = _counted(outputs, proven, rows)
    ticks, tick = _rising_ticks(stamps, stream, rows, by_rate, zero=stream.start_time if gap_before else None)
    if lacks_time_scale(path, float(stream.time_base)):
        ticks, tick = by_rate, FALLBACK_TICK
    lost = np.isin(np.arange(len(stamps)), list(gaps)).astype(np.int64)
    if are_single_pictures(stream.codec_context, rows.facts):
        lost = np.maximum(lost, unseen_after([pts for pts, _ in stamps], rows.shown_pts))
    absent = _lost_after([pts for pts, _ in stamps], rows)
    lost = np.maximum(lost, absent)
    if ticks is by_rate:
        lost[:-1] = np.maximum(lost[:-1], np.diff(ticks) - 1)
    places = np.flatnonzero(proven[[output is not None for output in outputs]])
    known = {"known_lost": lost, "breaks_off": gap_before or bool(lost.any()), "outputs": places}
    if tick == stream.time_base:
        due = _next_due([pts for pts, _ in stamps], rows, ticks)
        in_holes = lost_by_stamps(ticks, [pts for pts, _ in stamps], container, rows)  # a steady rate tells it better
        known["known_lost"] = np.maximum(lost, in_holes)
        known["lost_seconds"] = np.where((absent > 0) | (in_holes > 0), np.nan, due) * float(tick)
    return make_timeline(ticks, container, stream, rows, tick=tick, **known)


def _counted(outputs: list[Output | None], proven: np.ndarray, rows: PacketRows) -> np.ndarray:
    """How many pictures come before each of the `proven` ones, int64 (N,), damaged and lost ones too."""
    slots = _slots_by_number(rows)
    places, place = [], 0
    for output, sound in zip(outputs, proven.tolist(), strict=True):
        if output is not None:
            place = max(place, slots.get(output.packet, 0))
            places += [place] if sound else []
            place += 1
    return np.array(places, dtype=np.int64) - places[0]


def _slots_by_number(rows: PacketRows) -> dict[int, int]:
    """Packet -> how many pictures are due before its own, by the pictures' numbers; nothing where they have none."""
    packets = rows.due_packets.tolist()
    if any(rows.facts[packet].order is None for packet in packets):
        return {}
    slots, slot = {}, 0
    for packet in sorted(packets, key=lambda packet: rows.facts[packet].order):
        slots[packet] = slot
        slot += 1 + rows.lost.get(packet, 0)
    return slots


def _lost_after(pts: list[int | None], rows: PacketRows) -> np.ndarray:
    """How many pictures are missing after each of those stamped `pts`, by what the packets tell, int64 (N,).

    A damaged packet without a time is missing behind the one before it.
    """
    known = np.array([-1 if stamp is None else stamp for stamp in pts], dtype=np.int64)
    lost = np.zeros(len(pts), dtype=np.int64)
    missing = [(rows.pts[packet], count) for packet, count in rows.lost.items()]
    spoiled = (packet for packet, fact in enumerate(rows.facts) if fact.broken and rows.pts[packet] is None)
    missing += [(_time_before(packet, rows), 1) for packet in spoiled]
    for time, count in missing:
        earlier = np.flatnonzero(known <= time) if time is not None else ()
        if len(earlier):
            lost[earlier[known[earlier].argmax()]] += count
    return lost


def _time_before(packet: int, rows: PacketRows) -> int | None:
    """The time of the nearest earlier packet that has one."""
    return next((time for time in reversed(rows.pts[:packet]) if time is not None), None)


def _next_due(pts: list[int | None], rows: PacketRows, ticks: np.ndarray) -> np.ndarray:
    """When the packet after each picture was to be shown, in the order on screen: float64 (N,) on the scale of `ticks`.

    NaN after the last, and everywhere where the pictures' stamps are not their packets' own or some are not known.
    """
    packets = np.unique(np.array(rows.due_pts, dtype=np.float64))
    if (
        None in pts
        or not 0 < len(packets) == len(rows.due_packets)
        or not np.array_equal(np.array(pts) - pts[0], ticks - ticks[0])
    ):
        return np.full(len(ticks), np.nan)
    after = np.append(packets, np.nan)[np.searchsorted(packets, np.array(pts, dtype=np.float64), side="right")]
    return after - pts[0] + ticks[0]


def _all_outputs(
    frames: Generator[av.VideoFrame | None, None, bool], rows: PacketRows
) -> tuple[list[Output | None], bool]:
    """The pictures that come, and whether some were refused for their size."""
    outputs: list[Output | None] = []
    while True:
        try:
            outputs.append(_output(next(frames), rows))
        except StopIteration as end:
            return outputs, end.value


def _output(frame: av.VideoFrame | None, rows: PacketRows) -> Output | None:
    if frame is None:
        return None
    packet = frame.pts if frame.pts is not None and 0 <= frame.pts < len(rows.pts) else None
    return Output(packet, None if packet is None else rows.pts[packet], frame.dts, frame.is_corrupt)


def decode_all(
    container: InputContainer, stream: VideoStream, rows: PacketRows, *, max_pixels: int
) -> Generator[av.VideoFrame | None, None, bool]:
    """Every picture that comes out of a stream's packets, damaged ones too; None where others may be missing.

    A picture's `pts` is the number of its packet in `rows`. After damage the decoder is reset and goes on at the next
    packet that needs nothing from before; it may have gone past that when a damaged picture comes out. Returns whether
    the decoder refused pictures for their size.
    """
    context, flags = stream.codec_context, flags_incomplete_packets(container)
    resumes, waiting, resumed = rows.resumes.tolist(), rows.begins_in_the_middle, 0
    leads, refused, has_size = rows.leading.tolist(), False, context.width > 0
    try:
        known = zip(rows.facts, rows.breaks.tolist(), resumes, strict=True)
        packets = enumerate(zip(read_packets(container, stream), known, strict=False))
        for number, (packet, (fact, after_loss, resume)) in packets:
            broken = fact.broken or (packet.is_corrupt and flags)
            if fact.new_setup and not waiting:  # what is held back would be lost
                yield from _drain(context)
                context.flush_buffers()
            packet.pts = number
            if after_loss and leads[number] and not waiting:  # nothing else is predicted from it
                yield None
                continue
            if after_loss and not waiting:
                yield from _drain(context)
                context.flush_buffers()
                yield None
                waiting = True
            if waiting and (broken or not resume):
                continue
            resumed = number if resume else resumed
            frames, waiting = _decode_or_reset(context, packet, resumed, incomplete=broken)
            yield from frames
            if waiting:
                refused = refused or (has_size and refuses_size(context, max_pixels=max_pixels))
                yield None
    except MemoryError:
        raise
    except av.FFmpegError:
        yield None
    yield from _drain(context)
    return refused


def decode_runs(
    context: av.VideoCodecContext, packets: Iterable[av.Packet], timeline: Timeline, frames: np.ndarray
) -> Iterator[tuple[int, av.VideoFrame]]:
    """(frame index, picture) for each of `frames` (rising), decoding only what they depend on.

    `packets` are those of `timeline.table`, in order. Raises TimelineMismatchError as soon as the pictures that come
    out of a run are not exactly those whose packets went in, one after another as the timeline has them.
    """
    table = timeline.table
    wanted = np.sort(timeline.frame_packets[frames])
    index_of = dict(zip(table.pts[timeline.frame_packets[frames]].tolist(), frames.tolist(), strict=True))
    packets, position = iter(packets), 0
    for run in plan_runs(table, wanted):
        needed = needed_packets(table, wanted, run)
        chunk = islice(packets, run[0] - position, run[1] - position)
        position = run[1]
        due = iter(np.sort(table.pts[run[0] : run[1]][needed & table.shown[run[0] : run[1]]]).tolist())
        for picture in _decode_strictly(context, chunk, needed.tolist()):
            expected = next(due, None)
            if picture.pts != expected:
                raise TimelineMismatchError(f"run {run}: a picture of {picture.pts} came where {expected} was due")
            if picture.pts in index_of:
                yield index_of[picture.pts], picture
        if next(due, None) is not None:
            raise TimelineMismatchError(f"run {run} of packets gave fewer pictures than went in")


def _decode_strictly(
    context: av.VideoCodecContext, packets: Iterable[av.Packet], needed: list[bool]
) -> Iterator[av.VideoFrame]:
    try:
        for packet, send in zip(packets, needed, strict=True):
            if send:
                yield from _sound(context.decode(packet))
        yield from _sound(context.decode(None))
    except MemoryError:
        raise
    except av.FFmpegError as error:
        raise TimelineMismatchError(f"a packet does not decode ({error.strerror})") from error
    context.flush_buffers()


def _sound(frames: list[av.VideoFrame]) -> list[av.VideoFrame]:
    if any(frame.is_corrupt or frame.pts is None for frame in frames):
        raise TimelineMismatchError("a picture is damaged or has no timestamp")
    return frames


def _decode_or_reset(
    context: av.VideoCodecContext, packet: av.Packet, resumed: int, *, incomplete: bool
) -> tuple[list[av.VideoFrame | None], bool]:
    """Pictures that came out, and whether there was damage; then those held back come too and the decoder is reset.

    None stands in the place of one that failed. What is damaged before packet `resumed`, where the decoder began again,
    is no reason to reset it.
    """
    frames: list[av.VideoFrame] = []
    if not incomplete:
        try:
            frames = context.decode(packet)
            if not any(frame.is_corrupt and (frame.pts is None or frame.pts >= resumed) for frame in frames):
                return frames, False
        except MemoryError:
            raise
        except av.FFmpegError:
            pass  # the flag says so to the caller
    drained = _drain(context)
    if not frames:  # a picture that failed is given all the same by some decoders, without a mark
        drained = [None if frame.pts is not None and frame.pts == packet.pts else frame for frame in drained]
    context.flush_buffers()
    return frames + drained, True


def _drain(context: av.VideoCodecContext) -> list[av.VideoFrame]:
    try:
        return context.decode(None)
    except MemoryError:
        raise
    except av.FFmpegError:
        return []


def _rising_ticks(
    stamps: list[tuple[int | None, int | None]],
    stream: VideoStream,
    rows: PacketRows,
    by_rate: np.ndarray,
    *,
    zero: int | None,
) -> tuple[np.ndarray, Fraction]:
    """int64 ticks from `zero` (None: from the first), and the seconds per tick."""
    rate = picture_rate(stream, rows.duration) or stream.guessed_rate
    for times in zip(*stamps, strict=True):
        known = [time for time in times if time is not None]
        if len(times) - len(known) > MAX_REORDER or times[: len(known)] != tuple(known):
            continue  # only the last few may lack a time, those that the decoder still held when the packets ended
        if _are_packets_own(known, stream, rows):
            known.sort()  # stamped in the order of decoding: a picture was to come on screen at each of these times
        if known and all(later > earlier for earlier, later in pairwise(known)):
            step = round(1 / (rate * stream.time_base)) if rate else 1
            tail = known[-1] + max(step, 1) * np.arange(1, len(times) - len(known) + 1)
            return np.append(known, tail).astype(np.int64) - (known[0] if zero is None else zero), stream.time_base
    return by_rate, 1 / rate if rate else FALLBACK_TICK


def _are_packets_own(ticks: list[int], stream: VideoStream, rows: PacketRows) -> bool:
    """Whether pictures carry packets' own stamps, none far from its place: then only their order is in doubt.

    Two pictures packed into one packet, or two files joined, do not pass.
    """
    single = are_single_pictures(stream.codec_context, rows.facts)
    return bool(ticks) and single and set(ticks) <= set(rows.shown_pts) and is_nearly_rising(np.array(ticks))
