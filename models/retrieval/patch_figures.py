"""Pictures of what the local features of a layer take for alike: the dissertation's figures 2.3 and 2.4."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tdn_data.models.retrieval.patches import PatchNeighbours, mosaic
from tdn_data.pipeline.view.lettering import Colour
from tdn_data.pipeline.view.sheet import FRAME, INK, PALE, PAPER, framed_thumbnail, stack_bands

NUM_AVERAGED = (1, 5)  # nearest patches in the two mosaics of figure 2.3
MOSAIC_SIDE, PATCH_SIDE = 224, 48  # pixels, of what is drawn


def correspondence_sheet(found: Sequence[PatchNeighbours], images: Sequence[np.ndarray], *, title: str) -> np.ndarray:
    """Return uint8 (H, W, 3) RGB, as figure 2.3: a column for each image asked about, the image itself on top.

    Below it, for each layer and scale, the image with each patch replaced by its nearest of other images, then by the
    mean of its five nearest. `images` are uint8 (H, W, 3), in the question's order; they are shown as the network sees
    them, warped to squares.
    """
    names = found[0].question.images
    squares = [cv2.resize(image, (MOSAIC_SIDE, MOSAIC_SIDE), interpolation=cv2.INTER_AREA) for image in images]
    bands = [(_row(squares, MOSAIC_SIDE, names, INK), title)]
    for one in found:
        for number in NUM_AVERAGED:
            what = "the nearest" if number == 1 else f"the mean of the {number} nearest"
            mosaics = [mosaic(one, name, number) for name in names]
            bands.append((_row(mosaics, MOSAIC_SIDE, None, PALE), f"{_where(one)}; in place of each, {what}"))
    return stack_bands(bands)


def patch_cluster_sheet(found: Sequence[PatchNeighbours], *, title: str) -> np.ndarray:
    """Return uint8 (H, W, 3) RGB, as figure 2.4: for each layer and scale a row for each spot asked about.

    The spot's own patch is at the left in a dark frame, those nearest to it follow from near to far.
    """
    bands = [(np.full((1, 1, 3), PAPER, np.uint8), title)]
    for one in found:
        spots = range(len(one.owners) - len(one.question.spots), len(one.owners))
        own = [_row([one.own[row]], PATCH_SIDE, None, INK) for row in spots]
        others = [_row(one.patches[row], PATCH_SIDE, None, PALE) for row in spots]
        bands.append((np.concatenate([np.concatenate(own), np.concatenate(others)], axis=1), _where(one)))
    return stack_bands(bands)


def _where(found: PatchNeighbours) -> str:
    """Return which patches they are: `inception5b, scale 2: 14 x 14 patches`."""
    num_along = len(found.grid.starts)
    return f"{found.layer}, scale {found.scale}: {num_along} x {num_along} patches"


def _row(pictures: Sequence[np.ndarray], side: int, texts: Sequence[str] | None, colour: Colour) -> np.ndarray:
    """Return the pictures side by side, each shown `side` pixels wide in a frame."""
    texts = texts or [""] * len(pictures)
    cells = [
        framed_thumbnail(picture, side + 2 * FRAME, text, colour) for picture, text in zip(pictures, texts, strict=True)
    ]
    return np.concatenate(cells, axis=1)
