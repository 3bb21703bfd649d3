"""Does a file hold all that it announces? By its structure first, by its durations where those say more.

MP4 and MOV list every packet. Other files that are shorter than their own structure were cut, and then half a picture's
time less than announced is a loss. Where the structure is whole, announced durations may be rounded, or be those of the
sound: half a second and 2 % are allowed for.
"""

from __future__ import annotations

import os
import re

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.video.asf import play_seconds
from tdn_data.pipeline.video.container import format_names, open_video, read_packets, times_below_zero
from tdn_data.pipeline.video.fragments import index_seconds
from tdn_data.pipeline.video.structure import is_fragmented, is_shorter_than_its_structure

_ANNOUNCING = {"avi", "matroska", "webm", "flv", "asf", "mxf"}  # their durations are written, not estimated
_FROM_ZERO = {"matroska", "webm", "flv", "asf"}  # a duration is the time of the end, wherever the stream begins


def announced_seconds(container: InputContainer, stream: VideoStream, *, begin_seconds: float = 0.0) -> float:
    """How long the stream lasts by its own header, else by the container's, else 0.

    `begin_seconds`: time of the first picture, for files of which FFmpeg does not say it.
    """
    seconds = _stream_seconds(stream) or _container_seconds(container)
    return max(seconds - _start_seconds(container, stream, begin_seconds), 0.0)


def announces_duration(container: InputContainer) -> bool:
    """Whether the container's header states a duration of its own, as opposed to FFmpeg's guess from sizes."""
    return _lists_packets(container) or not _ANNOUNCING.isdisjoint(format_names(container))


def is_cut_off(
    path: str | os.PathLike,
    container: InputContainer,
    stream: VideoStream,
    *,
    num_packets: int,
    begin_seconds: float,
    span_seconds: float,
    frame_seconds: float,
    max_pixels: int,
) -> bool:
    """Whether a file, read to its end, holds less than its structure or its header announces.

    `num_packets` of the stream are not empty and cover `span_seconds` from `begin_seconds` on; a picture stays for
    `frame_seconds`.
    """
    if _lists_packets(container) and not is_fragmented(path):
        return num_packets < sum(1 for entry in stream.index_entries if entry.size)
    if not announces_duration(container):
        return False
    announced = _stream_seconds(stream)
    of_stream = announced is not None and "asf" not in format_names(container)  # that of the file, for each stream
    announced = _container_seconds(container) if announced is None else announced
    slack = frame_seconds / 2 if is_shorter_than_its_structure(path) else max(0.5, 0.02 * announced)
    if _lists_packets(container):
        slack = min(slack, 1.5 * frame_seconds)  # fragments carry exact durations
    begins_empty = "avi" in format_names(container)  # a late stream begins with empty packets, which count
    end_seconds = span_seconds + (begin_seconds if begins_empty else _start_seconds(container, stream, begin_seconds))
    if end_seconds < announced - slack and not of_stream:  # the container's duration may be that of the sound
        end_seconds = _last_moment(path, max_pixels=max_pixels)
    return end_seconds < announced - slack


def _lists_packets(container: InputContainer) -> bool:
    return "mov" in format_names(container)


def _container_seconds(container: InputContainer) -> float:
    if container.duration is None and "asf" in format_names(container):  # FFmpeg gives up on files that are cut off
        return play_seconds(container.name.removeprefix("file:"))
    return (container.duration or 0) / av.time_base


def _start_seconds(container: InputContainer, stream: VideoStream, begin_seconds: float = 0.0) -> float:
    """What a duration counts before the stream's first picture; 0 where durations are counted from that."""
    if _FROM_ZERO.isdisjoint(format_names(container)):
        return 0.0
    if early := times_below_zero(stream):
        return float(min(early.values()) * stream.time_base)
    known = begin_seconds if stream.start_time is None else float(stream.start_time * stream.time_base)
    return max(known, 0.0)


def _stream_seconds(stream: VideoStream) -> float | None:
    """What the header says about this stream alone: its duration, or in Matroska the time of its end.

    Matroska keeps it in a tag such as 00:01:02.500000000. In AVI the number of frames counts: FFmpeg shortens the
    duration of a file that is too short for it. By the index of a fragmented MP4 it counts what comes before zero.
    """
    if _lists_packets(stream.container):
        path, tick_seconds = stream.container.name.removeprefix("file:"), float(stream.time_base)
        seconds = index_seconds(path, stream.id, tick_seconds=tick_seconds)
        if seconds is not None:
            return seconds
    if stream.duration:
        seconds = float(stream.duration * stream.time_base)
        counted = "avi" in format_names(stream.container) and stream.average_rate
        return max(seconds, float(stream.frames / stream.average_rate)) if counted else seconds
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _last_moment(path: str | os.PathLike, *, max_pixels: int) -> float:
    """End of the last packet of any stream, in seconds."""
    end = 0.0
    with open_video(path, max_pixels=max_pixels) as (container, _):
        try:
            for packet in read_packets(container):
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        except av.FFmpegError:
            return end
    return end
