"""Flow for the eye: direction as hue, magnitude as saturation (colour wheel of Baker et al. 2011, Middlebury)."""

from __future__ import annotations

from functools import cache

import numpy as np

from tdn_data.pipeline.flow.accuracy import known_pixels

# steps from one primary colour to the next: more where the eye tells hues apart better
# (steps, channel that moves, +1 rises or -1 falls), starting at red
_ARCS = ((15, 1, 1), (6, 0, -1), (4, 2, 1), (11, 1, -1), (13, 0, 1), (6, 2, -1))


@cache
def color_wheel() -> np.ndarray:
    """Return the 55 hues of the wheel, float32 (55, 3) RGB in [0, 1], from red over yellow, green, blue to magenta."""
    color, rows = np.array([1.0, 0.0, 0.0]), []
    for steps, channel, direction in _ARCS:
        start = color[channel]
        for step in range(steps):
            color[channel] = start + direction * step / steps
            rows.append(color.copy())
        color[channel] = start + direction
    return np.asarray(rows, np.float32)


def flow_to_color(flow: np.ndarray, *, max_magnitude: float | None = None) -> np.ndarray:
    """Draw a flow field (H, W, 2) as uint8 (H, W, 3) RGB: still is white, `max_magnitude` pixels is full colour.

    Without `max_magnitude` the field's own largest vector is full colour. Vectors beyond it are darkened, unknown
    ones (not finite or above 1e9) are black.

    Args:
        flow: (H, W, 2), pixels.
        max_magnitude: pixels that are full colour, above 0, or None.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ValueError: another shape or a magnitude that is not positive.

    >>> flow_to_color(np.zeros((1, 1, 2))).tolist()
    [[[255, 255, 255]]]
    """
    flow = np.asarray(flow, np.float32)
    if flow.ndim != 3 or flow.shape[-1] != 2:
        raise ValueError(f"flow has shape {flow.shape}; one field (H, W, 2) is expected")
    if max_magnitude is not None and not max_magnitude > 0:
        raise ValueError(f"max_magnitude is {max_magnitude!r}; it must be a positive number of pixels")
    known = known_pixels(flow)
    x, y = np.where(known[..., None], flow, 0.0).transpose(2, 0, 1)
    magnitude = np.hypot(x, y)
    largest = max_magnitude or max(float(magnitude.max(initial=0.0)), 1e-6)
    colors = _shade(_hue(x, y), magnitude / np.float32(largest))
    return np.rint(255.0 * colors * known[..., None]).astype(np.uint8)


def color_disc(side: int) -> np.ndarray:
    """Draw the key to `flow_to_color`: a disc, uint8 (side, side, 3) RGB on white, whose rim is full colour."""
    place = (np.arange(side, dtype=np.float32) + 0.5) * (2.0 / side) - 1.0
    x, y = np.meshgrid(place, place)
    disc = flow_to_color(np.stack([x, y], axis=-1), max_magnitude=1.0)
    disc[np.hypot(x, y) > 1.0] = 255
    return disc


def _hue(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the wheel's colour (H, W, 3) in each direction; motion to the right is red."""
    wheel = color_wheel()
    position = (np.arctan2(-y, -x) / np.pi + 1.0) / 2.0 * (len(wheel) - 1)
    low = np.floor(position).astype(np.intp)
    share = (position - low)[..., None]
    return (1.0 - share) * wheel[low] + share * wheel[(low + 1) % len(wheel)]


def _shade(hue: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Fade towards white inside the unit circle, darken outside it."""
    radius = radius[..., None]
    return np.where(radius <= 1.0, 1.0 - np.minimum(radius, 1.0) * (1.0 - hue), 0.75 * hue)
