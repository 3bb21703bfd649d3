"""Is everything there, and is it what it says? Re-reads a folder of shards; also tells how far an unfinished one is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.errors import ShardError
from pipeline.shards.formats import Shard, open_shard
from pipeline.shards.ledger import (
    DATASET_NAME,
    SPLITS_NAME,
    count_by_reason,
    count_by_status,
    read_dataset,
    read_index,
    read_ledger,
    read_list_splits,
)
from pipeline.shards.parquet import StoredEntry
from pipeline.shards.reader import decode_rows
from pipeline.shards.schema import PAYLOADS, SCHEMAS, LedgerRow, parse_shard_name
from pipeline.storage import Storage


@dataclass(frozen=True)
class Finding:
    """Something wrong: in which shard, with which video (None for the shard as a whole), and what."""

    shard: str
    video_id: str | None
    what: str


@dataclass(frozen=True)
class Verification:
    """What was read and what was found wrong."""

    location: str
    num_shards: int
    num_videos: int
    num_images: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ModalityStatus:
    """How far one modality is: shards there and to come, and the fates of the videos in those that are there."""

    modality: str
    num_shards: int
    num_shards_total: int
    num_videos: int
    num_rows: int
    status: dict[str, int]
    reasons: dict[str, int]


@dataclass(frozen=True)
class Status:
    """Whether an extraction is finished, and how far each modality is."""

    location: str
    finished: bool
    modalities: tuple[ModalityStatus, ...]


def extraction_status(path: str | os.PathLike[str]) -> Status:
    """Return how far an extraction is, finished or not, from the shards' own metadata."""
    storage = Storage(path)
    names = storage.names()
    modalities = []
    for modality in SCHEMAS:
        shards = [name for name in names if (parse_shard_name(name) or ("",))[0] == modality]
        if shards:
            modalities.append(_modality_status(storage, modality, shards))
    return Status(storage.shown, DATASET_NAME in names, tuple(modalities))


def _modality_status(storage: Storage, modality: str, names: list[str]) -> ModalityStatus:
    rows: list[LedgerRow] = []
    for name in names:
        shard = open_shard(storage, name)
        rows.extend(shard.ledger)
        shard.close()
    return ModalityStatus(
        modality=modality,
        num_shards=len(names),
        num_shards_total=max(parse_shard_name(name)[2] for name in names),
        num_videos=len(rows),
        num_rows=sum(row.num_stored for row in rows),
        status=count_by_status(rows),
        reasons=count_by_reason(rows),
    )


def verify_shards(path: str | os.PathLike[str], *, on_shard: Callable[[int, int], None] | None = None) -> Verification:
    """Read every shard of a finished extraction again and return all that is wrong with it.

    Checked: checksums (Parquet pages), that every image decodes to its size, that times do not fall, that index,
    ledger, splits and shards agree on every video and count, and that no shard is missing or left over. `on_shard` is
    called with the number of shards done and their total. Raises InputError when the folder holds no finished
    extraction.
    """
    storage = Storage(path)
    about = read_dataset(storage)
    ledger, index = read_ledger(storage), read_index(storage)
    names = [name for name in storage.names() if parse_shard_name(name)]
    findings = [*_listing_findings(about, names, ledger, index), *_split_findings(storage, ledger)]
    num_images = 0
    for number, name in enumerate(names, start=1):
        rows = [row for row in ledger if row.shard == name]
        shard_findings, count = _verify_shard(storage, name, rows)
        findings.extend(shard_findings)
        num_images += count
        if on_shard is not None:
            on_shard(number, len(names))
    return Verification(storage.shown, len(names), len(ledger), num_images, tuple(findings))


def _listing_findings(about: dict, names: list[str], ledger: list[LedgerRow], index: list) -> Iterator[Finding]:
    """Yield what does not fit between dataset.json, the files, the ledger and the index."""
    listed = set(about["shard_bytes"])
    for name in sorted(listed - set(names)):
        yield Finding(name, None, "is missing")
    for name in sorted(set(names) - listed):
        yield Finding(name, None, "is not listed in dataset.json")
    stored = {(row.modality, row.video_id): (row.shard, row.num_stored) for row in ledger if row.num_stored}
    indexed = {(row.modality, row.video_id): (row.shard, row.num_rows) for row in index}
    for key in sorted(stored.keys() ^ indexed.keys()):
        yield Finding(stored.get(key, indexed.get(key))[0], key[1], "is in only one of index and ledger")
    for key in sorted(stored.keys() & indexed.keys()):
        if stored[key] != indexed[key]:
            yield Finding(stored[key][0], key[1], f"index says {indexed[key]}, ledger says {stored[key]}")


def _split_findings(storage: Storage, ledger: list[LedgerRow]) -> Iterator[Finding]:
    """Yield the videos that splits.parquet puts into a train/test split and that no ledger knows."""
    listed = {row.video_id for row in ledger}
    for number, splits in read_list_splits(storage).items():
        for video_id in sorted(splits.keys() - listed):
            yield Finding(SPLITS_NAME, video_id, f"is in list split {number} and not in the ledger")


def _verify_shard(storage: Storage, name: str, rows: list[LedgerRow]) -> tuple[list[Finding], int]:
    """Return what is wrong with one shard, and how many of its images decode."""
    try:
        shard = open_shard(storage, name, verify_checksums=True)
        entries = shard.entries()
        codec = str(shard.about["parameters"]["codec"])
        same = {row.video_id: row for row in shard.ledger} == {row.video_id: row for row in rows}
    except ShardError as error:
        return [Finding(name, None, error.message)], 0
    findings = [] if same else [Finding(name, None, "its own ledger differs from ledger.parquet")]
    num_images = 0
    for entry in entries:
        try:
            num_images += _verify_video(shard, entry, codec)
        except ShardError as error:
            findings.append(Finding(name, entry.video_id, error.message))
    shard.close()
    return findings, num_images


def _verify_video(shard: Shard, entry: StoredEntry, codec: str) -> int:
    """Decode all images of one video and return their number; raise ShardError for what is wrong."""
    rows = shard.read(entry)
    if len(rows) != entry.num_rows:
        raise ShardError(f"has {len(rows)} rows; expected {entry.num_rows}.")
    if (np.diff(rows.pts_seconds) < 0).any() or (np.diff(rows.frame_index) < 0).any():
        raise ShardError("has times that fall.")
    decode_rows(rows, codec)
    return len(rows) * len(PAYLOADS[rows.modality])
