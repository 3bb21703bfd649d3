"""From coarse to fine: an image at every level of its pyramid, and flow enlarged from one level to the next."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from tdn_data.pipeline.flow.tvl1_parameters import TVL1Parameters


class Taps(NamedTuple):
    """The two input pixels of each output pixel along one side, int32, and the second one's share, float32."""

    low: np.ndarray
    high: np.ndarray
    share: np.ndarray


def linear_taps(size: int, new_size: int, *, step: float | None, centered: bool) -> Taps:
    """Return what each of `new_size` output pixels is made of.

    `step`: distance of two output pixels in input pixels, None for the sizes' ratio. `centered`: pixels are areas whose
    outer edges align, otherwise the centres of the first pixels do. Outside the input its edge is repeated; where a
    fixed step runs past the end, the last pixel is the second of two with the share 1, as OpenCV rounds.
    """
    shift = 0.5 if centered else 0.0
    ratio = size / new_size if step is None else step
    places = ((np.arange(new_size) + shift) * ratio - shift).clip(0, size - 1)
    last = size - 1 if step is None or size == 1 else size - 2
    low = np.floor(places).astype(np.int32).clip(max=last)
    return Taps(low, (low + 1).clip(max=size - 1), (places - low).astype(np.float32))


def image_pyramid(image: np.ndarray, parameters: TVL1Parameters) -> tuple[np.ndarray, ...]:
    """Return uint8 (H, W) as float32 at each level, finest first, each shrunk from the one before."""
    levels, step = [image.astype(np.float32, order="C")], parameters.scale_step
    for shape in parameters.level_shapes(*image.shape)[1:]:
        if parameters.centered_resize:  # OpenCV's own function, which is faster: the same but for a last bit
            levels.append(cv2.resize(levels[-1], None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR))
        else:
            levels.append(_resize_from_corner(levels[-1], shape, step=1.0 / step))
    return tuple(levels)


def enlarge(plane: np.ndarray, shape: tuple[int, int], parameters: TVL1Parameters) -> np.ndarray:
    """Resample one component of the flow to the next finer level, in that level's pixels; returns a new array."""
    if plane.shape == shape:
        return plane.copy()
    if parameters.centered_resize:
        larger = cv2.resize(plane, shape[::-1], interpolation=cv2.INTER_LINEAR)
    else:
        larger = _resize_from_corner(plane, shape, step=None)
    larger *= np.float32(1.0 / parameters.scale_step)
    return larger


def _resize_from_corner(image: np.ndarray, shape: tuple[int, int], *, step: float | None) -> np.ndarray:
    """Resample float32 (H, W) to `shape` with the first pixels' centres aligned, columns first."""
    for axis in (1, 0):
        taps = linear_taps(image.shape[axis], shape[axis], step=step, centered=False)
        low, high = image.take(taps.low, axis), image.take(taps.high, axis)
        high -= low
        high *= taps.share if axis == 1 else taps.share[:, None]
        low += high
        image = low
    return image
