"""Image retrieval: INRIA Holidays (Jegou et al. 2008), Oxford5k (Philbin et al. 2007) and Paris6k (2008).

Dissertation, section 2.4: mean average precision over the queries of each set. Every image is searched by its whole
area there; the rectangles of Oxford's and Paris's queries are read all the same.
Holidays: 1,491 photographs, 500 queries; the first image of each hundred is a query and the rest of the hundred its
answers. The query itself is not ranked.
Oxford and Paris: 55 queries each. `good` and `ok` images are answers, `junk` images (the object hardly visible) are
taken out of the ranking before it is judged; the query's own image is ranked and counts as the lists say.
An answer whose image is missing still counts, as one that is never found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tdn_data.pipeline.datasets.base import DatasetSpec, first_existing, numbered_rows, require_folder
from tdn_data.pipeline.datasets.media_files import IMAGE_SUFFIXES, files_by_stem
from tdn_data.pipeline.datasets.registry import DATASETS, dataset_spec, require_kind
from tdn_data.pipeline.errors import InputError

OXFORD_PREFIX = "oxc1_"  # before every query's image name in Oxford's files, and nowhere else
TRUTH_FOLDERS = ("gt", "gt_files_170407", "paris_120310")


@dataclass(frozen=True)
class RetrievalQuery:
    """One query: its image, the images that answer it, and those left out of its ranking; all by name.

    `box` is (left, top, right, bottom) in pixels of the object sought, None for the whole image.
    """

    name: str
    image: str
    positives: frozenset[str]
    ignored: frozenset[str] = frozenset()
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if not self.positives or self.positives & self.ignored:
            fault = "no positives" if not self.positives else f"{min(self.positives & self.ignored)!r} on both sides"
            raise ValueError(f"query {self.name!r} has {fault}; it needs positives, none of them ignored")


@dataclass(frozen=True)
class RetrievalSet:
    """A database of images, name (the file's, without extension) -> path, and the queries to it."""

    dataset: str
    root: Path
    images: Mapping[str, Path]
    queries: tuple[RetrievalQuery, ...]

    def missing(self) -> tuple[str, ...]:
        """Return the names of answers without an image, in sorted order; they still count, as never found."""
        return tuple(sorted({name for query in self.queries for name in query.positives} - set(self.images)))


def read_holidays(root: Path) -> RetrievalSet:
    """Read the photographs `100000.jpg` under `root`; groups are the hundreds of their numbers.

    Raises InputError for a name that is no six-digit number and a group without its first image or without answers.
    """
    images = _find_images(root)
    groups: dict[str, list[str]] = {}
    for name, path in sorted(images.items()):
        if len(name) != 6 or not name.isdecimal():
            raise InputError(f"{path}: Holidays' images are named by six digits.", path=path)
        groups.setdefault(name[:4], []).append(name)
    queries = tuple(_holidays_query(root, group, names) for group, names in groups.items())
    return RetrievalSet("holidays", root, images, queries)


def _holidays_query(root: Path, group: str, names: list[str]) -> RetrievalQuery:
    query, *answers = names
    if query != f"{group}00" or not answers:
        what = "an answer" if query == f"{group}00" else "its query"
        raise InputError(f"{root}: the group {group}00 to {group}99 is without {what}; images are missing.", path=root)
    return RetrievalQuery(query, query, frozenset(answers), frozenset({query}))


def read_oxford(root: Path) -> RetrievalSet:
    """Read Oxford5k: images anywhere under `root`, lists in `gt/`."""
    return _read_buildings(root, "oxford5k", OXFORD_PREFIX)


def read_paris(root: Path) -> RetrievalSet:
    """Read Paris6k: images anywhere under `root`, lists in `gt/`."""
    return _read_buildings(root, "paris6k", "")


def _find_images(root: Path) -> dict[str, Path]:
    require_folder(root)
    images = {name: root / path for name, path in files_by_stem(root, suffixes=IMAGE_SUFFIXES).items()}
    if not images:
        raise InputError(f"{root} holds no image; `tdn-data datasets` shows the layout.", path=root)
    return images


def _read_buildings(root: Path, dataset: str, prefix: str) -> RetrievalSet:
    images = _find_images(root)
    truth = first_existing(root, TRUTH_FOLDERS)
    names = sorted(path.name.removesuffix("_query.txt") for path in truth.glob("*_query.txt"))
    if not names:
        raise InputError(f"{truth} holds no <name>_query.txt.", path=truth)
    return RetrievalSet(dataset, root, images, tuple(_read_query(truth, name, prefix, images) for name in names))


def _read_query(truth: Path, name: str, prefix: str, images: Mapping[str, Path]) -> RetrievalQuery:
    path = truth / f"{name}_query.txt"
    line, text = numbered_rows(path)[0]
    image, *corners = text.split()
    box = _box(corners)
    if box is None:
        raise InputError(
            f"{path}, line {line}: expected an image and its rectangle (left, top, right, bottom), found {text!r}.",
            path=path,
        )
    if image.removeprefix(prefix) not in images:
        raise InputError(
            f"{path}, line {line}: the query's image {image.removeprefix(prefix)!r} is not there.", path=path
        )
    good, ok, junk = (_read_names(truth / f"{name}_{kind}.txt") for kind in ("good", "ok", "junk"))
    if not good | ok or (good | ok) & junk:
        raise InputError(f"{truth / name}_good.txt and _ok.txt must name an image, and none of the junk.", path=path)
    return RetrievalQuery(name, image.removeprefix(prefix), good | ok, junk, box)


def _read_names(path: Path) -> frozenset[str]:
    return frozenset(name for _, name in numbered_rows(path, may_be_empty=True))


def _box(corners: list[str]) -> tuple[float, float, float, float] | None:
    try:
        left, top, right, bottom = map(float, corners)
    except ValueError:
        return None
    return (left, top, right, bottom) if all(map(math.isfinite, (left, top, right, bottom))) else None


_COMMON = {
    "kind": "retrieval",
    "used_by": "tdn-data retrieve; Python: tdn_data.models.retrieval",
    "metrics": ("mAP",),
    "size": None,
}

HOLIDAYS_SPEC = DatasetSpec(
    name="holidays",
    title="INRIA Holidays: 1,491 photographs, 500 queries",
    source="INRIA, both archives of JPEGs on https://lear.inrialpes.fr/people/jegou/data.php.html",
    layout="ROOT/jpg/100000.jpg and so on, anywhere under ROOT",
    read=read_holidays,
    num_items=1_491,
    **_COMMON,
)

OXFORD_SPEC = DatasetSpec(
    name="oxford5k",
    title="Oxford Buildings: 5,062 photographs, 55 queries",
    source="Visual Geometry Group, University of Oxford: https://www.robots.ox.ac.uk/~vgg/data/oxbuildings/",
    layout="ROOT/gt/<name>_{query,good,ok,junk}.txt, the JPEGs anywhere under ROOT",
    read=read_oxford,
    num_items=5_062,
    **_COMMON,
)

PARIS_SPEC = DatasetSpec(
    name="paris6k",
    title="Paris: 6,412 photographs, 55 queries",
    source="Visual Geometry Group, University of Oxford: https://www.robots.ox.ac.uk/~vgg/data/parisbuildings/",
    layout="ROOT/gt/<name>_{query,good,ok,junk}.txt, the JPEGs anywhere under ROOT",
    read=read_paris,
    num_items=6_412,
    **_COMMON,
)

IMAGE_SETS: dict[str, DatasetSpec] = {"holidays": HOLIDAYS_SPEC, "oxford5k": OXFORD_SPEC, "paris6k": PARIS_SPEC}


def read_image_set(name: str, root: Path) -> RetrievalSet:
    """Read the retrieval set `name` under `root`.

    Raises InputError for an unknown name, a data set of another kind, and files that are missing or wrong.
    """
    spec = dataset_spec(name, DATASETS | IMAGE_SETS)
    require_kind(spec, "retrieval")
    return spec.read(Path(root))
