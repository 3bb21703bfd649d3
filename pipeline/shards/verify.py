"""Is everything there, and is it what it says? Re-reads a folder of shards, pictures and all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

import numpy as np
import pyarrow as pa

from tdn_data.pipeline.errors import InputError, PipelineError, ShardError, StorageError
from tdn_data.pipeline.progress import OnProgress, reported
from tdn_data.pipeline.shards.gathered import RowsByShard, rows_as_dicts
from tdn_data.pipeline.shards.labels import labelling_of, renumbered
from tdn_data.pipeline.shards.ledger import (
    DATASET_NAME,
    SPLITS_NAME,
    IndexRow,
    index_rows,
    ledger_rows,
    read_dataset_json,
    read_list_splits,
)
from tdn_data.pipeline.shards.marks import write_marks
from tdn_data.pipeline.shards.parquet import StoredEntry
from tdn_data.pipeline.shards.reader import decode_rows
from tdn_data.pipeline.shards.schema import (
    INDEX_SCHEMA,
    LEDGER_SCHEMA,
    PAYLOADS,
    Labelling,
    LedgerRow,
    parse_shard_name,
)
from tdn_data.pipeline.shards.shard_folder import ShardContents, shard_contents, shard_names
from tdn_data.pipeline.shards.shard_formats import Shard, open_shard
from tdn_data.pipeline.shards.sorting import SortedRows
from tdn_data.pipeline.shards.status import Fault, folder_findings, number_findings
from tdn_data.pipeline.shards.storage import Storage

BYTES_AT_ONCE = 64 << 20  # of one channel of decoded pictures

T = TypeVar("T")


@dataclass(frozen=True)
class Verification:
    """What was read, what was found wrong, and whether damaged shards could be noted for `extract` to recreate them."""

    location: str
    num_shards: int
    num_videos: int
    num_images: int
    findings: tuple[Fault, ...]
    noted: bool = True


class _Folder:
    """What the small files say, as far as they can be read: None for one that cannot. Shards are asked for in order."""

    def __init__(self, storage: Storage) -> None:
        self.about = _or_none(lambda: read_dataset_json(storage))
        self.labelling: Labelling | None = None
        self.ledger: RowsByShard[LedgerRow] | None = None
        self.index: RowsByShard[IndexRow] | None = None
        if self.about is not None:
            about = self.about
            self.labelling = Labelling(about["name"], tuple(about["class_names"]), about["multi_label"])
            self.ledger = _or_none(lambda: RowsByShard(LedgerRow, LEDGER_SCHEMA, ledger_rows(storage, about)))
            self.index = _or_none(lambda: RowsByShard(IndexRow, INDEX_SCHEMA, index_rows(storage, about)))

    def close(self) -> None:
        """Remove temporary files."""
        for rows in (self.ledger, self.index):
            if rows is not None:
                rows.close()


def _or_none(read: Callable[[], T]) -> T | None:
    """Return what `read` gives, None for a file that cannot be read; `folder_findings` says what is wrong with it."""
    try:
        return read()
    except (ShardError, InputError):
        return None


def verify_shards(path: str | os.PathLike[str], *, on_progress: OnProgress | None = None) -> Verification:
    """Read every shard of a finished extraction again and return all that is wrong with it.

    Checked: all checksums, that every image decodes to its size, that times do not fall, that index, ledger, splits,
    dataset.json and shards agree on every video, label and count, that the modalities agree, and that no shard is
    missing or left over. The shards that are to be recreated are noted in the folder (`pipeline.shards.marks`), if it
    can be written.

    Args:
        path: the folder of the shards, or its address, e.g. s3://bucket/folder.
        on_progress: counts shards.

    Returns:
        what was read, and each fault with the command that fixes it.

    Raises:
        InputError: the folder holds no finished extraction.

    >>> found = verify_shards("shards")  # what `tdn-data extract --out shards` made
    >>> found.num_shards, found.num_videos, found.num_images, found.findings
    (4, 12, 65, ())
    """
    storage = Storage(path)
    if DATASET_NAME not in storage.names():
        read_dataset_json(storage)
    findings, names = folder_findings(storage), shard_names(storage)
    with contextlib.closing(_Folder(storage)) as folder, contextlib.closing(_Classes(names)) as classes:
        if folder.about is None:
            findings += number_findings(names)
        num_images = num_videos = 0
        for name in reported(names, len(names), on_progress):
            shard_findings, contents, count = _verify_shard(storage, name, folder)
            findings += shard_findings
            num_images += count
            if contents is not None:
                classes.add(contents)
                num_videos += len(contents.ledger)
        findings += classes.disagreements()
        findings += _split_findings(storage, folder)
        num_videos = folder.ledger.num_rows if folder.ledger is not None else num_videos
    noted = _note(storage, names, findings)
    return Verification(storage.shown, len(names), num_videos, num_images, tuple(dict.fromkeys(findings)), noted)


def _note(storage: Storage, names: list[str], findings: list[Fault]) -> bool:
    """Note which shards are to be recreated; return whether the folder could be written."""
    try:
        write_marks(storage, {finding.shard for finding in findings if finding.fix == "extract"} & set(names))
    except StorageError:
        return False
    return True


def _split_findings(storage: Storage, folder: _Folder) -> Iterator[Fault]:
    """Yield the videos whose split in some list is not the one that the ledger says."""
    if folder.about is None or folder.ledger is None:
        return
    try:
        splits = read_list_splits(storage, folder.about)
    except (ShardError, InputError):
        return
    if not splits:
        return
    listed = {row.video_id for row in ledger_rows(storage, folder.about)}
    for number, split in splits.items():
        for video_id in sorted(split.keys() - listed):
            yield Fault(SPLITS_NAME, video_id, f"is in list split {number} and not in the ledger", "repair")
    for row in ledger_rows(storage, folder.about):
        found = tuple(splits.get(number, {}).get(row.video_id) for number in range(1, len(row.list_splits) + 1))
        if row.list_splits and found != row.list_splits:
            yield Fault(SPLITS_NAME, row.video_id, f"says {found}, its shard says {row.list_splits}", "repair")


class _Classes:
    """Each video's split and classes as its shards say them, where several modalities could say it differently."""

    _SCHEMA = pa.schema(
        [("video_id", pa.string()), ("shard", pa.string()), ("split", pa.string()), ("classes", pa.list_(pa.string()))]
    )

    def __init__(self, names: Iterable[str]) -> None:
        self._several = len({parse_shard_name(name)[0] for name in names}) > 1
        self._sorted = SortedRows("video_id")

    def add(self, contents: ShardContents) -> None:
        """Take in what a shard says of its videos."""
        labelling = labelling_of(contents)
        if not self._several or labelling is None:
            return
        names = labelling.class_names
        rows = [
            {"video_id": row.video_id, "shard": contents.name, "split": row.split,
             "classes": [names[label] for label in row.labels]}
            for row in contents.ledger
            if all(label < len(names) for label in row.labels)
        ]  # fmt: skip
        if rows:
            self._sorted.add(pa.Table.from_pylist(rows, self._SCHEMA))

    def disagreements(self) -> Iterator[Fault]:
        """Yield the videos whose classes or split are not those of the same video in another modality."""
        rows = (row for table in self._sorted.tables() for row in rows_as_dicts(table))
        for video_id, same in groupby(rows, key=itemgetter("video_id")):
            first = None
            for row in same:
                said = row["split"], tuple(row["classes"])
                first = first or said
                if said != first:
                    what = f"is {said[1]} of {said[0]!r} here and {first[1]} of {first[0]!r} in the other modality"
                    yield Fault(row["shard"], video_id, what)

    def close(self) -> None:
        """Remove temporary files."""
        self._sorted.close()


