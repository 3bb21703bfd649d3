"""What a data set's own lists say, row by row with their line numbers, and the checks that need the lists alone.

path, split, labels, source, line           one row of an official file
  -> Listing                                what a reader returns
  -> row_findings(listing)                  every row that cannot stand, for a report
  -> Listing.manifest()                     the records; refuses the first row that cannot stand
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from tdn_data.pipeline.datasets.manifest import UNUSED, Manifest, VideoRecord
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.paths import distinct_identifiers, normal_path, path_fault
from tdn_data.pipeline.text import appearance, has_controls


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """One row of a list. `path` is relative to the data set's root; `unknown_labels` are names no class has.

    `list_split` says, where the lists of several train/test splits are joined, which of them the row is from.
    """

    video_id: str
    path: str
    split: str
    labels: tuple[int, ...]
    source: Path
    line: int
    unknown_labels: tuple[str, ...] = ()
    list_split: int = 1

    @property
    def place(self) -> str:
        """Where the row stands, e.g. `lists/train.txt, line 7`; the file itself where no list names it (line 0)."""
        return f"{self.source}, line {self.line}" if self.line else str(self.source)


@dataclass(frozen=True)
class Finding:
    """Something about a data set that a person should know; `fatal`: no manifest can be made before it is fixed."""

    kind: str
    message: str
    path: str | None = None
    source: str | None = None
    line: int | None = None
    fatal: bool = False

    KINDS = (
        "outside_root",  # an absolute path, or one with ..
        "names_no_file",  # a path such as . that can name no file
        "no_label",  # fatal where every other video has exactly one
        "repeated_label",  # one label twice in a row
        "label_out_of_range",  # a label that the class list does not have
        "in_two_splits",  # one video in two splits of one list
        "conflicting_rows",  # one video twice, with different labels or files
        "look_alike_labels",  # two classes whose names look the same: case, accents, invisible characters
        "control_character",  # in a path or a label: a line break, an escape sequence, a writing direction
        "repeated_row",  # one video twice, the same both times; counted once
        "no_training_video",  # nothing is in the split that training takes
        "class_without_training",  # a class that only other splits have
        "unexpected_count",  # not as many classes or videos as the published set has
        "same_content_in_two_splits",  # one file under two identifiers, trained and tested on
        "same_content",  # one file under two identifiers
        "missing_file",  # listed, not on disk
        "unlisted_file",  # on disk, in no list
    )

    def __post_init__(self) -> None:
        if self.kind not in self.KINDS:
            raise ValueError(f"kind is {self.kind!r}; known kinds: {', '.join(self.KINDS)}")


@dataclass(frozen=True)
class Listing:
    """A data set as its lists give it, in their order.

    `classes_from` names the class list for messages. `left_out`: paths that the lists name without using them. Where
    the lists of several train/test splits are joined, `list_split` is the one chosen, whose rows come first; None else.
    `read_as`: where no list but the folders themselves were read, a sentence on which files were taken as what.
    """

    dataset: str
    root: Path
    class_names: tuple[str, ...]
    multi_label: bool
    videos: tuple[ListedVideo, ...]
    classes_from: str
    left_out: frozenset[str] = frozenset()
    list_split: int | None = None
    read_as: str = ""

    def checked(self) -> Self:
        """Return the listing itself; raise InputError if it is empty or at the first row that cannot stand."""
        if not self.videos:
            raise InputError(
                f"{self.root}: the lists of {self.dataset} name no video; they need one row per video.", path=self.root
            )
        faults = [finding for finding in row_findings(self) if finding.fatal]
        if faults:
            more = f" ({len(faults) - 1} more such rows.)" if len(faults) > 1 else ""
            raise InputError(faults[0].message + more, path=faults[0].source)
        return self

    def manifest(self) -> Manifest:
        """Return the listed videos as a manifest, each once; raise InputError like `checked`.

        A video that only other list splits use is in the split `unused`.
        """
        self.checked()
        splits = self._splits_of_videos() if self.list_split else {}
        first = {}
        for row in self.videos:
            first.setdefault(row.video_id, row)
        records = tuple(
            VideoRecord(name, row.path, self._split_of(row), row.labels, list_splits=splits.get(name, ()))
            for name, row in first.items()
        )
        return Manifest(self.dataset, str(self.root), self.class_names, self.multi_label, records)

    def settled(self) -> Self:
        """Return the listing with each path in one written form, and with identifiers that tell its files apart."""
        rows = [replace(row, path=normal_path(row.path)) for row in self.videos]
        names = distinct_identifiers((row.video_id, row.path) for row in rows)
        videos = tuple(replace(row, video_id=names[row.video_id, row.path]) for row in rows)
        return replace(self, videos=videos, left_out=frozenset(map(normal_path, self.left_out)))

    def _split_of(self, row: ListedVideo) -> str:
        return row.split if row.list_split == (self.list_split or 1) else UNUSED

    def _splits_of_videos(self) -> dict[str, tuple[str | None, ...]]:
        """Return for each video its split in list split 1, 2, ..., None where that one does not use it."""
        count = max(row.list_split for row in self.videos)
        splits: dict[str, list[str | None]] = {}
        for row in self.videos:
            splits.setdefault(row.video_id, [None] * count)[row.list_split - 1] = row.split
        return {video_id: tuple(found) for video_id, found in splits.items()}


def join_list_splits(listings: Mapping[int, Listing], chosen: int) -> Listing:
    """Return the listings of a data set's train/test splits, number -> listing, as one, `chosen` among them first.

    One extraction then serves every split: it holds each video that any of them uses.
    """
    rows = [
        replace(row, list_split=number)
        for number in sorted(listings, key=lambda number: (number != chosen, number))
        for row in listings[number].videos
    ]
    unused = frozenset().union(*(listing.left_out for listing in listings.values())) - {row.path for row in rows}
    return replace(
        listings[chosen],
        class_names=max((listing.class_names for listing in listings.values()), key=len),
        multi_label=any(listing.multi_label for listing in listings.values()),
        videos=tuple(rows),
        left_out=unused,
        list_split=chosen,
    )


def known_and_unknown(names: Iterable[str], number_of: Mapping[str, int]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the labels of the class names that `number_of` has, and the names that it has not."""
    names = tuple(names)
    return tuple(number_of[name] for name in names if name in number_of), tuple(
        name for name in names if name not in number_of
    )


