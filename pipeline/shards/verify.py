"""Is everything there, and is it what it says? Re-reads a folder of shards, pictures and all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from tdn_data.pipeline.errors import InputError, PipelineError, ShardError, StorageError
from tdn_data.pipeline.shards.folder import ShardContents, shard_contents, shard_names
from tdn_data.pipeline.shards.formats import Shard, open_shard
from tdn_data.pipeline.shards.labels import labelling_of, renumbered
from tdn_data.pipeline.shards.ledger import (
    DATASET_NAME,
    SPLITS_NAME,
    IndexRow,
    read_dataset_json,
    read_index,
    read_ledger,
    read_list_splits,
)
from tdn_data.pipeline.shards.marks import write_marks
from tdn_data.pipeline.shards.parquet import StoredEntry
from tdn_data.pipeline.shards.reader import decode_rows
from tdn_data.pipeline.shards.schema import PAYLOADS, Labelling, LedgerRow
from tdn_data.pipeline.shards.status import Fault, folder_findings, number_findings
from tdn_data.pipeline.shards.storage import Storage

BYTES_AT_ONCE = 64 << 20  # of one channel of decoded pictures


@dataclass(frozen=True)
class Verification:
    """What was read, what was found wrong, and whether damaged shards could be noted for `extract` to recreate them."""

    location: str
    num_shards: int
    num_videos: int
    num_images: int
    findings: tuple[Fault, ...]
    noted: bool = True


@dataclass(frozen=True)
class _Folder:
    """What the small files say, as far as they can be read: None for one that cannot."""

    about: dict[str, object] | None
    index: list[IndexRow] | None
    ledger: list[LedgerRow] | None

    @property
    def labelling(self) -> Labelling | None:
        """What the folder's labels mean."""
        if self.about is None:
            return None
        return Labelling(self.about["name"], tuple(self.about["class_names"]), self.about["multi_label"])


def verify_shards(path: str | os.PathLike[str], *, on_shard: Callable[[int, int], None] | None = None) -> Verification:
    """Read every shard of a finished extraction again and return all that is wrong with it.

    Checked: all checksums, that every image decodes to its size, that times do not fall, that index, ledger, splits,
    dataset.json and shards agree on every video, label and count, that the modalities agree, and that no shard is
    missing or left over. The shards that are to be recreated are noted in the folder (`pipeline.shards.marks`), if it
    can be written. `on_shard` is called with the number of shards done and their total. Raises InputError when
    the folder holds no finished extraction.
    """
    storage = Storage(path)
    if DATASET_NAME not in storage.names():
        read_dataset_json(storage)
    findings, folder = folder_findings(storage), _read_folder(storage)
    names = shard_names(storage)
    if folder.about is None:
        findings += number_findings(names)
    rows_of = _by_shard(folder.ledger), _by_shard(folder.index)
    num_images, seen = 0, {}
    for number, name in enumerate(names, start=1):
        shard_findings, contents, count = _verify_shard(storage, name, folder, *rows_of)
        findings += shard_findings
        num_images += count
        for row in contents.ledger if contents is not None else ():
            findings += _disagreement(seen, row, contents)
        if on_shard is not None:
            on_shard(number, len(names))
    findings += _split_findings(storage, folder)
    num_videos = len(folder.ledger) if folder.ledger is not None else len(seen)
    noted = _note(storage, names, findings)
    return Verification(storage.shown, len(names), num_videos, num_images, tuple(dict.fromkeys(findings)), noted)


def _note(storage: Storage, names: list[str], findings: list[Fault]) -> bool:
    """Note which shards are to be recreated; return whether the folder could be written."""
    try:
        write_marks(storage, {finding.shard for finding in findings if finding.fix == "extract"} & set(names))
    except StorageError:
        return False
    return True


def _read_folder(storage: Storage) -> _Folder:
    """Read the small files as far as they can be read; what is wrong with them is found by `folder_findings`."""

    def read(function: Callable, *arguments: object) -> object:
        try:
            return function(storage, *arguments)
        except (ShardError, InputError):
            return None

    about = read(read_dataset_json)
    if about is None:
        return _Folder(None, None, None)
    return _Folder(about, read(read_index, about), read(read_ledger, about))


def _by_shard(rows: list | None) -> dict[str, list] | None:
    if rows is None:
        return None
    found: dict[str, list] = {}
    for row in rows:
        found.setdefault(row.shard, []).append(row)
    return found


def _split_findings(storage: Storage, folder: _Folder) -> Iterator[Fault]:
    """Yield the videos whose split in some list is not the one that the ledger says."""
    if folder.about is None or folder.ledger is None:
        return
    try:
        splits = read_list_splits(storage, folder.about)
    except (ShardError, InputError):
        return
    listed = {row.video_id for row in folder.ledger}
    for number, split in splits.items():
        for video_id in sorted(split.keys() - listed):
            yield Fault(SPLITS_NAME, video_id, f"is in list split {number} and not in the ledger", "repair")
    for row in folder.ledger:
        found = tuple(splits.get(number, {}).get(row.video_id) for number in range(1, len(row.list_splits) + 1))
        if row.list_splits and found != row.list_splits:
            yield Fault(SPLITS_NAME, row.video_id, f"says {found}, its shard says {row.list_splits}", "repair")


def _disagreement(seen: dict[str, tuple], row: LedgerRow, contents: ShardContents) -> Iterator[Fault]:
    """Yield a finding where a video's classes or split are not those of the same video in another modality."""
    labelling = labelling_of(contents)
    if labelling is None or any(label >= len(labelling.class_names) for label in row.labels):
        return
    said = row.split, tuple(labelling.class_names[label] for label in row.labels)
    first = seen.setdefault(row.video_id, said)
    if first != said:
        what = f"is {said[1]} of {said[0]!r} here and {first[1]} of {first[0]!r} in the other modality"
        yield Fault(contents.name, row.video_id, what)


def _verify_shard(
    storage: Storage, name: str, folder: _Folder, ledger: dict[str, list] | None, index: dict[str, list] | None
) -> tuple[list[Fault], ShardContents | None, int]:
    """Return what is wrong with one shard, what it says, and how many of its images decode."""
    findings, num_images = [], 0
    try:
        shard = open_shard(storage, name)
    except PipelineError as error:
        return [Fault(name, None, error.message)], None, 0
    try:
        contents, codec = shard_contents(shard), str(shard.about["parameters"]["codec"])
        findings += _content_findings(contents, folder, ledger, index)
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


def _content_findings(
    contents: ShardContents, folder: _Folder, ledger: dict[str, list] | None, index: dict[str, list] | None
) -> Iterator[Fault]:
    """Yield where a shard's own words differ from the folder's ledger, index and parameters."""
    common = folder.labelling
    if common is None:
        return
    own = labelling_of(contents) or common
    for name, stored, said in (("ledger", contents.ledger, ledger), ("index", contents.index, index)):
        if said is None:
            continue
        inside = {row.video_id: replace(row, labels=renumbered(row.labels, own, common)) for row in stored}
        outside = {row.video_id: row for row in said.get(contents.name, ())}
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
