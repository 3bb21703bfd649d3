"""Flow as bytes: the two-stream convention of clipping to +-bound and scaling to [0, 255]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FlowStatistics:
    """What discretisation does to a flow field: recorded per video, so that a bound too small shows."""

    clipped_share: float  # of the pixels, in [0, 1]: |u| or |v| above the bound
    mean_magnitude: float  # of the unclipped vectors, pixels per step


def quantize(flow: np.ndarray, bound: float) -> np.ndarray:
    """Discretise flow: round((clip(f, -bound, bound) + bound) * 255 / (2 bound)), halves to even.

    Args:
        flow: real numbers of any shape, in pixels per step.
        bound: what becomes 255; its negative becomes 0.

    Returns:
        uint8 of the same shape; no motion is 128 (127.5 rounded to even).

    Raises:
        ValueError: the bound is not positive, or some flow is not finite.

    >>> quantize(np.array([-30.0, -20.0, 0.0, 7.5, 20.0]), 20).tolist()
    [0, 0, 128, 175, 255]
    """
    check_bound(bound)
    flow = np.asarray(flow, np.float32)
    scale = np.float32(255.0 / (2.0 * bound))
    levels = np.rint((np.clip(flow, -bound, bound) + np.float32(bound)) * scale)
    if not np.isfinite(levels.sum(dtype=np.float32)):
        raise ValueError("flow holds values that are not numbers; only finite flow can be discretised")
    return levels.astype(np.uint8)


def dequantize(levels: np.ndarray, bound: float) -> np.ndarray:
    """Return the flow that stored bytes stand for; 128, no motion, comes back as bound / 255: no level is zero.

    Args:
        levels: uint8 of any shape, as `quantize` gives and shards store.
        bound: the one that they were discretised with, in pixels per step.

    Returns:
        float32 of the same shape, in pixels per step, at most bound / 255 from what was discretised.

    Raises:
        TypeError: the levels are not uint8.
        ValueError: the bound is not positive.

    >>> dequantize(np.array([0, 255], np.uint8), 20).tolist()
    [-20.0, 20.0]
    """
    check_bound(bound)
    levels = np.asarray(levels)
    if levels.dtype != np.uint8:
        raise TypeError(f"levels has dtype {levels.dtype}; stored flow is uint8")
    return levels.astype(np.float32) * np.float32(2.0 * bound / 255.0) - np.float32(bound)


def flow_statistics(flow: np.ndarray, bound: float) -> FlowStatistics:
    """Measure one flow field against a bound.

    Args:
        flow: float (..., 2), pixels per step, at least one vector.
        bound: pixels per step.

    Returns:
        the share of vectors that the bound clips, and the mean magnitude in pixels.

    Raises:
        ValueError: another shape, or a bound that is not positive.

    >>> flow_statistics(np.array([[3.0, 4.0], [0.0, 30.0]]), bound=20)
    FlowStatistics(clipped_share=0.5, mean_magnitude=17.5)
    """
    check_bound(bound)
    flow = np.asarray(flow, np.float32)
    if flow.size == 0 or flow.shape[-1] != 2:
        raise ValueError(f"flow has shape {flow.shape}; at least one vector is expected, (..., 2)")
    x, y = flow[..., 0], flow[..., 1]
    clipped = (np.abs(x) > bound) | (np.abs(y) > bound)
    return FlowStatistics(
        clipped_share=float(np.count_nonzero(clipped) / clipped.size),
        mean_magnitude=float(np.sqrt(x * x + y * y).mean(dtype=np.float64)),
    )


def check_bound(bound: float) -> None:
    """Refuse a bound that is not a positive number of pixels (ValueError)."""
    if not (bound > 0 and np.isfinite(bound)):
        raise ValueError(f"bound is {bound!r}; it must be a positive number of pixels")
