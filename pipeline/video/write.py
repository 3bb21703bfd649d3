"""Frames in, an H.264 MP4 out: for tests, demonstrations and previews."""

from __future__ import annotations

import math
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tdn_data.pipeline.files import replacing

# Without cpu-independent, x264's vector code gives other bytes from run to run for pictures below about 100 pixels.
_X264_OPTIONS = {"preset": "medium", "bf": "2", "g": "60", "x264-params": "threads=1:cpu-independent=1"}


def write_video(path: str | os.PathLike, frames: np.ndarray, *, fps: float | Fraction, crf: int = 18) -> None:
    """Write uint8 frames (T, H, W, 3) as H.264 in MP4, `fps` frames per second; replaces an existing file.

    One thread and no wall-clock metadata: the same input and library version give the same bytes. Even sizes are
    stored with halved chroma (yuv420p), odd ones with full chroma (yuv444p) so that no row or column is lost.
    BT.601 limited range, which is what players assume at these sizes. The file appears under its name only when
    complete.

    Args:
        path: the file.
        frames: uint8 (T, H, W, 3) RGB, at least one.
        fps: frames per second, above 0.
        crf: x264's quality, from 0 (lossless) to 51.

    Raises:
        ValueError: other shapes, dtypes or values out of range.
        StorageError: the file cannot be written.

    >>> import tempfile
    >>> from tdn_data.pipeline.video import probe
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_video(f"{folder}/a.mp4", np.zeros((10, 32, 48, 3), np.uint8), fps=5)
    ...     info = probe(f"{folder}/a.mp4")
    >>> info.codec, info.height, info.width, info.fps
    ('h264', 32, 48, 5.0)
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"frames is {frames.dtype} {frames.shape}; it must be uint8 (T, H, W, 3) with T, H, W >= 1")
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps is {fps!r}; it must be a finite number above 0")
    if not 0 <= crf <= 51:
        raise ValueError(f"crf is {crf!r}; it must be within 0 (lossless) to 51")
    with replacing(path) as scratch:
        _encode(scratch, frames, fps=Fraction(fps).limit_denominator(1001), crf=crf)


def _encode(path: Path, frames: np.ndarray, *, fps: Fraction, crf: int) -> None:
    height, width = frames.shape[1:3]
    with av.open(f"file:{path}", "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={**_X264_OPTIONS, "crf": str(crf)})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if width % 2 == 0 and height % 2 == 0 else "yuv444p"
        stream.codec_context.thread_count = 1
        for image in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