def row_findings(listing: Listing) -> Iterator[Finding]:
    """Yield what is wrong with the rows themselves, in their order; the disk is not looked at."""
    first: dict[tuple[str, int], ListedVideo] = {}
    anywhere: dict[str, ListedVideo] = {}
    yield from _name_findings(listing)
    for row in listing.videos:
        yield from _path_findings(row, listing)
        yield from _label_findings(row, listing)
        earlier = first.setdefault((row.video_id, row.list_split), row)
        elsewhere = anywhere.setdefault(row.video_id, row)
        if earlier is not row:
            yield _duplicate_finding(row, earlier)
        elif _differ(row, elsewhere):
            yield _conflict_finding(row, elsewhere)


def _name_findings(listing: Listing) -> Iterator[Finding]:
    """Yield what is odd in the names of the classes, at the first row of each."""
    first: dict[int, ListedVideo] = {}
    for row in listing.videos:
        for label in row.labels:
            first.setdefault(label, row)
    alike: dict[str, str] = {}
    for number, name in enumerate(listing.class_names):
        row = first.get(number)
        if has_controls(name):
            message = f"the class {name!r} has a control character in its name; rename it."
            yield _finding_on("control_character", row, message, listing)
        other = alike.setdefault(appearance(name), name)
        if other is not name:
            words = f"the classes {ascii(other)} and {ascii(name)} look alike and count as two"
            yield _finding_on("look_alike_labels", row, f"{words}; if they are one, write one name.", listing)


def _finding_on(kind: str, row: ListedVideo | None, message: str, listing: Listing) -> Finding:
    """Return a finding at a row, or on the class list where no row has the class; neither is fatal."""
    if row is None:
        return Finding(kind, f"{listing.classes_from}: {message}")
    return finding_at(kind, row, message, fatal=False)


def finding_at(kind: str, row: ListedVideo, message: str, *, fatal: bool = True) -> Finding:
    """Return a finding on one row; its message begins with the row's file and line."""
    return Finding(kind, f"{row.place}: {message}", row.path, str(row.source), row.line or None, fatal)


def _path_findings(row: ListedVideo, listing: Listing) -> Iterator[Finding]:
    fault = path_fault(row.path, listing.root)
    if fault is not None:
        kind, words = fault
        yield finding_at(kind, row, words)
    elif has_controls(row.path):
        words = f"the path {row.path!r} has a control character in it; rename the file."
        yield finding_at("control_character", row, words, fatal=False)


def _label_findings(row: ListedVideo, listing: Listing) -> Iterator[Finding]:
    num_classes = len(listing.class_names)
    for label in (*row.unknown_labels, *(label for label in row.labels if not 0 <= label < num_classes)):
        allowed = f"{num_classes} classes" + (f", 0 to {num_classes - 1}" if isinstance(label, int) else "")
        message = f"label {label!r} of {row.path!r} is not in {listing.classes_from} ({allowed})"
        yield finding_at("label_out_of_range", row, f"{message}{_alike(label, listing)}.")
    if not row.labels and not row.unknown_labels:
        rest = "; it counts as a video of no class" if listing.multi_label else ", and every other video has one"
        yield finding_at("no_label", row, f"{row.path!r} has no label{rest}.", fatal=not listing.multi_label)
    for label, count in Counter((*row.labels, *row.unknown_labels)).items():
        if count > 1:
            name = listing.class_names[label] if label in range(len(listing.class_names)) else label
            yield finding_at("repeated_label", row, f"{row.path!r} has the label {name!r} {count} times.")


def _alike(label: int | str, listing: Listing) -> str:
    """Return a hint at the class that an unknown name looks like, nothing where there is none."""
    if isinstance(label, int):
        return ""
    known = next((name for name in listing.class_names if appearance(name) == appearance(label)), None)
    return "" if known is None else f"; {ascii(label)} looks like its class {ascii(known)}"


def _duplicate_finding(row: ListedVideo, earlier: ListedVideo) -> Finding:
    where = _where(earlier, row)
    if row.split != earlier.split:
        message = f"{row.video_id!r} is in {row.split} here and in {earlier.split} in {where}; remove one of the two."
        return finding_at("in_two_splits", row, message)
    if _differ(row, earlier):
        return _conflict_finding(row, earlier)
    return finding_at("repeated_row", row, f"{row.video_id!r} was listed in {where}; counted once.", fatal=False)


def _conflict_finding(row: ListedVideo, earlier: ListedVideo) -> Finding:
    where = _where(earlier, row)
    message = f"{row.video_id!r} was listed in {where} with another file or label; remove one of the two."
    return finding_at("conflicting_rows", row, message)


def _differ(row: ListedVideo, other: ListedVideo) -> bool:
    """Whether two rows of one video disagree on its file or labels."""
    return (row.path, row.labels, row.unknown_labels) != (other.path, other.labels, other.unknown_labels)


def _where(earlier: ListedVideo, row: ListedVideo) -> str:
    return f"line {earlier.line}" if earlier.source == row.source else earlier.place
