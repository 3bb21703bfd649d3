"""What a file says about its video."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from itertools import chain

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.limits import DEFAULT_MAX_PIXELS
from tdn_data.pipeline.video.completeness import announced_seconds, is_cut_off
from tdn_data.pipeline.video.container import nothing_decodes, open_video, read_packets
from tdn_data.pipeline.video.decoder import read_timeline
from tdn_data.pipeline.video.geometry import pixel_aspect, shown_geometry
from tdn_data.pipeline.video.structure import lacks_time_scale

_ESTIMATING = {"mpegvideo", "h264", "hevc", "m4v", "obu", "mjpeg", "cavsvideo", "vc1", "dirac"}  # bare streams


@dataclass(frozen=True)
class VideoInfo:
    """What a header announces and the first picture shows; what can be decoded may be less.

    Where the header has no duration or no frame rate, or is a bare stream's estimate, packets were counted instead.
    """

    path: str
    container: str  # demuxer's name, such as "mov,mp4,m4a,3gp,3g2,mj2"
    codec: str
    pixel_format: str
    width: int  # as shown: cropped, square pixels, turned upright
    height: int
    coded_width: int
    coded_height: int
    rotation: int  # degrees clockwise already applied in width and height: 0, 90, 180, 270
    mirrored: bool  # left to right, after turning
    pixel_aspect: float  # width of a coded pixel over its height
    fps: float  # mean frame rate
    duration_seconds: float
    num_frames: int | None  # None where the container does not count
    tick_seconds: float  # the container's time base: timestamps are known no better


def probe(path: str | os.PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> VideoInfo:
    """Read the header and decode the first picture.

    Args:
        path: a video file.
        max_pixels: larger pictures are not decoded.

    Returns:
        what the file says of itself, and the size at which its first picture is shown.

    Raises:
        VideoError: no picture comes out.

    >>> import tempfile
    >>> import numpy as np
    >>> from tdn_data.pipeline.video import write_video
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_video(f"{folder}/a.mp4", np.zeros((10, 32, 48, 3), np.uint8), fps=5)
    ...     info = probe(f"{folder}/a.mp4")
    >>> info.num_frames, info.duration_seconds
    (10, 2.0)
    """
    with open_video(path, max_pixels=max_pixels) as (container, stream):
        frame = _first_frame(container, stream, path, max_pixels=max_pixels)
        geometry = shown_geometry(frame, stream, path)
        height, width = geometry.shown_size
        fps, duration_seconds, num_frames = _extent(path, container, stream, max_pixels=max_pixels)
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
            mirrored=geometry.mirrored,
            pixel_aspect=float(pixel_aspect(stream)),
            fps=fps,
            duration_seconds=duration_seconds,
            num_frames=num_frames,
            tick_seconds=float(stream.time_base),
        )


def packed_probe(path: str) -> list[bytes]:
    """What `probe` says for a manifest, as JSON: codec, width, height, fps, duration_seconds."""
    info = probe(path)
    names = ("codec", "width", "height", "fps", "duration_seconds")
    return [json.dumps({name: getattr(info, name) for name in names}).encode()]


def _extent(
    path: str | os.PathLike, container: InputContainer, stream: VideoStream, *, max_pixels: int
) -> tuple[float, float, int | None]:
    """(frames per second, seconds, number of frames)."""
    seconds, rate = announced_seconds(container, stream), stream.average_rate
    timed = container.format.name not in _ESTIMATING and not lacks_time_scale(path, float(stream.time_base))
    if seconds > 0 and rate and timed:
        return float(rate), seconds, stream.frames or None
    timeline = read_timeline(path, max_pixels=max_pixels)
    num_frames = len(timeline.pts_seconds)
    return num_frames / timeline.end_seconds, timeline.end_seconds, num_frames


def _first_frame(
    container: InputContainer, stream: VideoStream, path: str | os.PathLike, *, max_pixels: int
) -> av.VideoFrame:
    failed = False
    try:
        for packet in chain(read_packets(container, stream), [None]):  # None asks for what the decoder holds back
            try:
                sound = [picture for picture in stream.codec_context.decode(packet) if not picture.is_corrupt]
            except MemoryError:
                raise
            except av.FFmpegError:
                failed = True
                stream.codec_context.flush_buffers()
                continue
            if sound:
                return sound[0]
    except MemoryError:
        raise
    except av.FFmpegError:
        failed = True
    nothing = {"num_packets": 0, "begin_seconds": 0.0, "span_seconds": 0.0, "frame_seconds": 0.04}
    cut_off = is_cut_off(path, container, stream, max_pixels=max_pixels, **nothing)
    raise nothing_decodes(path, failed=failed, cut_off=cut_off)
