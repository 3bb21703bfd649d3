"""Frames of a video at chosen times, identical to those of a full decode."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import av
import numpy as np

from pipeline.errors import VideoError
from pipeline.sampling import FLOAT_NOISE_SECONDS, frames_at, grid_times, grid_tolerance
from pipeline.video.container import DEFAULT_MAX_PIXELS, check_pixels, open_video, pixel_aspect
from pipeline.video.convert import PIXEL_FORMATS, PixelFormat, shown_geometry, to_array


@dataclass(frozen=True)
class Frame:
    """One shown picture: uint8 (H, W, 3) RGB or (H, W) grey; time zero and index 0 are the first shown frame's."""

    data: np.ndarray
    pts_seconds: float
    frame_index: int


@dataclass(frozen=True)
class FrameBatch:
    """The frames that came out, of `num_expected` asked for; `problem` says why some are missing."""

    data: np.ndarray  # uint8 (N, H, W, 3)
    pts_seconds: np.ndarray  # float64 (N,), of the frames themselves, not of the times asked for
    frame_index: np.ndarray  # int64 (N,)
    problem: VideoError | None
    num_expected: int

    def __post_init__(self) -> None:
        if not len(self.data) == len(self.pts_seconds) == len(self.frame_index):
            raise ValueError(
                f"data, pts_seconds and frame_index differ in length: "
                f"{len(self.data)}, {len(self.pts_seconds)}, {len(self.frame_index)}"
            )

    def __len__(self) -> int:
        return len(self.data)


def iter_frames(
    path: str | os.PathLike,
    *,
    every_seconds: float | None = None,
    fps: float | None = None,
    timestamps: Sequence[float] | np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    pixel_format: PixelFormat = "rgb24",
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Iterator[Frame]:
    """Frames on screen at the times asked for; every frame when none of the three is given. `size` = (height, width).

    Yields the good frames, then raises VideoError if the file breaks half-way.
    """
    if pixel_format not in PIXEL_FORMATS:
        raise ValueError(f"pixel_format is {pixel_format!r}; it must be one of {', '.join(PIXEL_FORMATS)}")
    pts_seconds, end_seconds, tick_seconds, problem = _shown_times(path, max_pixels=max_pixels)
    wanted = _wanted(pts_seconds, end_seconds, tick_seconds, every_seconds, fps, timestamps)
    geometry, position = None, 0
    with open_video(path, max_pixels=max_pixels) as (container, stream):
        for index, frame in enumerate(_decodable(container, stream)):
            if position < len(wanted) and wanted[position] == index:
                if geometry is None:
                    geometry = shown_geometry(frame, pixel_aspect=pixel_aspect(stream), size=size)
                    check_pixels(geometry.height * geometry.width, max_pixels=max_pixels, path=path)
                data = to_array(frame, geometry, pixel_format=pixel_format)
            while position < len(wanted) and wanted[position] == index:
                yield Frame(data, float(pts_seconds[index]), index)
                position += 1
    if problem is not None:
        raise problem


def sample_frames(
    path: str | os.PathLike,
    *,
    every_seconds: float | None = None,
    fps: float | None = None,
    timestamps: Sequence[float] | np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> FrameBatch:
    """`iter_frames` collected into one array. Raises VideoError when no frame at all comes out."""
    frames: list[Frame] = []
    problem = None
    grid = {"every_seconds": every_seconds, "fps": fps, "timestamps": timestamps}
    try:
        frames.extend(iter_frames(path, **grid, size=size, max_pixels=max_pixels))
    except VideoError as error:
        problem = error
    if not frames:
        raise problem or VideoError("no_frames", f"{path}: no frame at the times asked for", path=path)
    return FrameBatch(
        data=np.stack([frame.data for frame in frames]),
        pts_seconds=np.array([frame.pts_seconds for frame in frames], dtype=np.float64),
        frame_index=np.array([frame.frame_index for frame in frames], dtype=np.int64),
        problem=problem,
        num_expected=len(frames),
    )


def _decodable(container, stream) -> Iterator[av.VideoFrame]:
    try:
        yield from container.decode(stream)
    except av.FFmpegError:
        return


def _shown_times(path, *, max_pixels) -> tuple[np.ndarray, float, float, VideoError | None]:
    pts, problem = [], None
    with open_video(path, max_pixels=max_pixels) as (container, stream):
        tick = stream.time_base
        try:
            pts.extend(frame.pts for frame in container.decode(stream))
        except av.FFmpegError as error:
            problem = VideoError("corrupt", f"{path}: packets that do not decode ({error.strerror})", path=path)
        step = 1 / (stream.average_rate or stream.guessed_rate or 25)
    if not pts:
        raise problem or VideoError("no_frames", f"{path}: the video stream holds no picture", path=path)
    if None in pts or any(b <= a for a, b in zip(pts, pts[1:], strict=False)):
        seconds = np.arange(len(pts)) * float(step)
    else:
        seconds = (np.array(pts, dtype=np.int64) - pts[0]) * tick.numerator / tick.denominator
    return seconds, float(seconds[-1] + step), float(tick), problem


def _wanted(pts_seconds, end_seconds, tick_seconds, every_seconds, fps, timestamps) -> np.ndarray:
    if every_seconds is None and fps is None and timestamps is None:
        return np.arange(len(pts_seconds))
    if timestamps is not None:
        return np.sort(frames_at(pts_seconds, timestamps, tolerance_seconds=FLOAT_NOISE_SECONDS))
    times = grid_times(end_seconds, every_seconds=every_seconds, fps=fps, tick_seconds=tick_seconds)
    return frames_at(pts_seconds, times, tolerance_seconds=grid_tolerance(tick_seconds))
