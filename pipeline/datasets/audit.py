"""What is wrong with a data set before anything is decoded: its rows, its files, its counts.

A listing is compared with itself (labels, duplicates), with the folder (files that are missing, files that no list
names) and with the published counts. Nothing here opens a video; probing is the index's matter.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from tdn_data.pipeline.datasets.base import DatasetSpec
from tdn_data.pipeline.datasets.frame_folders import FrameFolders, frame_paths
from tdn_data.pipeline.datasets.listing import Finding, ListedVideo, Listing, finding_at, row_findings
from tdn_data.pipeline.datasets.media_files import walk_files
from tdn_data.pipeline.datasets.registry import dataset_spec, read_dataset, read_videos
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_regular
from tdn_data.pipeline.text import appearance


def audit_dataset(name: str, root: Path, *, list_split: int | None = None) -> tuple[Finding, ...]:
    """Return the findings on the data set `name` under `root`, whose lists are read first.

    Raises InputError where the lists themselves cannot be read, and for a kind without labelled lists (flow pairs),
    whose readers refuse what does not fit.
    """
    spec = dataset_spec(name)
    read = read_videos if spec.kind == "videos" else read_dataset
    listing = read(name, root, list_split=list_split)
    if not isinstance(listing, Listing):
        raise InputError(f"{name} is a data set of {spec.kind}, without a list of labelled videos to audit.", key=name)
    return audit_listing(listing, spec)


def audit_listing(listing: Listing, spec: DatasetSpec) -> tuple[Finding, ...]:
    """Return the findings on a listing: on its rows, in their order, then on counts, then on files."""
    on_files = _folder_findings(listing) if isinstance(listing, FrameFolders) else _file_findings(listing)
    return (*row_findings(listing), *_split_findings(listing, spec), *_count_findings(listing, spec), *on_files)


def findings_by_kind(findings: Iterable[Finding]) -> dict[str, int]:
    """Return the number of findings of each kind that occurs, in the order of `Finding.KINDS`."""
    counts = Counter(finding.kind for finding in findings)
    return {kind: counts[kind] for kind in Finding.KINDS if counts[kind]}


def _split_findings(listing: Listing, spec: DatasetSpec) -> Iterator[Finding]:
    """Yield what keeps a network from being trained on the listing, or on one of its classes."""
    rows = [row for row in listing.videos if row.list_split == (listing.list_split or 1)]
    trained = {label for row in rows if row.split == spec.train_split for label in row.labels}
    counts = Counter(row.split for row in rows)
    if rows and not counts[spec.train_split]:
        found = ", ".join(f"{count:,} {split}" for split, count in counts.items())
        message = (
            f"{listing.root}: no video is in the split {spec.train_split} ({found}); nothing can be trained on it."
        )
        yield Finding("no_training_video", message)
        return
    elsewhere: dict[int, ListedVideo] = {}
    for row in rows:
        for label in set(row.labels) - trained:
            elsewhere.setdefault(label, row)
    for label, row in sorted(elsewhere.items()):
        if 0 <= label < len(listing.class_names):
            words = f"the class {listing.class_names[label]!r} is in {row.split} and in no {spec.train_split} video"
            yield finding_at("class_without_training", row, f"{words}; no network can learn it.", fatal=False)


def _count_findings(listing: Listing, spec: DatasetSpec) -> Iterator[Finding]:
    counts = [("the lists have", "classes", len(listing.class_names), spec.num_classes)]
    videos = {(row.list_split, row.video_id) for row in listing.videos}
    for number, count in sorted(Counter(number for number, _ in videos).items()):
        lists = "the lists" if listing.list_split is None else f"the lists of split {number}"
        counts.append((f"{lists} have", "videos", count, spec.num_items))
    for lists, what, found, published in counts:
        if published is not None and found != published:
            message = f"{listing.root}: {lists} {found:,} {what}; {spec.name} was published with {published:,}."
            yield Finding("unexpected_count", message)


def _file_findings(listing: Listing) -> Iterator[Finding]:
    on_disk = set(walk_files(listing.root))
    listed = set(listing.left_out)
    unlisted = on_disk - listed - {row.path for row in listing.videos}
    alike = {appearance(path): path for path in sorted(unlisted)}
    for row in listing.videos:
        if row.path in listed:
            continue
        listed.add(row.path)
        if not os.path.isfile(listing.root / row.path):  # a link that leads nowhere or a FIFO lies on the disk, too
            words = f"{row.path!r} {_absence(listing.root / row.path)}"
            other = alike.get(appearance(row.path))
            hint = "" if other is None else f"; {ascii(other)} is in no list and looks like {ascii(row.path)}"
            yield finding_at("missing_file", row, f"{words}{hint}.", fatal=False)
    for path in sorted(unlisted):
        yield Finding("unlisted_file", f"{path!r} is in no list.", path)


def _absence(path: Path) -> str:
    """Return why a listed file does not count as being there."""
    try:
        check_regular(path, what="video")
    except InputError as error:
        return "is not there" if error.key == "missing" else "is there and no file that can be read"
    return "is there by now"


def _folder_findings(listing: FrameFolders) -> Iterator[Finding]:
    for row in listing.videos:
        try:
            frame_paths(listing, row)
        except InputError as error:
            yield finding_at("missing_file", row, error.message, fatal=False)
    named = {row.path for row in listing.videos}
    above = {parent.as_posix() for path in named for parent in PurePosixPath(path).parents}
    for parent in sorted({PurePosixPath(path).parent for path in named}):
        for folder in sorted(path for path in (listing.root / parent).glob("*") if path.is_dir()):
            path = folder.relative_to(listing.root).as_posix()
            if path not in named | above:
                yield Finding("unlisted_file", f"the folder {path!r} is in no list.", path)
