"""Maps as a picture: frames in a row, and below them each subnetwork's maps as heat over the frames that they are of.

[f0]  [f1]  [f2]  [f3]       the middle frame of each snippet, or all frames where maps are of single ones
[m0]  [m1]  [m2]  [m3]       maps of snippets
   [m01] [m12] [m23]         maps of differences lie over the mean of their two frames, and between them
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tdn_data.pipeline.view.sheet import (
    MARGIN,
    PAPER,
    caption_width,
    flow_key,
    labelled_thumbnail,
    resize_to_height,
    stack_bands,
)

HEIGHT = 160  # pixels, of a frame
MAX_COLUMNS = 16
HEAT = 0.5  # its share of a pixel's colour
KEY = "heat: blue is the least and red the most of its row"


@dataclass(frozen=True)
class Cell:
    """A picture, uint8 (H, W, 3) RGB, in a column, or half between two, with a word on it."""

    column: float
    image: np.ndarray
    word: str = ""


@dataclass(frozen=True)
class Row:
    """Cells from left to right, under a caption."""

    caption: str
    cells: Sequence[Cell]


def draw_rows(rows: Sequence[Row], *, flow_pixels: float | None = None, key: str = "") -> np.ndarray:
    """Return rows under each other, uint8 (H, W, 3) RGB; of more than MAX_COLUMNS columns, evenly spaced ones are kept.

    `flow_pixels` is the motion that is full colour, for which a wheel is drawn; `key` are words at the foot.
    """
    columns = sorted({int(cell.column) for row in rows for cell in row.cells})
    kept = np.unique(np.linspace(0, len(columns) - 1, min(len(columns), MAX_COLUMNS)).round().astype(int))
    places = {columns[old]: new for new, old in enumerate(kept)}
    bands = [(_strip(row.cells, places), row.caption) for row in rows]
    if flow_pixels is not None:
        bands.append((flow_key(flow_pixels, max(band.shape[1] for band, _ in bands)), "key to the flow"))
    if key:
        bands.append((np.full((1, 1, 3), PAPER, np.uint8), key))
    return stack_bands(bands, min_width=max(caption_width(row.caption) for row in rows))


def _strip(cells: Sequence[Cell], places: dict[int, int]) -> np.ndarray:
    """Return cells at their columns' places on paper."""
    drawn = [
        (places[int(cell.column)] + cell.column % 1, labelled_thumbnail(cell.image, HEIGHT, cell.word))
        for cell in cells
        if int(cell.column) in places
    ]
    width = max(picture.shape[1] for _, picture in drawn)
    lefts = [round(place * width) for place, _ in drawn]
    strip = np.full((HEIGHT + MARGIN, max(lefts) + width, 3), PAPER, np.uint8)
    for left, (_, picture) in zip(lefts, drawn, strict=True):
        strip[:, left : left + picture.shape[1]] = picture
    return strip


def frame_row(caption: str, frames: np.ndarray, seconds: np.ndarray, *, all_frames: bool) -> Row:
    """Return the row of a clip's frames, uint8 (S, K, H, W, 3): all of them, or the middle one of each snippet."""
    num_snippets, length = frames.shape[:2]
    shown = [(s, k) for s in range(num_snippets) for k in (range(length) if all_frames else [length // 2])]
    return Row(caption, [Cell(n, frames[at], f"{seconds[at]:.2f} s") for n, at in enumerate(shown)])


def heat_row(
    caption: str, maps: np.ndarray, frames: np.ndarray, *, all_frames: bool, least_range: float = 1e-12
) -> Row:
    """Return the row of a subnetwork's maps (M, h, w), enlarged bilinearly, on one scale, over a clip's frames.

    The scale goes from the least value to the most, or at least as far as `least_range`: what hardly differs looks so.
    """
    low = float(maps.min())
    scale = max(float(maps.max()) - low, least_range)
    cells = []
    for heat, span in zip(maps, spans(len(maps), *frames.shape[:2]), strict=True):
        under = np.mean([frames.reshape(-1, *frames.shape[2:])[n] for n in span], axis=0).round().astype(np.uint8)
        column = float(np.mean(span)) if all_frames else float(np.mean([n // frames.shape[1] for n in span]))
        cells.append(Cell(column, heated(under, (heat - low) / scale)))
    return Row(caption, cells)


def same_pictures(one: Row, other: Row) -> bool:
    """Tell whether two rows show the same pictures in the same columns."""
    return len(one.cells) == len(other.cells) and all(
        a.column == b.column and np.array_equal(a.image, b.image) for a, b in zip(one.cells, other.cells, strict=True)
    )


def heated(frame: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a frame, uint8 (H, W, 3), enlarged to HEIGHT, under a map (h, w) from 0 to 1."""
    large = resize_to_height(frame, HEIGHT)
    wide = cv2.resize(heat.astype(np.float32), large.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap((255 * wide.clip(0, 1)).round().astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return cv2.addWeighted(large, 1 - HEAT, np.ascontiguousarray(colours), HEAT, 0)


def spans(num_maps: int, num_snippets: int, length: int) -> list[tuple[int, ...]]:
    """Return which frames, counted through all snippets, each of a clip's maps is of.

    >>> spans(3, 4, 1), spans(2, 2, 3), spans(4, 2, 3), spans(4, 1, 8)  # differences, snippets, pairs, pooled time
    ([(0, 1), (1, 2), (2, 3)], [(1,), (4,)], [(0, 1), (1, 2), (3, 4), (4, 5)], [(0, 1), (2, 3), (4, 5), (6, 7)])
    """
    middles = [number * length + length // 2 for number in range(num_snippets)]
    if num_maps == num_snippets - 1:
        return list(zip(middles, middles[1:], strict=False))
    if num_maps == num_snippets:
        return [(middle,) for middle in middles]
    own = num_maps // num_snippets  # of each snippet
    parts = [(n, n + 1) for n in range(length - 1)] if own == length - 1 else _shares(length, own)
    return [tuple(number * length + n for n in part) for number in range(num_snippets) for part in parts]


def _shares(length: int, count: int) -> list[tuple[int, ...]]:
    return [tuple(int(n) for n in part) for part in np.array_split(np.arange(length), count)]
