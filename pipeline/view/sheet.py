"""The pieces that picture sheets are put together from: thumbnails with text, captions, rows of one width.

All pictures are uint8 (H, W, 3), RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tdn_data.pipeline.flow.color import color_disc
from tdn_data.pipeline.view.lettering import Colour, drawable, text_width, with_text

CAPTION_HEIGHT = 34
MARGIN = 8
FRAME = 4
CAPTION_SIZE, STAMP_SIZE = 14, 11  # pixels, of letters
INK, PALE, PAPER = (30, 34, 40), (110, 118, 128), (255, 255, 255)
MAX_ASPECT = 3  # of a thumbnail, width to height
MAX_CAPTION_WIDTH = 1200
KEY_SIDE = 72


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
    texts = [drawable(text) for _, text in bands]
    bands = [(band, text) for (band, _), text in zip(bands, texts, strict=True)]
    widths = [max(band.shape[1], min(caption_width(text), MAX_CAPTION_WIDTH)) for band, text in bands]
    width = max(min_width, *widths) + MARGIN
    footer = np.full((MARGIN, width, 3), PAPER, np.uint8)
    return np.concatenate([*(_under_caption(band, text, width) for band, text in bands), footer])


def _under_caption(band: np.ndarray, text: str, width: int) -> np.ndarray:
    """Return the band, widened to `width`, under a line and its caption."""
    strip = np.full((CAPTION_HEIGHT, width, 3), PAPER, np.uint8)
    shown = elided(text, width - 2 * MARGIN)
    strip = with_text(strip, shown, left=MARGIN, baseline=23, size=CAPTION_SIZE, colour=INK)
    cv2.line(strip, (MARGIN, 2), (width - MARGIN, 2), PALE, 1)
    return np.concatenate([strip, pad_right(band, width)])


def caption_width(text: str) -> int:
    """Return the width in pixels that a caption takes with the margin at its left."""
    return MARGIN + text_width(text, CAPTION_SIZE)


def elided(text: str, width: int) -> str:
    """Return a caption that fits into `width` pixels: itself, or its beginning and end with dots between."""
    kept = len(text)
    shown = text if kept <= width else f"{text[: width // 2]} ... {text[-(width // 2) :]}"  # a letter has a pixel
    kept = min(kept, width)
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
        baseline = KEY_SIDE // 2 - 6 + 22 * number
        strip = with_text(strip, shown, left=left, baseline=baseline, size=CAPTION_SIZE, colour=INK)
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
    if not text:
        return written
    bottom, shown = picture.shape[0] - 4, drawable(text)
    cv2.rectangle(written, (3, bottom - STAMP_SIZE - 4), (9 + text_width(shown, STAMP_SIZE), bottom), INK, cv2.FILLED)
    return with_text(written, shown, left=6, baseline=bottom - 4, size=STAMP_SIZE, colour=PAPER)


def _with_margin(picture: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(picture, 0, MARGIN, MARGIN, 0, cv2.BORDER_CONSTANT, value=PAPER)
