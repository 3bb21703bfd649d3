"""A retrieval set searched with VLAD, by layer and by scale: J. Y.-H. Ng, dissertation (2018), section 2.4.

Figure 2.2 compares the layers of table 2.1 at scale 1 and at scale 2; tables 2.2 and 2.3 put the two scales of one
layer together, as whole descriptors and in 128 dimensions. `search_layers` gives the three for each layer out of three
passes over the images: local features, whole descriptors for the PCA, search. The descriptors of the database are
compared with the queries' batch by batch and not kept.

The images are checked first (`check_database`): what is missing or does not decode is named, and more of it than few
ends the run before it starts, because the mAP of half a data set is not the data set's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch

from tdn_data.models.backbones import Backbone, build_backbone
from tdn_data.models.retrieval.image_sets import IMAGE_SETS, RetrievalSet
from tdn_data.models.retrieval.patches import PatchNeighbours, PatchQuestion, PatchSearch
from tdn_data.models.retrieval.ranking import (
    ImageFiles,
    RetrievalScore,
    rank_rows,
    relative_distances,
    score_ranking,
    split_readable,
)
from tdn_data.models.retrieval.vlad import (
    BEST_LAYERS,
    TABLE_LAYERS,
    VladEncoder,
    Watch,
    encode_together,
    fit_encoders,
)
from tdn_data.models.retrieval.vlad_options import BATCH_SIZE, VladOptions
from tdn_data.models.weights.checkpoint import load_weights
from tdn_data.pipeline.errors import InputError, PipelineError
from tdn_data.pipeline.progress import Tally
from tdn_data.pipeline.text import some_of

FEW = 0.01  # Paris, as it is published, has 20 damaged files among 6,412
NUM_NAMES = 5


@dataclass(frozen=True)
class Database:
    """A retrieval set as its files allow: the images that decode (name -> path), and the names of those that do not."""

    retrieval: RetrievalSet
    images: Mapping[str, Path]
    unreadable: tuple[str, ...]

    @property
    def name(self) -> str:
        """The data set that the images are of: holidays, oxford5k or paris6k."""
        return self.retrieval.dataset

    @property
    def num_images_published(self) -> int:
        """How many images the whole set has."""
        return IMAGE_SETS[self.name].num_items

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of answers without a file."""
        return self.retrieval.missing()


@dataclass(frozen=True)
class SearchResult:
    """One layer at one scale or several together: what its descriptors of `num_dimensions` found.

    `neighbours` are the nearest patches of those asked about, None where none were and for several scales together.
    """

    layer: str
    scales: tuple[int, ...]
    num_dimensions: int
    score: RetrievalScore
    neighbours: PatchNeighbours | None = None


def check_database(retrieval: RetrievalSet, *, fail_above: float = FEW, tally: Tally | None = None) -> Database:
    """Decode every image once, which `tally` counts, and return the set with what can be searched.

    Raises PipelineError when a larger share than `fail_above` of the images is missing or does not decode.
    """
    tally = tally or Tally(len(retrieval.images))
    words = f"checking {retrieval.dataset}"
    found, unreadable = split_readable(retrieval.images, on_image=lambda: tally.add(1, words))
    database = Database(retrieval, found, unreadable)
    lost = (*unreadable, *database.missing)
    num_images = len(retrieval.images) + len(database.missing)
    if len(lost) > fail_above * num_images:
        raise PipelineError(
            f"{len(lost)} of the {num_images} images of {database.name} are missing or do not decode, more than "
            f"--fail-above {fail_above:g}: {some_of(lost, NUM_NAMES)}.",
            path=retrieval.root,
        )
    return database


def retrieval_network(name: str, *, weights: str | None = None, seed: int = 0, device: str = "auto") -> Backbone:
    """Return the backbone `name`, ready to describe images; without `weights` it is untrained, drawn by `seed`.

    `weights` is what `load_weights` takes: a file, or "imagenet".
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {device!r}; expected auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda'; this machine has no usable CUDA device")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_backbone(name)
    if weights is not None:
        load_weights(network, weights)
    usable = "cuda" if torch.cuda.is_available() else "cpu"
    return network.eval().to(usable if device == "auto" else device)


def choose_layers(backbone: str, network: Backbone, dataset: str, *, named: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the layers to search with: those `named`, or the one that section 2.4.4 takes for the data set.

    Raises ValueError that lists the network's layers for an unknown one, and where none is named and the chapter does
    not have the backbone.
    """
    if not named and backbone not in BEST_LAYERS:
        known = ", ".join(name for name, _ in network.layers())
        raise ValueError(f"layer is not given, and the chapter has no {backbone}; its layers: {known}")
    layers = tuple(dict.fromkeys(named)) or (BEST_LAYERS[backbone][dataset],)
    for layer in layers:
        network.layers_until(layer)
    return layers


def table_layers(backbone: str, network: Backbone) -> tuple[str, ...]:
    """Return the backbone's layers in table 2.1, all of them where it is not there."""
    return TABLE_LAYERS.get(backbone) or tuple(name for name, _ in network.layers())


