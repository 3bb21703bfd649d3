"""Image retrieval: INRIA Holidays (Jegou et al. 2008), Oxford5k (Philbin et al. 2007) and Paris6k (2008).

Dissertation, section 2.4: mean average precision over the queries of each set. Every image is searched by its whole
area there; the rectangles of Oxford's and Paris's queries are read all the same.
Holidays: 1,491 photographs, 500 queries; the first image of each hundred is a query and the rest of the hundred its
answers. The query itself is not ranked.
Oxford and Paris: 55 queries each. `good` and `ok` images are answers, `junk` images (the object hardly visible) are
taken out of the ranking before it is judged; the query's own image is ranked and counts as the lists say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.datasets.base import DatasetSpec, first_existing, numbered_rows, require_folder
from pipeline.datasets.files import IMAGE_SUFFIXES, files_by_stem
from pipeline.errors import InputError

OXFORD_PREFIX = "oxc1_"  # before every query's image name in Oxford's files, and nowhere else
TRUTH_FOLDERS = ("gt", "gt_files_170407", "paris_120310")


@dataclass(frozen=True)
class RetrievalQuery:
    """One query: its image, the images that answer it, and those left out of its ranking, as paths.

    `box` is (left, top, right, bottom) in pixels of the object sought, None for the whole image.
    """

    name: str
    image: str
    answers: frozenset[str]
    ignored: frozenset[str] = frozenset()
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class RetrievalSet:
    """A database of images, paths relative to the root in sorted order, and the queries to it."""

    dataset: str
    root: Path
    images: tuple[str, ...]
    queries: tuple[RetrievalQuery, ...]


def read_holidays(root: Path) -> RetrievalSet:
    """Read the photographs `100000.jpg` under `root`; groups are the hundreds of their numbers.

    Raises InputError for a name that is no six-digit number and a group without its first image or without answers.
    """
    require_folder(root)
    images = files_by_stem(root, suffixes=IMAGE_SUFFIXES)
    groups: dict[int, dict[int, str]] = {}
    for stem, path in images.items():
        if len(stem) != 6 or not stem.isdecimal():
            raise InputError(f"{root / path}: Holidays' images are named by six digits.", path=root / path)
        groups.setdefault(int(stem) // 100, {})[int(stem) % 100] = path
    if not groups:
        raise InputError(f"{root} holds no image; it needs Holidays' 100000.jpg and so on.", path=root)
    queries = tuple(_holidays_query(root, group, groups[group]) for group in sorted(groups))
    return RetrievalSet("holidays", root, tuple(sorted(images.values())), queries)


def _holidays_query(root: Path, group: int, members: dict[int, str]) -> RetrievalQuery:
    if 0 not in members or len(members) < 2:
        what = "its query" if 0 not in members else "an answer"
        raise InputError(f"{root}: the group {group}00 to {group}99 is without {what}; images are missing.", path=root)
    query = members[0]
    return RetrievalQuery(f"{group}00", query, frozenset(members.values()) - {query}, frozenset({query}))


def read_oxford(root: Path) -> RetrievalSet:
    """Read Oxford5k: images anywhere under `root`, lists in `gt/`."""
    return _read_buildings(root, "oxford5k", OXFORD_PREFIX)


def read_paris(root: Path) -> RetrievalSet:
    """Read Paris6k: images anywhere under `root`, lists in `gt/`."""
    return _read_buildings(root, "paris6k", "")


def _read_buildings(root: Path, dataset: str, prefix: str) -> RetrievalSet:
    require_folder(root)
    truth = first_existing(root, TRUTH_FOLDERS)
    images = files_by_stem(root, suffixes=IMAGE_SUFFIXES)
    names = sorted(path.name.removesuffix("_query.txt") for path in truth.glob("*_query.txt"))
    if not names:
        raise InputError(f"{truth} holds no <name>_query.txt.", path=truth)
    queries = tuple(_read_query(truth, name, prefix, images) for name in names)
    return RetrievalSet(dataset, root, tuple(sorted(images.values())), queries)


def _read_query(truth: Path, name: str, prefix: str, images: dict[str, str]) -> RetrievalQuery:
    path = truth / f"{name}_query.txt"
    line, text = numbered_rows(path)[0]
    image, *corners = text.split()
    box = _box(corners)
    if box is None:
        raise InputError(
            f"{path}, line {line}: expected an image and its rectangle (left, top, right, bottom), found {text!r}.",
            path=path,
        )
    query = _image(path, line, image.removeprefix(prefix), images)
    answers, junk = (
        frozenset(
            _image(truth / f"{name}_{kind}.txt", line, stem, images)
            for kind in kinds
            for line, stem in numbered_rows(truth / f"{name}_{kind}.txt", may_be_empty=True)
        )
        for kinds in (("good", "ok"), ("junk",))
    )
    if not answers:
        raise InputError(f"{truth / name}_good.txt and _ok.txt name no image; a query needs an answer.", path=path)
    return RetrievalQuery(name, query, answers, junk, box)


def _box(corners: list[str]) -> tuple[float, float, float, float] | None:
    try:
        left, top, right, bottom = map(float, corners)
    except ValueError:
        return None
    return (left, top, right, bottom) if all(map(math.isfinite, (left, top, right, bottom))) else None


def _image(source: Path, line: int, name: str, images: dict[str, str]) -> str:
    """Return the path of the image that a list names, with or without its extension."""
    stem = PurePosixPath(name).stem if name.lower().endswith(".jpg") else name
    if stem not in images:
        raise InputError(f"{source}, line {line}: the image {stem!r} is not there.", path=source)
    return images[stem]


_COMMON = {
    "kind": "retrieval",
    "used_by": "Python: pipeline.datasets.retrieval, models.vlad",
    "metric": "mAP",
    "size": None,
}

HOLIDAYS_SPEC = DatasetSpec(
    name="holidays",
    title="INRIA Holidays: 1,491 photographs, 500 queries",
    source="INRIA, page 'INRIA Holidays dataset' (both archives of JPEGs)",
    layout="ROOT/jpg/100000.jpg and so on, anywhere under ROOT",
    read=read_holidays,
    num_items=1_491,
    **_COMMON,
)

OXFORD_SPEC = DatasetSpec(
    name="oxford5k",
    title="Oxford Buildings: 5,062 photographs, 55 queries",
    source="Visual Geometry Group, University of Oxford, page 'The Oxford Buildings Dataset'",
    layout="ROOT/gt/<name>_{query,good,ok,junk}.txt, the JPEGs anywhere under ROOT",
    read=read_oxford,
    num_items=5_062,
    **_COMMON,
)

PARIS_SPEC = DatasetSpec(
    name="paris6k",
    title="Paris: 6,412 photographs, 55 queries",
    source="Visual Geometry Group, University of Oxford, page 'The Paris Dataset'",
    layout="ROOT/gt/<name>_{query,good,ok,junk}.txt, the JPEGs anywhere under ROOT",
    read=read_paris,
    num_items=6_412,
    **_COMMON,
)
