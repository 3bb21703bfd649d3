"""How far a flow field is from another: the end-point error of the Middlebury benchmark (Baker et al. 2011)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNKNOWN_ABOVE = 1e9  # Middlebury: a component this large marks a pixel whose motion is not known


@dataclass(frozen=True)
class EndPointError:
    """Distances in pixels over the pixels whose true motion is known."""

    mean: float
    median: float
    share_above_1px: float  # of the known pixels, in [0, 1]
    num_known: int
    num_unknown: int


def known_pixels(truth: np.ndarray) -> np.ndarray:
    """Return the mask (...,) of vectors (..., 2) that are finite and not marked as unknown."""
    return np.all(np.isfinite(truth) & (np.abs(truth) <= UNKNOWN_ABOVE), axis=-1)


def end_point_error(flow: np.ndarray, truth: np.ndarray) -> EndPointError:
    """Compare `flow` with `truth`, both (..., 2) in pixels; unknown pixels of `truth` are left out.

    Args:
        flow: (..., 2), pixels.
        truth: in the same shape.

    Returns:
        mean and median distance in pixels, the share above 1 pixel, and how many pixels are known.

    Raises:
        ValueError: shapes that differ, or a truth without one known pixel.

    >>> error = end_point_error(np.zeros((2, 2, 2)), np.full((2, 2, 2), [3.0, 4.0]))
    >>> error.mean, error.num_known
    (5.0, 4)
    """
    flow, truth = np.asarray(flow), np.asarray(truth)
    if flow.shape != truth.shape or flow.ndim < 1 or flow.shape[-1] != 2:
        raise ValueError(f"flow has shape {flow.shape} and truth {truth.shape}; both must be the same (..., 2)")
    known = known_pixels(truth)
    num_known = int(np.count_nonzero(known))
    if num_known == 0:
        raise ValueError("truth has no pixel whose motion is known")
    difference = flow[known].astype(np.float64) - truth[known]
    distance = np.hypot(difference[:, 0], difference[:, 1])
    return EndPointError(
        mean=float(distance.mean()),
        median=float(np.median(distance)),
        share_above_1px=float(np.mean(distance > 1.0)),
        num_known=num_known,
        num_unknown=int(known.size - num_known),
    )
