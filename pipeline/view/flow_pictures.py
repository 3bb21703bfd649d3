"""Stored flow as it is looked at: what is still is zero, and one scale of colours for all that is shown together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tdn_data.pipeline.flow.quantize import dequantize


def visible_flow(levels: np.ndarray, bound: float) -> np.ndarray:
    """Return stored levels, uint8 (..., 2), as flow in pixels, float32, half a level lower than `dequantize` gives.

    The code has no level at zero: what is still is stored as the level above it, and is shown as still here.
    """
    return dequantize(levels, bound) - np.float32(bound / 255.0)


def flow_scale(fields: Sequence[np.ndarray], *, bound: float) -> float:
    """Return the magnitude, in pixels, that is full colour for flow fields (H, W, 2) shown together.

    It is what all but the fastest half percent of some field's vectors stay below, but never under a pixel or ten
    levels of the stored code: the noise of a still video stays pale.
    """
    largest = max((float(np.percentile(np.linalg.norm(field, axis=-1), 99.5)) for field in fields), default=0.0)
    return max(largest, 1.0, 10 * 2 * bound / 255)
