"""The pieces that picture sheets are put together from: thumbnails with text, captions, rows of one width.

All pictures are uint8 (H, W, 3), RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.flow.color import color_disc

CAPTION_HEIGHT = 34
MARGIN = 8
FRAME = 4
FONT = cv2.FONT_HERSHEY_SIMPLEX
INK, PALE, PAPER = (30, 34, 40), (110, 118, 128), (255, 255, 255)
MAX_ASPECT = 3  # of a thumbnail, width to height
MAX_CAPTION_WIDTH = 1200
KEY_SIDE = 72
Colour = tuple[int, int, int]


def labelled_thumbnail(image: np.ndarray, height: int, text: str) -> np.ndarray:
    """Return `image` at the given height with `text` in a corner, a thin line and a margin around."""
    written = _write_on(resize_to_height(image, height), text)
    cv2.rectangle(written, (0, 0), (written.shape[1] - 1, written.shape[0] - 1), PALE, 1)  # white flow on white paper
    return _with_margin(written)


def resize_to_height(image: np.ndarray, height: int) -> np.ndarray:
    """Return an image or a flow field (H, W, C) at the given height; very wide ones lie on paper or on still ground."""
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    if width <= MAX_ASPECT * height:
        return image if image.shape[0] == height else _resize(image, height, width)
    width = MAX_ASPECT * height
    inner = _resize(image, max(1, round(image.shape[0] * width / image.shape[1])), width)
    above = (height - inner.shape[0]) // 2
    ground = PAPER if inner.dtype == np.uint8 else 0
    below = height - inner.shape[0] - above
    return cv2.copyMakeBorder(inner, above, below, 0, 0, cv2.BORDER_CONSTANT, value=ground)


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
    """Return the bands of pictures one under the other, each below its caption, as wide as the widest of all.

    Captions widen the sheet up to `MAX_CAPTION_WIDTH`; a longer one loses its middle.
    """
    texts = [caption_width(plain_text(text)) for _, text in bands]
    widths = [max(band.shape[1], min(text, MAX_CAPTION_WIDTH)) for (band, _), text in zip(bands, texts, strict=True)]
    width = max(min_width, *widths) + MARGIN
    footer = np.full((MARGIN, width, 3), PAPER, np.uint8)
    return np.concatenate([*(_under_caption(band, text, width) for band, text in bands), footer])


def _under_caption(band: np.ndarray, text: str, width: int) -> np.ndarray:
    """Return the band, widened to `width`, under a line and its caption."""
    strip = np.full((CAPTION_HEIGHT, width, 3), PAPER, np.uint8)
    cv2.putText(strip, elided(plain_text(text), width - 2 * MARGIN), (MARGIN, 23), FONT, 0.5, INK, 1, cv2.LINE_AA)
    cv2.line(strip, (MARGIN, 2), (width - MARGIN, 2), PALE, 1)
    return np.concatenate([strip, pad_right(band, width)])


def caption_width(text: str) -> int:
    """Return the width in pixels that a caption takes with the margin at its left."""
    (width, _), _ = cv2.getTextSize(text, FONT, 0.5, 1)
    return MARGIN + width


def plain_text(text: str) -> str:
    """Return text as the sheet's font can draw it: line breaks and the like escaped, `?` for letters it lacks."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    return shown.encode("ascii", "replace").decode("ascii")


def elided(text: str, width: int) -> str:
    """Return a caption that fits into `width` pixels: itself, or its beginning and end with dots between."""
    kept = len(text)
    shown = text
    while caption_width(shown) - MARGIN > width and kept > 2:
        kept -= 1 + kept // 50
        shown = f"{text[: (kept + 1) // 2]} ... {text[len(text) - kept // 2 :]}"
    return shown


def flow_key(scale: float, width: int) -> np.ndarray:
    """Return the key to a sheet's flow, `width` wide: the colour wheel, and what its rim stands for."""
    disc = color_disc(KEY_SIDE)
    lines = (
        "Colour is the direction of motion, as from the middle of the wheel: red to the right.",
        f"Full colour: {scale:.3g} pixels or more from one picture to the next. White: still.",
    )
    strip = np.full((KEY_SIDE + MARGIN, max(width, KEY_SIDE + 2 * MARGIN), 3), PAPER, np.uint8)
    strip[:KEY_SIDE, MARGIN : MARGIN + KEY_SIDE] = disc
    left = KEY_SIDE + 3 * MARGIN
    for number, line in enumerate(lines):
        shown = elided(line, strip.shape[1] - left)
        cv2.putText(strip, shown, (left, KEY_SIDE // 2 - 6 + 22 * number), FONT, 0.45, INK, 1, cv2.LINE_AA)
    return strip


def pad_right(image: np.ndarray, width: int) -> np.ndarray:
    """Return the picture with paper at its right, `width` wide."""
    return cv2.copyMakeBorder(image, 0, 0, 0, width - image.shape[1], cv2.BORDER_CONSTANT, value=PAPER)


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    shrinks = height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _write_on(picture: np.ndarray, text: str) -> np.ndarray:
    """Return a copy with `text` at its lower left, white on a dark plate, which reads on any picture."""
    written = picture.copy()
    if text:
        (width, height), below = cv2.getTextSize(text, FONT, 0.4, 1)
        bottom = picture.shape[0] - 4
        cv2.rectangle(written, (3, bottom - height - below - 3), (9 + width, bottom), INK, cv2.FILLED)
        cv2.putText(written, text, (6, bottom - below), FONT, 0.4, PAPER, 1, cv2.LINE_AA)
    return written


def _with_margin(picture: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(picture, 0, MARGIN, MARGIN, 0, cv2.BORDER_CONSTANT, value=PAPER)
