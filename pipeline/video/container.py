"""Opening a video: one door for every file name and metadata encoding, and one translation of FFmpeg's errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from pipeline.errors import VideoError
from pipeline.video.convert import shown_geometry

DEFAULT_MAX_PIXELS = 1 << 26  # 67 million: twice an 8K picture


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its video stream, and what its first picture shows.

    `num_frames` and `duration_seconds` are announcements; what can be decoded may be less. `num_frames` is None
    where the container does not count.
    """

    path: str
    container: str  # demuxer's name, such as "mov,mp4,m4a,3gp,3g2,mj2"
    codec: str
    pixel_format: str
    width: int  # as shown: square pixels, turned upright
    height: int
    coded_width: int
    coded_height: int
    rotation: int  # degrees clockwise already applied in width and height: 0, 90, 180, 270
    pixel_aspect: float  # width of a coded pixel over its height
    fps: float  # mean frame rate; 0.0 where nothing tells
    duration_seconds: float
    num_frames: int | None
    tick_seconds: float  # the container's time base: timestamps are known no better


@contextmanager
def open_video(
    path: str | os.PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The opened container and the video stream that players take, decoding in one thread.

    Raises VideoError: `missing`, `unreadable`, `truncated` (an MP4 cut off before its index), `no_video_stream`,
    `too_large`. FFmpeg's errors inside the block become `corrupt`.
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
        yield container, stream


def probe(path: str | os.PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> VideoInfo:
    """Read the header and decode the first picture. Raises VideoError where no picture comes out."""
    with open_video(path, max_pixels=max_pixels) as (container, stream):
        frame = _first_frame(container, stream, path)
        aspect = pixel_aspect(stream)
        geometry = shown_geometry(frame, pixel_aspect=aspect)
        height, width = geometry.shown_size
        return VideoInfo(
            path=str(path),
            container=container.format.name,
            codec=stream.codec_context.codec.canonical_name,
            pixel_format=frame.format.name,
            width=width,
            height=height,
            coded_width=frame.width,
            coded_height=frame.height,
            rotation=geometry.rotation,
            pixel_aspect=float(aspect),
            fps=float(stream.average_rate or stream.guessed_rate or 0),
            duration_seconds=announced_seconds(container, stream),
            num_frames=stream.frames or None,
            tick_seconds=float(stream.time_base),
        )


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Width of a coded pixel over its height; 1 where the stream does not say."""
    return stream.sample_aspect_ratio or Fraction(1)


def announced_seconds(container: InputContainer, stream: VideoStream) -> float:
    """Duration from the stream's header, else the container's, else 0."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def check_pixels(num_pixels: int, *, max_pixels: int, path: object) -> None:
    """Raise VideoError("too_large") for a picture of more than `max_pixels`."""
    if num_pixels > max_pixels:
        raise VideoError("too_large", f"{path}: a picture has {num_pixels:,} pixels, {max_pixels:,} allowed", path=path)


def _first_frame(container: InputContainer, stream: VideoStream, path: object) -> av.VideoFrame:
    try:
        frame = next(container.decode(stream), None)
    except av.FFmpegError as error:
        raise VideoError(
            "corrupt", f"{path}: the first picture does not decode ({error.strerror})", path=path
        ) from error
    if frame is None:
        raise VideoError("no_frames", f"{path}: the video stream holds no picture", path=path)
    return frame


def _best_stream(container: InputContainer, path: Path) -> VideoStream:
    stream = container.streams.best("video")
    if stream is None:
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
