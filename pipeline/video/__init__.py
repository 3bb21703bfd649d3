"""Probe, decode and write videos. The only part of the project that imports PyAV."""

import numpy as np

from tdn_data.pipeline.limits import DEFAULT_MAX_PIXELS
from tdn_data.pipeline.sampling import grid_times
from tdn_data.pipeline.video.frames import (
    Decoding,
    Frame,
    FrameBatch,
    FrameStream,
    GivenFramesError,
    iter_frames,
    sample_frames,
)
from tdn_data.pipeline.video.probe import VideoInfo, probe
from tdn_data.pipeline.video.write import write_video

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "Decoding",
    "Frame",
    "FrameBatch",
    "FrameStream",
    "GivenFramesError",
    "VideoInfo",
    "expected_times",
    "iter_frames",
    "probe",
    "sample_frames",
    "write_video",
]


def expected_times(info: VideoInfo, *, every_seconds: float | None = None, fps: float | None = None) -> np.ndarray:
    """Return the times that a video of the announced duration is sampled at.

    Args:
        info: what `probe` says of the video.
        every_seconds: asks for t = 0, s, 2 s, ... below the duration; or
        fps: for t = 0, 1/fps, 2/fps, ...

    Returns:
        float64 (N,), in seconds.

    Raises:
        ValueError: neither is given, or both, or one that is not above 0.

    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_video(f"{folder}/a.mp4", np.zeros((35, 32, 48, 3), np.uint8), fps=5)
    ...     expected_times(probe(f"{folder}/a.mp4"), every_seconds=3).tolist()
    [0.0, 3.0, 6.0]
    """
    return grid_times(info.duration_seconds, every_seconds=every_seconds, fps=fps, tick_seconds=info.tick_seconds)
