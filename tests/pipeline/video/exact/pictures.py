"""Pictures that carry their own number, and the reader that finds it again after compression.

A picture is 128 x 96 (or another multiple): in the middle 4 x 4 squares, black or white, which spell the number and an
8-bit check sum; around them a coloured texture that slides by three pixels per picture, so that a picture predicted
from the wrong one shows.

    bits   15 14 13 12      number, bits 7 .. 4
           11 10  9  8              bits 3 .. 0
            7  6  5  4      check sum (CRC-8, polynomial x^8 + x^2 + x + 1), bits 7 .. 4
            3  2  1  0                                                       bits 3 .. 0
"""

from __future__ import annotations

from functools import cache

import numpy as np

HEIGHT, WIDTH = 96, 128
_SQUARES = 4
_SLIDE_PIXELS = 3
_MARGIN = 24  # grey levels a square's mean must be away from middle grey to count as black or white


def crc8(number: int) -> int:
    """Check sum of one byte: any two codes of 16 bits differ in 4 bits at least, and none is all black or white."""
    for _ in range(8):
        number = (number << 1 ^ (0x07 if number & 0x80 else 0)) & 0xFF
    return number ^ 0xA5


def picture(number: int, *, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Picture `number` (0 .. 255) as uint8 (H, W, 3) RGB."""
    if not 0 <= number <= 255:
        raise ValueError(f"number is {number}; it must be within 0 .. 255")
    texture = _texture(height, width, seed)
    image = texture[:, _SLIDE_PIXELS * number : _SLIDE_PIXELS * number + width].copy()
    code, side, top, left = number << 8 | crc8(number), *_grid(height, width)
    for place in range(_SQUARES * _SQUARES):
        row, column = divmod(place, _SQUARES)
        white = code >> (15 - place) & 1
        image[top + row * side : top + (row + 1) * side, left + column * side : left + (column + 1) * side] = (
            255 * white
        )
    return image


def read_number(image: np.ndarray) -> int | None:
    """The number in a picture, uint8 (H, W, 3) or (H, W) of any size; None where the squares are blurred or torn."""
    grey = image.mean(axis=2) if image.ndim == 3 else image
    side, top, left = _grid(*grey.shape)
    inner, code = max(side // 4, 1), 0
    for place in range(_SQUARES * _SQUARES):
        row, column = divmod(place, _SQUARES)
        square = grey[
            top + row * side + inner : top + (row + 1) * side - inner,
            left + column * side + inner : left + (column + 1) * side - inner,
        ]
        mean = float(square.mean())
        if abs(mean - 127.5) < _MARGIN:
            return None
        code = code << 1 | (mean > 127.5)
    number = code >> 8
    return number if crc8(number) == code & 0xFF else None


def _grid(height: int, width: int) -> tuple[int, int, int]:
    """(side of a square, top, left) of the code: two thirds of the height, in the middle, on whole macroblocks."""
    side = height // 6
    return side, (height - _SQUARES * side) // 2, (width - _SQUARES * side) // 2


@cache
def _texture(height: int, width: int, seed: int) -> np.ndarray:
    cells = np.random.default_rng(seed).integers(48, 208, (height // 8 + 1, (width + _SLIDE_PIXELS * 256) // 8 + 1, 3))
    return cells.astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)[:height]
