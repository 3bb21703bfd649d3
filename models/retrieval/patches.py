"""Which patches a layer takes for alike: J. Y.-H. Ng, dissertation (2018), section 2.4.3, figures 2.3 and 2.4.

A local feature stands for "a square image patch which is obtained from the center of the image region that affects the
local feature": with an input of n x n pixels and a map of m x m places, n/m pixels wide, around the middle of the
place's receptive field; where that reaches over the border, it is moved inside. Its neighbours are the nearest local
features in L2 distance among all places of all images of the database, at the same layer and scale.

Where the text is silent: features are L2-normalised, as they are encoded, and a feature's neighbours come from other
images than its own, where the nearest would be itself and the places next to it.

The neighbours are found while the database is described for the search, and their pixels kept with them; only the few
images that are asked about run through the network once more, before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tdn_data.models.backbones import Backbone
from tdn_data.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from tdn_data.models.backbones.receptive_field import receptive_field
from tdn_data.models.retrieval.ranking import ImageFiles
from tdn_data.models.retrieval.vlad import local_features, warped_batches
from tdn_data.models.retrieval.vlad_options import VladOptions
from tdn_data.pipeline.errors import InputError

BLOCK = 1 << 22  # distances that are computed at once
NUM_NEIGHBOURS = 10


@dataclass(frozen=True)
class PatchQuestion:
    """Whose neighbours are wanted: every place of `images`, and single ones at `spots`; `num_neighbours` of each.

    A spot is (image, share of the height, share of the width), shares in [0, 1), and so a place on any map.
    """

    images: tuple[str, ...] = ()
    spots: tuple[tuple[str, float, float], ...] = ()
    num_neighbours: int = NUM_NEIGHBOURS

    @property
    def names(self) -> tuple[str, ...]:
        """The images that are asked about, each once."""
        return tuple(dict.fromkeys([*self.images, *(name for name, _, _ in self.spots)]))


@dataclass(frozen=True)
class PatchGrid:
    """Where the patches of a map lie on its input: `side` pixels wide, their first rows (and columns) at `starts`."""

    input_side: int
    side: int
    starts: tuple[int, ...]

    @property
    def num_places(self) -> int:
        """Places of the map, row by row."""
        return len(self.starts) ** 2

    def corner(self, place: int) -> tuple[int, int]:
        """Return (top, left) of a place's patch in pixels of the input."""
        row, column = divmod(place, len(self.starts))
        return self.starts[row], self.starts[column]

    def place(self, down: float, right: float) -> int:
        """Return the place at shares in [0, 1) of the map's height and width."""
        return int(down * len(self.starts)) * len(self.starts) + int(right * len(self.starts))

    def cut(self, images: Tensor) -> Tensor:
        """Return the patches (N, places, side, side, C) of images (N, C, H, W) of the input's size."""
        rows = torch.tensor(self.starts, device=images.device)[:, None] + torch.arange(self.side, device=images.device)
        cut = images[:, :, rows][..., rows]  # (N, C, m, side, m, side)
        return cut.permute(0, 2, 4, 3, 5, 1).flatten(1, 2)


@dataclass(frozen=True)
class PatchNeighbours:
    """The patches asked about, R of them, and the nearest others of each, near to far.

    `owners` are the images and places of the R, in the question's order: those of whole images, then the spots';
    `own` (R, side, side, 3) their patches, uint8 RGB. `images` (R, k) are rows of `names`, `places` (R, k) places of
    the map, `patches` (R, k, side, side, 3) and `distances` (R, k), in L2, those of the nearest.
    """

    layer: str
    scale: int
    question: PatchQuestion
    grid: PatchGrid
    names: tuple[str, ...]
    owners: tuple[tuple[str, int], ...]
    own: np.ndarray
    distances: np.ndarray
    images: np.ndarray
    places: np.ndarray
    patches: np.ndarray


def patch_grid(network: Backbone, layer: str, input_side: int, map_side: int) -> PatchGrid:
    """Return where the patches of a layer's map of `map_side` places lie on an input of `input_side` pixels."""
    field = receptive_field(network, layer, input_side)
    side = max(1, round(input_side / map_side))
    starts = (round(field.centre(place) - side / 2) for place in range(map_side))
    return PatchGrid(input_side, side, tuple(min(max(start, 0), input_side - side) for start in starts))


def choose_patches(
    images: Sequence[str], queries: Sequence[str], *, num_images: int, num_spots: int, seed: int
) -> PatchQuestion:
    """Return a question about `num_images` of the queries' images, spread evenly, and about places drawn by `seed`.

    Raises InputError when the database has one image only: no other can hold neighbours.
    """
    if len(images) < 2:
        raise InputError("neighbours of patches are looked for in other images; the set has one only.", key="root")
    asked = list(dict.fromkeys(queries))
    spread = np.unique(np.linspace(0, len(asked) - 1, min(num_images, len(asked))).round().astype(int))
    generator = np.random.default_rng(seed)
    drawn = generator.choice(len(images), num_spots, replace=num_spots > len(images))
    spots = tuple((images[row], *map(float, generator.random(2))) for row in drawn)
    return PatchQuestion(tuple(asked[row] for row in spread), spots)


