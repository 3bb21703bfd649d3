"""Decoded pictures to arrays: colour, size, pixel shape and rotation in one place.

At the coded size with square pixels, swscale's plain conversion is used: the same numbers that PyAV's `to_ndarray`,
torchcodec and ffmpeg give. When the size changes, swscale averages areas (and interpolates linearly when enlarging)
with its accurate and bit-exact code, whose result does not depend on the processor's instruction set. Grey is always
full range, 0 black to 255 white. Matrix (BT.601, BT.709, BT.2020) and range (limited, full) are the frame's own;
unmarked frames count as BT.601 limited. Interlaced pictures stay as they are stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

PixelFormat = Literal["rgb24", "gray"]
PIXEL_FORMATS = ("rgb24", "gray")
_BALLAST_BYTES = 31 << 20  # just under the largest block that glibc learns from
_SAME_SIZE = Interpolation.BILINEAR
_RESIZE = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


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
    """Geometry for pictures like `frame`: `size` = (height, width), or square pixels by stretching the short side."""
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


class Converter:
    """Turns the pictures of one video into arrays; keeps swscale's tables between pictures, which saves a fifth."""

    def __init__(self, geometry: Geometry, pixel_format: PixelFormat = "rgb24") -> None:
        self.geometry = geometry
        self.pixel_format = pixel_format
        self._reformatter = VideoReformatter()
        # glibc gives the memory of a freed picture back to the system, and the next picture faults it in again page by
        # page, up to 40 % of the time, unless a larger block has been freed before. No page of this one is touched.
        np.empty(_BALLAST_BYTES, dtype=np.uint8)

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """The picture as shown: uint8 (H, W, 3) RGB or (H, W) grey, contiguous."""
        geometry = self.geometry
        same_size = (frame.height, frame.width) == (geometry.height, geometry.width)
        converted = self._reformatter.reformat(
            frame,
            width=geometry.width,
            height=geometry.height,
            format=self.pixel_format,
            interpolation=_SAME_SIZE if same_size else _RESIZE,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        array = converted.to_ndarray()
        if geometry.rotation:
            array = np.rot90(array, k=-geometry.rotation // 90)
        return np.ascontiguousarray(array)
