"""Which frames to take: pure index arithmetic over timestamps and frame counts.

    shown at (s)   0.00      0.04      0.08      0.12      0.16 = end
    frame            |----0----|----1----|----2----|----3----|
    asked at 15/s    ^ 0.00           ^ 0.067          ^ 0.133
    gives frame        0                1                3

A frame is on screen from its own timestamp up to the next one's, so the frame for time t is the last whose timestamp
is not after t. Containers store timestamps rounded to a tick (Matroska: 1 ms), which is why the regular grids carry a
tolerance: the third frame of a 30 fps Matroska file is stored at 0.067 s and still is the one meant by 2 / 30 s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

FLOAT_NOISE_SECONDS = 1e-6
MAX_TOLERANCE_SECONDS = 5e-4


def grid_times(
    duration_seconds: float,
    *,
    every_seconds: float | None = None,
    fps: float | None = None,
    tick_seconds: float = 0.0,
) -> np.ndarray:
    """Times 0, s, 2 s, ... (`every_seconds`) or 0, 1/fps, 2/fps, ... (`fps`) below the duration, float64 (N,).

    Args:
        duration_seconds: when the last frame leaves the screen.
        every_seconds: the step, or
        fps: how many steps a second has.
        tick_seconds: the container's time base; the end is known no better than that (at most 1 ms is allowed for), so
            ten seconds at 30 fps give 300 times even where the end was rounded up.

    Raises:
        ValueError: not exactly one of the two steps is given, or it is not finite and above 0.

    >>> grid_times(7.5, every_seconds=3).tolist(), len(grid_times(10.0004, fps=30, tick_seconds=0.001))
    ([0.0, 3.0, 6.0], 300)
    """
    count = grid_count(duration_seconds, every_seconds=every_seconds, fps=fps, tick_seconds=tick_seconds)
    steps = np.arange(count, dtype=np.float64)
    return steps * every_seconds if fps is None else steps / fps


def grid_count(
    duration_seconds: float,
    *,
    every_seconds: float | None = None,
    fps: float | None = None,
    tick_seconds: float = 0.0,
) -> int:
    """How many times `grid_times` gives; at least one for any duration above zero."""
    if (every_seconds is None) == (fps is None):
        raise ValueError(f"every_seconds is {every_seconds!r} and fps is {fps!r}; exactly one must be given")
    name, value = ("fps", fps) if every_seconds is None else ("every_seconds", every_seconds)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value!r}; it must be a finite number above 0")
    if not duration_seconds > 0:
        return 0
    end_seconds = duration_seconds - min(max(tick_seconds, FLOAT_NOISE_SECONDS), 2 * MAX_TOLERANCE_SECONDS)
    return max(1, math.ceil(end_seconds / every_seconds if fps is None else end_seconds * fps))


def grid_tolerance(tick_seconds: float) -> float:
    """How much later than a grid time a stored timestamp may be and still mean it: half a tick, 0.5 ms at most."""
    return min(tick_seconds / 2, MAX_TOLERANCE_SECONDS) + FLOAT_NOISE_SECONDS


def frames_at(
    pts_seconds: np.ndarray, times: Sequence[float] | np.ndarray, *, tolerance_seconds: float = FLOAT_NOISE_SECONDS
) -> np.ndarray:
    """Index of the frame on screen at each time, int64: the last with pts <= t (+ tolerance); frame 0 before the first.

    `pts_seconds` float64 (N,), rising, N >= 1.
    """
    if len(pts_seconds) == 0:
        raise ValueError("pts_seconds is empty; at least one frame is needed")
    after = np.searchsorted(pts_seconds, np.asarray(times, dtype=np.float64) + tolerance_seconds, side="right")
    return np.maximum(after - 1, 0).astype(np.int64)
