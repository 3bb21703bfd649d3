"""What every data set module gives: how to read its files, and the sampling, splits and metric of its paper."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdn_data.pipeline.datasets.manifest import UNUSED
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_text, shown_path
from tdn_data.pipeline.limits import MAX_CLASSES

KINDS = {  # what a data set holds or is for -> how it is asked for
    "videos": "of video files",
    "frame folders": "of frame folders",
    "flow pairs": "of flow pairs",
    "retrieval": "for retrieval",
}
SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
    UNUSED: (UNUSED,),
}
METRIC_NAMES = {
    "top1": "top-1",
    "top5": "top-5",
    "hit1": "Hit@1",
    "hit5": "Hit@5",
    "mAP": "mAP",
    "clip_hit1": "clip Hit@1",
    "clip_hit5": "clip Hit@5",
    "EPE": "EPE",
}


@dataclass(frozen=True)
class DatasetSpec:
    """One public data set: how to read its lists, and the defaults that its paper fixes.

    `read(root)` gives a `Listing` for videos, and the kind's own record otherwise (`FrameFolders`, `FlowPairs`,
    `RetrievalSet`). Where a set is published with several train/test splits (`num_list_splits` > 1), it is
    `read(root, list_split=k)`, k from 1, and `find_list_splits(root)` says which of them the copy has lists of;
    `num_list_splits` is None where their number is the copy's own matter.
    `metrics` are what its papers report, by their names in metrics.json, on `test_split` after training on
    `train_split`.
    `frame_every_seconds` and `frame_fps` are None where every frame is taken; `flow_fps` None is the native rate.
    `max_seconds` is how much of a video counts, from its start; `repeat_to` how many frames, at `frame_fps`, a model
    draws from: those of a shorter video are repeated from the start (see `repeated_length`). `size` is (height,
    width), `short_side` the shorter side with the aspect ratio kept; without either a video keeps its own size.
    `mirror_pairs` are the classes that a mirrored video changes into each other. `num_classes` and `num_items` (videos
    of one split, pairs or images) are the published counts, None where they differ from copy to copy.
    """

    name: str
    title: str
    source: str
    layout: str
    read: Callable[..., Any]
    kind: str = "videos"
    used_by: str = "tdn-data index, extract"
    metrics: tuple[str, ...] = ("top1",)
    train_split: str = "train"
    test_split: str = "test"
    num_list_splits: int | None = 1
    find_list_splits: Callable[[Path], tuple[int, ...]] | None = None
    num_classes: int | None = None
    num_items: int | None = None
    frame_every_seconds: float | None = None
    frame_fps: float | None = None
    max_seconds: float | None = None
    repeat_to: int | None = None
    flow_fps: float | None = None
    flow_bound: float = 20.0
    size: tuple[int, int] | None = (256, 256)
    short_side: int | None = None
    mirror_pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; known kinds: {', '.join(KINDS)}")
        if not set(self.metrics) <= set(METRIC_NAMES):
            raise ValueError(f"metrics is {self.metrics!r}; known metrics: {', '.join(METRIC_NAMES)}")
        if (self.num_list_splits == 1) != (self.find_list_splits is None):
            raise ValueError(f"{self.name} has {self.num_list_splits} list splits; several need find_list_splits")
        if self.size is not None and self.short_side is not None:
            raise ValueError(f"size is {self.size!r} and short_side {self.short_side!r}; one of them must be None")


def mirror_labels(spec: DatasetSpec, class_names: Iterable[str]) -> tuple[int, ...]:
    """Return for each class the class that its mirrored video shows: itself, or its partner in `spec.mirror_pairs`.

    Classes are found by name, so the order of the class list does not matter.
    """
    names = list(class_names)
    partner = dict(spec.mirror_pairs) | {right: left for left, right in spec.mirror_pairs}
    number_of = {name: number for number, name in enumerate(names)}
    return tuple(number_of.get(partner.get(name, name), number) for number, name in enumerate(names))


def repeated_length(spec: DatasetSpec, parameters: Mapping[str, object]) -> int | None:
    """Return the number of rows to which a shorter video's are repeated from their start, None where they are not.

    `spec.repeat_to` frames at the data set's own rate, as many more or fewer at the rate that the shards' `parameters`
    say: Sports-1M's 300 frames at one a second are 4,500 flow pairs at 15. Where every frame is stored the rate differs
    from video to video, and nothing is repeated.
    """
    every_seconds = parameters.get("every_seconds")
    fps = parameters.get("fps") if every_seconds is None else 1 / every_seconds
    if spec.repeat_to is None or spec.frame_fps is None or fps is None:
        return None
    return round(spec.repeat_to * fps / spec.frame_fps)


def read_lines(path: Path, *, may_be_empty: bool = False) -> list[str]:
    """Return the lines of an annotation file, without line ends; raise InputError when missing, empty or no text."""
    try:
        text = read_text(path, what="annotation file")
    except InputError as error:
        if error.key != "missing":
            raise
        raise InputError(
            f"{shown_path(path)} is missing; the folder must hold the data set's own annotation files.",
            path=path,
            key=error.key,
        ) from error
    if "\n" not in text:
        text = text.replace("\r", "\n")  # line ends of old Macintosh programs
    lines = text.removesuffix("\n").split("\n")  # not splitlines(), which also breaks at characters inside a name
    if not may_be_empty and not any(line.strip() for line in lines):
        raise InputError(f"{path} is empty; it needs one row per video.", path=path)
    return lines


def numbered_rows(path: Path, *, may_be_empty: bool = False) -> list[tuple[int, str]]:
    """Return (line number, stripped line) for each line that is not blank; raise InputError like `read_lines`."""
    lines = read_lines(path, may_be_empty=may_be_empty)
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def split_of(word: str, *, place: str) -> str:
    """Return the split that a list's word means (`SPLIT_WORDS`, in small or capital letters); `place` is for messages.

    Raises InputError for another word: no other split is ever trained or tested on unless it is asked for by name.
    """
    for split, words in SPLIT_WORDS.items():
        if word.lower() in words:
            return split
    known = ", ".join(word for words in SPLIT_WORDS.values() for word in words)
    raise InputError(f"{place}: the split is {word!r}; splits are {known}.", key="split")


def read_class_names(path: Path) -> tuple[str, ...]:
    """Return the names of a list with one class a line, line 1 being class 0.

    Raises InputError for a repeated name and where there is none.
    """
    first: dict[str, int] = {}
    for line, name in numbered_rows(path, may_be_empty=True):
        if len(first) == MAX_CLASSES:
            raise InputError(f"{path}, line {line}: more than {MAX_CLASSES:,} classes.", path=path)
        if first.setdefault(name, line) != line:
            raise InputError(f"{path}, line {line}: the class {name!r} was named in line {first[name]}.", path=path)
    if not first:
        raise InputError(f"{path} is empty; it needs the name of one class a line.", path=path)
    return tuple(first)


def require_folder(root: Path) -> None:
    """Raise InputError unless `root` is a folder."""
    if not os.path.isdir(root):
        what = "is not a folder" if os.path.lexists(root) else "does not exist"
        raise InputError(f"{shown_path(root)} {what}; --root must be the folder that holds the data set.", path=root)


def first_existing(root: Path, names: Iterable[str]) -> Path:
    """Return the first of the files or folders `names` that is under `root`; raise InputError when none is."""
    names = tuple(names)
    for name in names:
        if os.path.exists(root / name):
            return root / name
    others = f" (or {', '.join(names[1:])})" if len(names) > 1 else ""
    raise InputError(f"{root / names[0]} is missing{others}; `tdn-data datasets` shows the layout.", path=root)