def _verify_shard(storage: Storage, name: str, folder: _Folder) -> tuple[list[Fault], ShardContents | None, int]:
    """Return what is wrong with one shard, what it says, and how many of its images decode."""
    findings, num_images = [], 0
    try:
        shard = open_shard(storage, name)
    except PipelineError as error:
        return [Fault(name, None, error.message)], None, 0
    try:
        contents, codec = shard_contents(shard), str(shard.about["parameters"]["codec"])
        findings += _content_findings(contents, folder)
        shard.check_unread()
        for entry in shard.entries():
            try:
                num_images += _verify_video(shard, entry, codec)
            except ShardError as error:
                findings.append(Fault(name, entry.video_id, error.message))
    except ShardError as error:
        return [*findings, Fault(name, None, error.message)], None, num_images
    finally:
        shard.close()
    return findings, contents, num_images


def _content_findings(contents: ShardContents, folder: _Folder) -> Iterator[Fault]:
    """Yield where a shard's own words differ from the folder's ledger, index and parameters."""
    common = folder.labelling
    if common is None:
        return
    own = labelling_of(contents) or common
    for name, stored, said in (("ledger", contents.ledger, folder.ledger), ("index", contents.index, folder.index)):
        if said is None:
            continue
        inside = {row.video_id: replace(row, labels=renumbered(row.labels, own, common)) for row in stored}
        outside = {row.video_id: row for row in said.of(contents.name)}
        wrong = [key for key in {**inside, **outside} if inside.get(key) != outside.get(key)]
        for video_id in sorted(wrong):
            yield Fault(contents.name, video_id, f"its own {name} differs from {name}.parquet", "repair")
    if folder.about["parameters"].get(contents.about["modality"]) != contents.about["parameters"]:
        yield Fault(contents.name, None, "its parameters differ from those in dataset.json", "repair")
    if (own.dataset, own.multi_label) != (common.dataset, common.multi_label):
        yield Fault(contents.name, None, "its data set or kind of labels differs from dataset.json", "repair")


def _verify_video(shard: Shard, entry: StoredEntry, codec: str) -> int:
    """Decode all images of one video, a few at a time, and return their number; raise ShardError for what is wrong."""
    said = shard.stored_labels(entry)
    if said != {(entry.split, entry.labels)}:
        raise ShardError(f"has rows of {sorted(said)}; its ledger says {entry.split, entry.labels}.")
    first = shard.read(entry, [0])
    at_once = max(BYTES_AT_ONCE // max(first.height * first.width, 1), 1)
    last_pts, last_index, num_images = -np.inf, -1, 0
    for start in range(0, entry.num_rows, at_once):
        rows = shard.read(entry, range(start, min(start + at_once, entry.num_rows)))
        pts, index = np.append(last_pts, rows.pts_seconds), np.append(last_index, rows.frame_index)
        if not np.isfinite(rows.pts_seconds).all() or (np.diff(pts) < 0).any() or (np.diff(index) < 0).any():
            raise ShardError("has times that fall.")
        decode_rows(rows, codec)
        last_pts, last_index = pts[-1], index[-1]
        num_images += len(rows) * len(PAYLOADS[rows.modality])
    return num_images
