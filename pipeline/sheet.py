"""The pieces that picture sheets are put together from: thumbnails with text, captions, rows of one width.

All pictures are uint8 (H, W, 3), RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

CAPTION_HEIGHT = 34
MARGIN = 8
FRAME = 4
FONT = cv2.FONT_HERSHEY_SIMPLEX
INK, PALE, PAPER = (30, 34, 40), (110, 118, 128), (255, 255, 255)
Colour = tuple[int, int, int]


def labelled_thumbnail(image: np.ndarray, height: int, text: str) -> np.ndarray:
    """Return `image` at the given height with `text` in a corner and a margin around."""
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return _with_margin(_write_on(_resize(image, height, width), text))


def framed_thumbnail(image: np.ndarray, side: int, text: str, colour: Colour) -> np.ndarray:
    """Return a square of side + MARGIN that holds `image` in a frame of `colour`, with `text` in a corner."""
    room = side - 2 * FRAME
    scale = room / max(image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    cell = np.full((room, room, 3), PALE, np.uint8)
    top, left = (room - height) // 2, (room - width) // 2
    cell[top : top + height, left : left + width] = _resize(image, height, width)
    framed = cv2.copyMakeBorder(cell, *[FRAME] * 4, cv2.BORDER_CONSTANT, value=colour)
    return _with_margin(_write_on(framed, text))


def stack_bands(bands: Sequence[tuple[np.ndarray, str]], *, min_width: int = 0) -> np.ndarray:
    """Return the bands of pictures one under the other, each below its caption, as wide as the widest of all."""
    width = max(min_width, *(max(band.shape[1], MARGIN + _text_width(text)) for band, text in bands)) + MARGIN
    footer = np.full((MARGIN, width, 3), PAPER, np.uint8)
    return np.concatenate([*(_under_caption(band, text, width) for band, text in bands), footer])


def _under_caption(band: np.ndarray, text: str, width: int) -> np.ndarray:
    """Return the band, widened to `width`, under a line and its caption."""
    strip = np.full((CAPTION_HEIGHT, width, 3), PAPER, np.uint8)
    cv2.putText(strip, text, (MARGIN, 23), FONT, 0.5, INK, 1, cv2.LINE_AA)
    cv2.line(strip, (MARGIN, 2), (width - MARGIN, 2), PALE, 1)
    return np.concatenate([strip, pad_right(band, width)])


def _text_width(text: str) -> int:
    (width, _), _ = cv2.getTextSize(text, FONT, 0.5, 1)
    return width


def pad_right(image: np.ndarray, width: int) -> np.ndarray:
    """Return the picture with paper at its right, `width` wide."""
    return cv2.copyMakeBorder(image, 0, 0, 0, width - image.shape[1], cv2.BORDER_CONSTANT, value=PAPER)


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    shrinks = height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _write_on(picture: np.ndarray, text: str) -> np.ndarray:
    """Return a copy with `text` at its lower left, white with a black rim."""
    written = picture.copy()
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        place = (6, picture.shape[0] - 8)
        cv2.putText(written, text, place, FONT, 0.4, colour, thickness, cv2.LINE_AA)
    return written


def _with_margin(picture: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(picture, 0, MARGIN, MARGIN, 0, cv2.BORDER_CONSTANT, value=PAPER)
