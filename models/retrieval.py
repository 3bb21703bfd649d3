"""Instance retrieval as Holidays, Oxford and Paris measure it: ground-truth files, ranking, mean average precision.

Each set comes with its own rules, which the sources' evaluation programs fix and the dissertation (J. Y.-H. Ng,
chapter 2, section 2.4) follows:

- Holidays (Jegou et al. 2008): files are numbered; the first image of each hundred is the query, the others of its
  hundred are the answers. The query itself is taken out of its own ranking.
- Oxford (Philbin et al. 2007) and Paris (2008): five queries for each of eleven landmarks, each with a list of good, ok
  and junk images. Good and ok are the answers; junk is taken out of the ranking as if it were not in the database. The
  query image stays in: it is one of its own good answers. The query's rectangle is read and, as in the dissertation,
  not used.

All three integrate precision over recall by trapezoids. An answer that the database does not hold (Paris has damaged
files) still counts among the answers, as one that is never found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
DATASETS = ("holidays", "oxford", "paris")


@dataclass(frozen=True)
class Query:
    """One query: its image, its answers, the images that do not count, and its rectangle (left, top, right, bottom)."""

    name: str
    image: str
    positives: frozenset[str]
    ignored: frozenset[str] = frozenset()
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if not self.positives:
            raise ValueError(f"query {self.name!r} has no positives; an average precision needs at least one")
        if both := self.positives & self.ignored:
            raise ValueError(f"query {self.name!r} both counts and ignores {', '.join(sorted(both))}")


@dataclass(frozen=True)
class RetrievalScore:
    """What a run over all queries gave: mAP and each query's AP, in [0, 1], and what the database lacks."""

    mean_average_precision: float
    average_precisions: Mapping[str, float]
    num_missing_positives: int
    unreadable: tuple[str, ...] = ()  # images whose files do not decode


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


