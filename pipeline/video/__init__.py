"""Probe, decode and write videos. The only part of the project that imports PyAV."""

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


def expected_times(info: VideoInfo, *, every_seconds: float | None = None, fps: float | None = None):
    """Times in seconds, float64 (N,), that a video of the announced duration is sampled at."""
    return grid_times(info.duration_seconds, every_seconds=every_seconds, fps=fps, tick_seconds=info.tick_seconds)
