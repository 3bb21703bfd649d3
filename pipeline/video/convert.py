"""Decoded pictures to arrays: colour, size, pixel shape and rotation in one place.

At the coded size with square pixels, swscale's plain conversion is used: the same numbers that PyAV's `to_ndarray`,
torchcodec and ffmpeg give. When the size changes, swscale runs bicubic (its kernel widens when shrinking, so nothing
aliases) with its accurate and bit-exact code, whose result does not depend on the processor's instruction set.
Matrix (BT.601, BT.709, BT.2020) and range (limited, full) are the frame's own; unmarked frames count as
BT.601 limited.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.video.reformatter import Interpolation

PixelFormat = Literal["rgb24", "gray"]
PIXEL_FORMATS = ("rgb24", "gray")
_RESIZE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


@dataclass(frozen=True)
class Geometry:
    """How one video's coded pictures become shown ones: scale to (height, width), then turn clockwise."""

    height: int  # of the scaled picture, before it is turned
    width: int
    rotation: int  # degrees clockwise: 0, 90, 180, 270

    @property
    def shown_size(self) -> tuple[int, int]:
        """(height, width) after turning."""
        return (self.width, self.height) if self.rotation in (90, 270) else (self.height, self.width)


def shown_geometry(frame: av.VideoFrame, *, pixel_aspect: Fraction, size: tuple[int, int] | None = None) -> Geometry:
    """Geometry for pictures like `frame`: square pixels by stretching the short side, or `size` = (height, width)."""
    rotation = round(-frame.rotation / 90) % 4 * 90
    if size is not None:
        height, width = size if rotation in (0, 180) else (size[1], size[0])
        return Geometry(height, width, rotation)
    height, width = frame.height, frame.width
    if pixel_aspect > 1:
        width = round(width * pixel_aspect)
    elif pixel_aspect < 1:
        height = round(height / pixel_aspect)
    return Geometry(height, width, rotation)


def to_array(frame: av.VideoFrame, geometry: Geometry, *, pixel_format: PixelFormat = "rgb24") -> np.ndarray:
    """The picture as shown, uint8 (H, W, 3) RGB or (H, W) grey, contiguous and owned by the caller."""
    options = {"format": pixel_format, "width": geometry.width, "height": geometry.height, "threads": 1}
    if (frame.height, frame.width) != (geometry.height, geometry.width):
        options["interpolation"] = _RESIZE
    array = frame.to_ndarray(**options)
    if geometry.rotation:
        array = np.rot90(array, k=-geometry.rotation // 90)
    return np.ascontiguousarray(array)
