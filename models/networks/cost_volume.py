"""Displacement from feature maps by a cosine cost volume: Zhao, Xiong & Lin, "Recognize Actions by Disentangling
Components of Dynamics", CVPR 2018, section 3.3, equations 1 and 2; warping as in section 3.4.

    c(di, dj) = cosine of f_t(i, j) and f_t+1(i + di, j + dj)        |di|, |dj| <= radius
    v(i, j)   = mean of (di, dj) under softmax(c / temperature)      (soft assignment)
              = (di, dj) of the largest c                            (hard assignment, "winner takes all")

The volume of the whole batch would be huge: (2 * 8 + 1)^2 numbers for each of 224 x 224 places and 7 pairs are 400 MB
a video. It is made strip by strip, in training too, where the backward pass makes each strip again; what is held at a
time does not grow with the batch or the height. Within a strip, square tiles of places are matched with the places
around them by one matrix product, of which the windows are cut out by reading rows one number later each:

    1D, radius 1, tile of 3:    product           read with 5 + 1 numbers a row    window
                                a a a . .         a a a . . .                      a a a
                                . b b b .         b b b . . .            ->        b b b
                                . . c c c         c c c                            c c c

Departure: places outside of the image are no candidates (the paper does not say; zeros there would be cosine 0).
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

TILE = 8  # side of a tile, in places
PLACES_AT_ONCE = 8192  # of a strip; a place needs about (TILE + 2 * radius)^2 * 2 numbers while it is worked on
ASSIGNMENTS = ("soft", "hard")


def displacement(
    before: Tensor, after: Tensor, *, radius: int, temperature: float = 0.05, assignment: str = "soft"
) -> Tensor:
    """Return where each place went, (B, 2, H, W) float32: rows down, then columns to the right (equation 1).

    `before` and `after` are feature maps (B, C, H, W). `assignment` is `soft`, or `hard` for winner takes all, which
    passes no gradient. Raises ValueError for maps of different shapes or an argument out of range.
    """
    check_matching(radius=radius, temperature=temperature, assignment=assignment)
    if before.ndim != 4 or before.shape != after.shape:
        raise ValueError(
            f"before and after have shapes {tuple(before.shape)} and {tuple(after.shape)}; expected (B, C, H, W) twice"
        )
    match = partial(_match, radius=radius, temperature=temperature, hard=assignment == "hard")
    height, width = before.shape[2:]
    pairs = max(1, PLACES_AT_ONCE // (height * width))
    rows = height if pairs > 1 else max(1, PLACES_AT_ONCE // (TILE * width)) * TILE
    chunks = zip(before.split(pairs), after.split(pairs), strict=True)
    return torch.cat(
        [torch.cat([_run(match, a, b, top, rows) for top in range(0, height, rows)], 2) for a, b in chunks]
    )


def cost_volume(before: Tensor, after: Tensor, *, radius: int) -> Tensor:
    """Return the cosines (B, H, W, 2 * radius + 1, 2 * radius + 1), -inf outside of the image; all of it at once."""
    return _strip_costs(before, after, 0, before.shape[2], radius=radius)


def warp(features: Tensor, motion: Tensor) -> Tensor:
    """Return W(F, V) of section 3.4: F read at x - V(x) by bilinear interpolation, zeros where that lies outside.

    `features` is (B, C, H, W), `motion` (B, 2, H, W) in places, rows then columns. The map is taken to go on as zeros,
    so that a source between its border and the next place outside fades.
    """
    height, width = features.shape[2:]
    rows = torch.arange(height, device=motion.device)[:, None] - motion[:, 0]
    columns = torch.arange(width, device=motion.device) - motion[:, 1]
    grid = torch.stack([2 * columns / max(width - 1, 1) - 1, 2 * rows / max(height - 1, 1) - 1], 3)
    warped = F.grid_sample(features.float(), grid.float(), padding_mode="zeros", align_corners=True)
    return warped.to(features.dtype)


def check_matching(*, radius: int, temperature: float, assignment: str) -> None:
    """Raise ValueError for a radius, temperature or assignment that cannot be."""
    if radius < 1:
        raise ValueError(f"radius is {radius!r}; it must be at least 1")
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature!r}; it must be greater than 0")
    if assignment not in ASSIGNMENTS:
        raise ValueError(f"assignment is {assignment!r}; known assignments: {', '.join(ASSIGNMENTS)}")


def _run(match: partial, before: Tensor, after: Tensor, top: int, rows: int) -> Tensor:
    """Match one strip; when gradients are wanted, keep only its inputs and make it again in the backward pass."""
    if torch.is_grad_enabled() and (before.requires_grad or after.requires_grad):
        return checkpoint(match, before, after, top, rows, use_reentrant=False)
    return match(before, after, top, rows)


def _match(
    before: Tensor, after: Tensor, top: int, rows: int, *, radius: int, temperature: float, hard: bool
) -> Tensor:
    """Return the displacement (B, 2, rows, W) of the strip's places."""
    with torch.autocast(before.device.type, enabled=False):
        costs = _strip_costs(before, after, top, rows, radius=radius)
        steps = torch.arange(-radius, radius + 1, device=costs.device, dtype=costs.dtype)
        if hard:
            best = costs.flatten(3).argmax(3)
            return torch.stack([steps[best // len(steps)], steps[best % len(steps)]], 1)
        weights = (costs.flatten(3) / temperature).softmax(3).unflatten(3, (len(steps), len(steps)))
        return torch.stack([weights.sum(4) @ steps, weights.sum(3) @ steps], 1)


def _strip_costs(before: Tensor, after: Tensor, top: int, rows: int, *, radius: int) -> Tensor:
    """Return the cosines of the strip's places, (B, rows, W, 2 * radius + 1, 2 * radius + 1); fewer rows at the end."""
    height, width = before.shape[2:]
    bottom = min(top + rows, height)
    first, last = max(top - radius, 0), min(bottom + radius, height)
    here = F.normalize(before[:, :, top:bottom].float(), dim=1)
    there = F.normalize(after[:, :, first:last].float(), dim=1)
    right, below = -width % TILE, -(bottom - top) % TILE
    here = F.pad(here, (0, right, 0, below))
    there = F.pad(there, (radius, radius + right, radius - (top - first), radius - (last - bottom) + below))
    costs = _match_tiles(here, there, radius)[:, : bottom - top, :width]
    return costs.masked_fill(~_inside(top, bottom, height, width, radius, before.device), -torch.inf)


def _match_tiles(here: Tensor, there: Tensor, radius: int) -> Tensor:
    """Return products of places (B, C, h, w) with their windows in (B, C, h + 2 r, w + 2 r): (B, h, w, 2r+1, 2r+1)."""
    side = TILE + 2 * radius
    places = here.unfold(2, TILE, TILE).unfold(3, TILE, TILE)  # (B, C, y, x, TILE, TILE)
    around = there.unfold(2, side, TILE).unfold(3, side, TILE)  # (B, C, y, x, side, side)
    tiles = places.permute(0, 2, 3, 4, 5, 1).flatten(3, 4) @ around.permute(0, 2, 3, 1, 4, 5).flatten(4)
    tiles = tiles.unflatten(3, (TILE, TILE)).unflatten(5, (side, side))  # (B, y, x, row, column, side, side)
    tiles = _cut_windows(tiles.permute(0, 1, 2, 3, 5, 4, 6))  # (B, y, x, row, side, column, dj)
    tiles = _cut_windows(tiles.permute(0, 1, 2, 5, 6, 3, 4))  # (B, y, x, column, dj, row, di)
    return tiles.permute(0, 1, 5, 2, 3, 6, 4).flatten(1, 2).flatten(2, 3)  # (B, h, w, di, dj)


def _cut_windows(products: Tensor) -> Tensor:
    """Return entry [k, k + d] at [k, d]: (..., TILE, side) -> (..., TILE, side - TILE + 1); see the file's drawing."""
    side = products.shape[-1]
    shifted = F.pad(products.flatten(-2), (0, TILE)).unflatten(-1, (TILE, side + 1))
    return shifted[..., : side - TILE + 1]


def _inside(top: int, bottom: int, height: int, width: int, radius: int, device: torch.device) -> Tensor:
    """Return which candidates of a strip's places lie in the image, (rows, W, 2 * radius + 1, 2 * radius + 1)."""
    steps = torch.arange(-radius, radius + 1, device=device)
    rows = torch.arange(top, bottom, device=device)[:, None] + steps
    columns = torch.arange(width, device=device)[:, None] + steps
    rows, columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    return rows[:, None, :, None] & columns[None, :, None, :]