def rank_by_distance(queries: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Return int64 (Q, N): for each query (Q, D) the database rows (N, D) by rising L2 distance, ties by row.

    Exhaustive on purpose: the largest of the three sets has 6,412 rows of 128 numbers, one small matrix product; an
    approximate index would save nothing and blur the measure.
    """
    queries, database = np.asarray(queries, np.float32), np.asarray(database, np.float32)
    if queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1]:
        raise ValueError(f"queries {queries.shape} and database {database.shape}; expected (Q, D) and (N, D)")
    # |q - x|^2 less the query's own norm, which does not change the order
    distances = np.einsum("nd,nd->n", database, database, dtype=np.float64) - 2.0 * (queries @ database.T)
    return np.argsort(distances, axis=1, kind="stable")


def evaluate_retrieval(queries: Sequence[Query], descriptors: Mapping[str, np.ndarray]) -> RetrievalScore:
    """Rank all `descriptors` (image name -> (D,)) for each query and average the precisions.

    Raises InputError when a query's own image has no descriptor.
    """
    if not queries:
        raise ValueError("queries is empty; expected at least one")
    names = list(descriptors)
    if absent := sorted({query.image for query in queries} - set(names)):
        raise InputError(f"{len(absent)} query images have no descriptor, the first is {absent[0]!r}.", key=absent[0])
    database = np.stack([descriptors[name] for name in names])
    ranking = rank_by_distance(np.stack([descriptors[query.image] for query in queries]), database)
    scores, num_missing = {}, 0
    for query, order in zip(queries, ranking, strict=True):
        ranked = [names[row] for row in order if names[row] not in query.ignored]
        scores[query.name] = average_precision([name in query.positives for name in ranked], len(query.positives))
        num_missing += len(query.positives.difference(names))
    return RetrievalScore(float(np.mean(list(scores.values()))), scores, num_missing)


def holidays_queries(names: Iterable[str]) -> tuple[Query, ...]:
    """Return one query for each hundred of the image names (`100000`, `100001`, ...; suffixes are dropped).

    Raises InputError for a name that is no number, or a hundred without its first image or without answers.
    """
    groups: dict[int, list[str]] = {}
    for name in sorted({Path(name).stem for name in names}):
        if not name.isdecimal():
            raise InputError(f"{name!r} is no Holidays image: the names are numbers such as 100000.", key=name)
        groups.setdefault(int(name) // 100, []).append(name)
    return tuple(_holidays_query(group) for group in groups.values())


def _holidays_query(group: list[str]) -> Query:
    first, *answers = group
    if int(first) % 100 or not answers:
        raise InputError(f"the group of {first!r} lacks its query or has no answers; copy the whole set.", key=first)
    return Query(name=first, image=first, positives=frozenset(answers), ignored=frozenset([first]))


def landmark_queries(folder: Path) -> tuple[Query, ...]:
    """Read the Oxford or Paris ground truth in `folder`: `<name>_query.txt`, `_good.txt`, `_ok.txt`, `_junk.txt`.

    Raises InputError when there is no query file, one of its companions is missing, or a query line does not parse.
    """
    paths = sorted(Path(folder).glob("*_query.txt"))
    if not paths:
        raise InputError(f"{folder} holds no *_query.txt; unpack the set's ground truth there.", path=folder)
    return tuple(_landmark_query(path) for path in paths)


def _landmark_query(path: Path) -> Query:
    name = path.name.removesuffix("_query.txt")
    fields = path.read_text().split()
    try:
        image, left, top, right, bottom = fields[0], *map(float, fields[1:])
    except (IndexError, ValueError):
        raise InputError(f"{path} holds {' '.join(fields)!r}; expected a name and four numbers.", path=path) from None
    lists = {kind: _read_names(path.with_name(f"{name}_{kind}.txt")) for kind in ("good", "ok", "junk")}
    # Oxford's query files write the image with a prefix that its file does not have
    return Query(
        name=name,
        image=image.removeprefix("oxc1_"),
        positives=lists["good"] | lists["ok"],
        ignored=lists["junk"],
        box=(left, top, right, bottom),
    )


def _read_names(path: Path) -> frozenset[str]:
    if not path.is_file():
        raise InputError(f"{path} is missing; a query needs its good, ok and junk lists.", path=path)
    return frozenset(path.read_text().split())


def find_images(folder: Path) -> dict[str, Path]:
    """Return image name (no suffix) -> path for the JPEG and PNG files under `folder`, in order of name.

    Raises InputError when there is none, or two share a name.
    """
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise InputError(f"{path.stem!r} is there twice: {found[path.stem]} and {path}.", path=path)
        found[path.stem] = path
    if not found:
        raise InputError(f"{folder} holds no JPEG or PNG files; name the folder of the images.", path=folder)
    return found


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


def split_readable(images: Mapping[str, Path]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return the images (name -> path) whose files decode, and the names of the others."""
    readable = {name: path for name, path in images.items() if _read_image(path) is not None}
    return readable, tuple(name for name in images if name not in readable)


def _read_image(path: Path) -> np.ndarray | None:
    """Return uint8 (H, W, 3) RGB, turned as the file's orientation tag says, or None when it does not decode."""
    import cv2

    data = np.fromfile(path, np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except cv2.error:
        return None
    return None if image is None else np.ascontiguousarray(image[..., ::-1])


def load_retrieval_set(
    dataset: str, folder: Path, *, ground_truth: Path | None = None
) -> tuple[dict[str, Path], tuple[Query, ...]]:
    """Return images (name -> path) and queries of `holidays`, `oxford` or `paris`, whose images lie under `folder`.

    `ground_truth` is the folder of Oxford's and Paris' text files; Holidays needs none.
    """
    if dataset not in DATASETS:
        raise ValueError(f"dataset is {dataset!r}; known: {', '.join(DATASETS)}")
    images = find_images(folder)
    if dataset == "holidays":
        return images, holidays_queries(images)
    if ground_truth is None:
        raise ValueError(f"ground_truth is None; {dataset} needs the folder of its *_query.txt files")
    return images, landmark_queries(ground_truth)
