"""Instance retrieval as Holidays, Oxford and Paris measure it: ranking and mean average precision.

`image_sets` reads the three sets and states the rules by which each one's queries are answered; the
dissertation (J. Y.-H. Ng, chapter 2, section 2.4) follows them, and here they are applied. All three integrate
precision over recall by trapezoids. An answer that the database does not hold (Paris has damaged files) still counts
among the answers, as one that is never found.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tdn_data.models.retrieval.image_sets import RetrievalQuery
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.images import read_image_file

NUM_READERS = 4  # threads that decode images ahead of their use
NUM_FIRST_RANKS = 20


@dataclass(frozen=True)
class RetrievalScore:
    """What a run over all queries gave, by query name: mAP and AP in [0, 1], and the images ranked first.

    `first_ranks` are at most `NUM_FIRST_RANKS` names for each query, the ignored ones taken out.
    """

    mean_average_precision: float
    average_precisions: Mapping[str, float]
    num_missing_positives: int
    first_ranks: Mapping[str, tuple[str, ...]]


def average_precision(relevant: Sequence[bool] | np.ndarray, num_positives: int) -> float:
    """Area under precision over recall by trapezoids, for a ranking from which ignored images were taken out.

    `relevant[i]` says whether the image at rank i is an answer, `num_positives` how many answers there are. Precision
    before the first rank counts as 1, so a first hit at rank 0 adds a full step:

        ranking  + - +      steps  (1 + 1/1)/2, (1/2 + 2/3)/2      AP = (1 + 7/12)/2
    """
    relevant = np.asarray(relevant, bool)
    if num_positives < max(1, int(relevant.sum())):
        raise ValueError(f"num_positives is {num_positives}; expected at least 1 and at least {int(relevant.sum())}")
    ranks = np.flatnonzero(relevant)
    hits = np.arange(len(ranks))
    before = np.where(ranks == 0, 1.0, hits / np.maximum(ranks, 1))
    after = (hits + 1) / (ranks + 1)
    return float(((before + after) / 2).sum() / num_positives)


def relative_distances(queries: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Return float64 (Q, N): squared L2 distances of queries (Q, D) to rows (N, D), less each query's squared norm.

    The norm that is left out is the same for all rows, so the order is that of the distances. Exhaustive on purpose:
    the largest of the three sets has 6,412 rows of 128 numbers, one small matrix product; an approximate index would
    save nothing and blur the measure.
    """
    queries, database = np.asarray(queries, np.float32), np.asarray(database, np.float32)
    if queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1]:
        raise ValueError(f"queries {queries.shape} and database {database.shape}; expected (Q, D) and (N, D)")
    return np.einsum("nd,nd->n", database, database, dtype=np.float64) - 2.0 * (queries @ database.T)


def rank_rows(distances: np.ndarray) -> np.ndarray:
    """Return int64 (Q, N): for each query the rows from near to far by `distances` (Q, N), ties by row."""
    return np.argsort(distances, axis=1, kind="stable")


def score_ranking(queries: Sequence[RetrievalQuery], names: Sequence[str], ranking: np.ndarray) -> RetrievalScore:
    """Average the precisions of a ranking, int (Q, N): for each query the rows of `names` from near to far."""
    precisions, first_ranks, num_missing = {}, {}, 0
    for query, order in zip(queries, ranking, strict=True):
        ranked = [names[row] for row in order if names[row] not in query.ignored]
        precisions[query.name] = average_precision([name in query.positives for name in ranked], len(query.positives))
        first_ranks[query.name] = tuple(ranked[:NUM_FIRST_RANKS])
        num_missing += len(query.positives.difference(names))
    return RetrievalScore(float(np.mean(list(precisions.values()))), precisions, num_missing, first_ranks)


@dataclass(frozen=True)
class ImageFiles(Sequence):
    """Image files as a sequence of uint8 arrays (H, W, 3), RGB, each read when it is asked for."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        image = _read_image(self.paths[index])
        if image is None:
            raise InputError(f"{self.paths[index]} does not decode as an image.", path=self.paths[index])
        return image


def read_ahead(images: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the images in order; while one is worked on, at most `2 * NUM_READERS` next ones are read."""
    ahead: deque[Future[np.ndarray]] = deque()
    with ThreadPoolExecutor(NUM_READERS) as pool:
        for index in range(len(images)):
            ahead.append(pool.submit(images.__getitem__, index))
            if len(ahead) > 2 * NUM_READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def split_readable(
    images: Mapping[str, Path], *, on_image: Callable[[], None] = lambda: None
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return the images (name -> path) whose files decode, and the names of the others."""
    readable, unreadable = {}, []
    with ThreadPoolExecutor(NUM_READERS) as pool:
        for (name, path), reads in zip(images.items(), pool.map(_is_readable, images.values()), strict=True):
            if reads:
                readable[name] = path
            else:
                unreadable.append(name)
            on_image()
    return readable, tuple(unreadable)


def _is_readable(path: Path) -> bool:
    return _read_image(path) is not None


def _read_image(path: Path) -> np.ndarray | None:
    """Return uint8 (H, W, 3) RGB, turned as the file's orientation tag says, or None when it does not decode."""
    try:
        return read_image_file(path)
    except InputError:
        return None