class PatchSearch:
    """The nearest patches of one layer, gathered while the images `order` are described.

    Call `watch` with every batch of a scale in that order, then `found`.
    """

    def __init__(
        self, network: Backbone, options: VladOptions, question: PatchQuestion, images: Mapping[str, Path],
        order: Sequence[str], *, batch_size: int,
    ) -> None:  # fmt: skip
        asked = {scale: [] for scale in options.scales}
        files = ImageFiles(tuple(images[name] for name in question.names))
        for batch in warped_batches(files, options, batch_size):
            for scale, warped in batch.items():
                asked[scale] += zip(local_features(network, warped, layer=options.layer), warped, strict=True)
        self.layer, self.question, self.order = options.layer, question, tuple(order)
        self._nearest = {scale: self._references(network, question, rows) for scale, rows in asked.items()}

    def _references(self, network: Backbone, question: PatchQuestion, rows: list[tuple[Tensor, Tensor]]) -> _Nearest:
        """Return what is asked at one scale; `rows` are the features (m * m, d) and the input of each image asked."""
        features, warped = zip(*rows, strict=True)
        num_places = len(features[0])
        grid = patch_grid(network, self.layer, warped[0].shape[-1], round(num_places**0.5))
        owners = [(name, place) for name in question.images for place in range(num_places)]
        owners += [(name, grid.place(down, right)) for name, down, right in question.spots]
        at = {name: row for row, name in enumerate(question.names)}
        places = [at[name] * num_places + place for name, place in owners]
        patches = grid.cut(as_pixels(torch.stack(warped))).flatten(0, 1)[places]
        wanted = min(question.num_neighbours, (len(self.order) - 1) * num_places)
        excluded = [self.order.index(name) for name in question.names]
        return _Nearest(
            grid, owners, patches, torch.cat(features)[places], [excluded[at[name]] for name, _ in owners], wanted
        )

    def watch(self, scale: int, warped: Tensor, features: Tensor) -> None:
        """Take the features (B, m * m, d) and the normalised input (B, 3, H, W) of the next images of the order."""
        nearest = self._nearest[scale]
        for patches, one in zip(nearest.grid.cut(as_pixels(warped)), features, strict=True):
            nearest.add(one, patches)

    def found(self, scale: int) -> PatchNeighbours:
        """Return the nearest patches at a scale, once every image was watched."""
        nearest = self._nearest[scale]
        return PatchNeighbours(
            self.layer, scale, self.question, nearest.grid, self.order, tuple(nearest.owners), nearest.own.numpy(),
            nearest.distances.cpu().clamp(min=0).sqrt().numpy(), nearest.images.numpy(), nearest.places.numpy(),
            nearest.patches.numpy(),
        )  # fmt: skip


class _Nearest:
    """The `number` nearest so far of the references (R, d), by squared L2 distance; `excluded[i]` is i's own image."""

    def __init__(
        self, grid: PatchGrid, owners: list[tuple[str, int]], own: Tensor, references: Tensor, excluded: list[int],
        number: int,
    ) -> None:  # fmt: skip
        self.grid, self.owners, self.own, self.references = grid, owners, own, references
        self.excluded = torch.tensor(excluded, device=references.device)
        self.distances = torch.full((len(own), number), torch.inf, device=references.device)
        self.images = torch.zeros((len(own), number), dtype=torch.int64)
        self.places = torch.zeros_like(self.images)
        self.patches = torch.zeros((len(own), number, *own.shape[1:]), dtype=torch.uint8)
        self.num_seen = 0

    def add(self, features: Tensor, patches: Tensor) -> None:
        """Look through the next image: its features (P, d) and their patches (P, side, side, 3)."""
        step = max(1, BLOCK // len(features))
        for start in range(0, len(self.own), step):
            self._add_to(slice(start, start + step), features, patches)
        self.num_seen += 1

    def _add_to(self, block: slice, features: Tensor, patches: Tensor) -> None:
        number = self.distances.shape[1]
        distances = torch.addmm(features.square().sum(1), self.references[block], features.T, alpha=-2)
        distances += self.references[block].square().sum(1, keepdim=True)
        distances[self.excluded[block] == self.num_seen] = torch.inf
        near, places = distances.topk(min(number, len(features)), largest=False)
        joined = torch.cat([self.distances[block], near], 1)
        # stable: of equals, the one that came first
        kept = joined.argsort(dim=1, stable=True)[:, :number]
        self.distances[block] = joined.gather(1, kept)
        if bool((kept >= number).any()):
            self._replace(block, kept.cpu(), places.cpu(), patches)

    def _replace(self, block: slice, kept: Tensor, places: Tensor, patches: Tensor) -> None:
        """Put the new ones among `kept` (R, number), columns of the old followed by the new at `places`, in order."""
        number = self.distances.shape[1]
        is_new = kept >= number
        old = kept.clamp(max=number - 1)
        new = places.gather(1, (kept - number).clamp(min=0))
        self.images[block] = torch.where(is_new, self.num_seen, self.images[block].gather(1, old))
        self.places[block] = torch.where(is_new, new, self.places[block].gather(1, old))
        held = self.patches[block]
        moved = held[torch.arange(len(held))[:, None], old]
        moved[is_new] = patches[new[is_new]]
        self.patches[block] = moved


def as_pixels(images: Tensor) -> Tensor:
    """Return uint8 (N, 3, H, W) for images normalised as ImageNet's."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((images.cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def mosaic(neighbours: PatchNeighbours, image: str, num_nearest: int) -> np.ndarray:
    """Return uint8 (n, n, 3): an image asked about, each patch replaced by the mean of its nearest, as figure 2.3.

    Patches that overlap are averaged; what none covers is white.
    """
    grid = neighbours.grid
    first = neighbours.question.images.index(image) * grid.num_places
    total = np.zeros((grid.input_side, grid.input_side, 3))
    count = np.zeros((grid.input_side, grid.input_side, 1))
    for place in range(grid.num_places):
        top, left = grid.corner(place)
        area = slice(top, top + grid.side), slice(left, left + grid.side)
        total[area] += neighbours.patches[first + place, :num_nearest].mean(axis=0)
        count[area] += 1
    return np.where(count > 0, (total / np.maximum(count, 1)).round(), 255).astype(np.uint8)