def scale_sets(scales: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return each scale on its own and, where there are several, all together: (1, 2) -> (1,), (2,), (1, 2)."""
    alone = tuple((scale,) for scale in scales)
    return alone if len(scales) == 1 else (*alone, scales)


def num_readings(runs: Sequence[VladOptions], num_images: int, num_learned: int) -> int:
    """Return how many times `search_layers` reads an image: the length of its progress bar."""
    for_pca = [min(num_learned, run.max_projection_images) * (run.num_dimensions is not None) for run in runs]
    return len(runs) * (num_learned + num_images) + sum(for_pca)


def search_layers(
    network: Backbone,
    database: Database,
    runs: Sequence[VladOptions],
    *,
    learn_on: Database | None = None,
    patches: PatchQuestion | None = None,
    batch_size: int = BATCH_SIZE,
    tally: Tally | None = None,
) -> tuple[SearchResult, ...]:
    """Return for each of `runs` (one a layer) a result per scale, and one for all scales together.

    Vocabulary and PCA are learned on `learn_on`, by default on the database itself (see `retrieval.vlad`). `patches`
    asks for the nearest of some patches too (see `retrieval.patches`). `tally` counts the readings of images,
    `num_readings` in all, without those of the few images that `patches` asks about. Raises InputError when a query's
    own image does not decode, and ValueError for options that the images do not allow, where possible before the first
    of them is read.
    """
    learned = ImageFiles(tuple((learn_on or database).images.values()))
    tally = tally or Tally(num_readings(runs, len(database.images), len(learned)))
    if blind := [query.image for query in database.retrieval.queries if query.image not in database.images]:
        raise InputError(
            f"the images of {len(blind)} queries do not decode: {some_of(blind, NUM_NAMES)}.", key=blind[0]
        )
    for options in runs:
        _check_options(options, len(learned))
    return tuple(
        result
        for options in runs
        for result in _search_layer(network, database, options, learned, patches, batch_size, tally)
    )


def _check_options(options: VladOptions, num_learned: int) -> None:
    allowed = min(num_learned, options.max_projection_images) - 1
    if options.num_dimensions is not None and options.num_dimensions > allowed:
        raise ValueError(
            f"num_dimensions is {options.num_dimensions}; a PCA of {allowed + 1} images allows at most {allowed}"
        )


def _search_layer(
    network: Backbone,
    database: Database,
    options: VladOptions,
    learned: ImageFiles,
    patches: PatchQuestion | None,
    batch_size: int,
    tally: Tally,
) -> Iterator[SearchResult]:
    """Yield what one layer finds at each of its sets of scales."""
    queries, sets = database.retrieval.queries, scale_sets(options.scales)
    encoders = fit_encoders(network, learned, options, sets, batch_size=batch_size, tally=tally)
    asked = list(dict.fromkeys(query.image for query in queries))
    order = list(dict.fromkeys([*asked, *database.images]))
    nearest = None
    if patches is not None:
        nearest = PatchSearch(network, options, patches, database.images, order, batch_size=batch_size)
    files = ImageFiles(tuple(database.images[name] for name in order))
    watch = None if nearest is None else nearest.watch
    distances = _distances(encoders, files, len(asked), batch_size, tally, watch)
    place = {name: number for number, name in enumerate(order)}
    rows, columns = ([place[name] for name in names] for names in ([query.image for query in queries], database.images))
    for scales, (num_dimensions, values) in zip(sets, distances, strict=True):
        score = score_ranking(queries, list(database.images), rank_rows(values[np.ix_(rows, columns)]))
        neighbours = None if nearest is None or len(scales) > 1 else nearest.found(scales[0])
        yield SearchResult(options.layer, scales, num_dimensions, score, neighbours)


def _distances(
    encoders: Sequence[VladEncoder],
    files: ImageFiles,
    num_asked: int,
    batch_size: int,
    tally: Tally,
    watch: Watch | None,
) -> list[tuple[int, np.ndarray]]:
    """Return for each encoder its number of dimensions and the distances (num_asked, N) that order the N images.

    The images that are asked for, the queries', come first, so that every batch can be compared with them and let go.
    """
    described = encode_together(encoders, files, batch_size=batch_size, watch=watch)
    batches = _with_progress(described, tally, encoders[0].options.layer)
    first = list(islice(batches, -(-num_asked // batch_size)))
    anchors = [np.concatenate(parts)[:num_asked] for parts in zip(*first, strict=True)]
    distances = [np.empty((num_asked, len(files))) for _ in encoders]
    done = 0
    for batch in chain(first, batches):
        for values, anchor, rows in zip(distances, anchors, batch, strict=True):
            values[:, done : done + len(rows)] = relative_distances(anchor, rows)
        done += len(batch[0])
    return [(anchor.shape[1], values) for anchor, values in zip(anchors, distances, strict=True)]


def _with_progress(batches: Iterator[list[np.ndarray]], tally: Tally, layer: str) -> Iterator[list[np.ndarray]]:
    """Yield the batches, and count each when it is computed."""
    for batch in batches:
        tally.add(len(batch[0]), f"{layer}: searching")
        yield batch
