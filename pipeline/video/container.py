"""Opening a video: one door for every file name and metadata encoding, and one translation of FFmpeg's errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline.errors import VideoError

DEFAULT_MAX_PIXELS = 1 << 26  # 67 million: twice an 8K picture
_PADDING_PIXELS = 1 << 20  # decoders round sizes up to whole blocks
_ANNOUNCING = {"avi", "matroska", "webm", "flv", "asf"}  # their durations are written, not estimated


@contextmanager
def open_video(
    path: str | os.PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The opened container and the video stream that players take, decoding in one thread.

    Cover pictures of sound files do not count. Raises VideoError: `missing`, `unreadable`, `truncated` (an MP4 cut
    off before its index), `no_video_stream`, `too_large` (the decoder itself refuses pictures that grow later on).
    FFmpeg's errors inside the block become `corrupt`, or `too_large` where memory gave out.
    """
    path = Path(path)
    if not path.is_file():
        raise VideoError("missing", f"{path} is not a file", path=path)
    try:
        # "file:" keeps names with ':' or '%' or a leading '-' from being taken for protocols or patterns
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise _opening_error(path, error) from error
    with container:
        stream = _best_stream(container, path)
        context = stream.codec_context
        check_pixels(context.width * context.height, max_pixels=max_pixels, path=path)
        context.thread_count = 1
        context.options = {"max_pixels": str(2 * max_pixels + _PADDING_PIXELS)}
        try:
            yield container, stream
        except av.FFmpegError as error:
            reason = "too_large" if isinstance(error, MemoryError) else "corrupt"
            raise VideoError(reason, f"{path} cannot be decoded ({error.strerror})", path=path) from error


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Width of a coded pixel over its height; 1 where the stream does not say."""
    return stream.sample_aspect_ratio or Fraction(1)


def announced_seconds(container: InputContainer, stream: VideoStream) -> float:
    """Duration from the stream's header, else the container's, else 0."""
    return _stream_seconds(stream) or (container.duration or 0) / av.time_base


def check_pixels(num_pixels: int, *, max_pixels: int, path: object) -> None:
    """Raise VideoError("too_large") for a picture of more than `max_pixels`."""
    if num_pixels > max_pixels:
        raise VideoError("too_large", f"{path}: a picture has {num_pixels:,} pixels, {max_pixels:,} allowed", path=path)


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
    """The stream's packets in file order. Empty ones, which mean "as before" in AVI, are left out."""
    return (packet for packet in container.demux(stream) if packet.size)


def flags_incomplete_packets(container: InputContainer) -> bool:
    """Whether a packet's corrupt flag says that bytes are missing. MPEG-TS sets it wherever files were joined."""
    return "mpegts" not in container.format.name.split(",")


def is_cut_off(
    path: str | os.PathLike, container: InputContainer, stream: VideoStream, *, num_packets: int, end_seconds: float
) -> bool:
    """Whether a file, read to its end, holds less than its header announces: by more than 0.5 s and 2 %.

    MP4 and MOV list every packet, which settles it. Elsewhere only durations that a muxer wrote down count; FFmpeg's
    own estimates, as for MPEG streams, do not.
    """
    if _lists_packets(container):
        return num_packets < len(stream.index_entries)
    if not announces_duration(container):
        return False
    announced = _stream_seconds(stream)
    if announced is None:  # the container's duration may be that of the sound
        announced = (container.duration or 0) / av.time_base
        if end_seconds < announced - _slack(announced):
            end_seconds = _last_moment(path)
    return end_seconds < announced - _slack(announced)


def announces_duration(container: InputContainer) -> bool:
    """Whether the container's header states a duration of its own, as opposed to FFmpeg's guess from sizes."""
    return _lists_packets(container) or not _ANNOUNCING.isdisjoint(container.format.name.split(","))


def _lists_packets(container: InputContainer) -> bool:
    return "mov" in container.format.name.split(",")


def _slack(announced_seconds: float) -> float:
    return max(0.5, 0.02 * announced_seconds)


def _stream_seconds(stream: VideoStream) -> float | None:
    """What the header says about this stream alone.

    Matroska keeps it in a tag such as 00:01:02.500000000. In AVI the number of frames counts: FFmpeg shortens the
    duration of a file that is too short for it.
    """
    if stream.duration:
        seconds = float(stream.duration * stream.time_base)
        counted = "avi" in stream.container.format.name.split(",") and stream.average_rate
        return max(seconds, float(stream.frames / stream.average_rate)) if counted else seconds
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _last_moment(path: str | os.PathLike) -> float:
    """End of the last packet of any stream, in seconds."""
    end = 0.0
    with open_video(path) as (container, _):
        try:
            for packet in container.demux():
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        except av.FFmpegError:
            return end
    return end


def nothing_decodes(path: object, *, failed: bool, cut_off: bool) -> VideoError:
    """The error for a video stream that opens and gives not one picture; `failed`: there were packets to decode."""
    if failed:
        return VideoError("corrupt", f"{path}: not one picture decodes", path=path)
    if cut_off:
        return VideoError("truncated", f"{path} ends before its first picture", path=path)
    return VideoError("no_frames", f"{path}: the video stream holds no picture", path=path)


def _best_stream(container: InputContainer, path: Path) -> VideoStream:
    stream = container.streams.best("video")
    if stream is None or Disposition.attached_pic in stream.disposition:
        raise VideoError("no_video_stream", f"{path} has no video stream", path=path)
    if stream.codec_context is None:
        raise VideoError("unreadable", f"{path}: no decoder for its video codec", path=path)
    return stream


def _opening_error(path: Path, error: Exception) -> VideoError:
    if _is_cut_mp4(path):
        return VideoError("truncated", f"{path} breaks off before the index that an MP4 needs", path=path)
    return VideoError("unreadable", f"{path} cannot be opened as a video ({error})", path=path)


def _is_cut_mp4(path: Path) -> bool:
    """Whether the top-level boxes of an ISO file (MP4, MOV, 3GP) reach past the end of the file."""
    num_bytes = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position + 8 <= num_bytes:
            file.seek(position)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if position == 0 and kind not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
                return False
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8:  # 0: up to the end of the file; other values are no box
                return False
            position += length
    return position > num_bytes
