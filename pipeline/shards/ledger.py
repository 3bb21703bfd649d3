"""Index, ledger, splits and dataset.json: what a folder of shards says as a whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError, StorageError
from pipeline.manifest import VideoRecord
from pipeline.shards.parquet import StoredEntry
from pipeline.shards.schema import INDEX_SCHEMA, LEDGER_SCHEMA, SPLITS_SCHEMA, LedgerRow
from pipeline.storage import Storage

INDEX_NAME = "index.parquet"
LEDGER_NAME = "ledger.parquet"
DATASET_NAME = "dataset.json"
SPLITS_NAME = "splits.parquet"


@dataclass(frozen=True)
class IndexRow:
    """Where a stored video lies."""

    video_id: str
    modality: str
    split: str
    labels: tuple[int, ...]
    shard: str
    row_group: int
    num_rows: int

    @property
    def entry(self) -> StoredEntry:
        """The place inside the shard."""
        return StoredEntry(self.video_id, self.split, self.labels, self.row_group, self.num_rows)


def write_index(storage: Storage, rows: Iterable[IndexRow]) -> None:
    """Publish index.parquet, sorted by modality and identifier."""
    ordered = sorted(rows, key=lambda row: (row.modality, row.video_id))
    _publish_table(storage, INDEX_NAME, [asdict(row) for row in ordered], INDEX_SCHEMA)


def write_ledger(storage: Storage, rows: Iterable[LedgerRow]) -> None:
    """Publish ledger.parquet, sorted by modality and identifier."""
    ordered = sorted(rows, key=lambda row: (row.modality, row.video_id))
    _publish_table(storage, LEDGER_NAME, [asdict(row) for row in ordered], LEDGER_SCHEMA)


def write_list_splits(storage: Storage, records: Iterable[VideoRecord]) -> None:
    """Publish splits.parquet, sorted by identifier; where no video has list splits there is to be no such file."""
    rows = [
        {"video_id": record.video_id, "list_split": number, "split": split}
        for record in sorted((one for one in records if one.list_splits), key=lambda record: record.video_id)
        for number, split in enumerate(record.list_splits, start=1)
        if split is not None
    ]
    if rows:
        _publish_table(storage, SPLITS_NAME, rows, SPLITS_SCHEMA)
    else:
        storage.delete(SPLITS_NAME)


def read_list_splits(storage: Storage) -> dict[int, dict[str, str]]:
    """Return list split -> video -> split; nothing where the data set has one train/test split only."""
    found: dict[int, dict[str, str]] = {}
    for row in _read_table(storage, SPLITS_NAME) if SPLITS_NAME in storage.names() else ():
        found.setdefault(row["list_split"], {})[row["video_id"]] = row["split"]
    return dict(sorted(found.items()))


def read_index(storage: Storage) -> list[IndexRow]:
    """Return the rows of index.parquet; raise InputError when the folder has none."""
    return [IndexRow(**(row | {"labels": tuple(row["labels"])})) for row in _read_table(storage, INDEX_NAME)]


def read_ledger(storage: Storage) -> list[LedgerRow]:
    """Return the rows of ledger.parquet; raise InputError when the folder has none."""
    return [LedgerRow(**(row | {"labels": tuple(row["labels"])})) for row in _read_table(storage, LEDGER_NAME)]


def write_dataset(storage: Storage, content: dict[str, object]) -> None:
    """Publish dataset.json."""
    storage.write_bytes(DATASET_NAME, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def read_dataset(storage: Storage) -> dict[str, object]:
    """Return the content of dataset.json; raise InputError when the folder has none."""
    if DATASET_NAME not in storage.names():
        raise InputError(
            f"{storage.shown} holds no finished extraction ({DATASET_NAME} is missing); run `tdn-data extract` "
            "into it, or again if it was interrupted.",
            path=storage.shown,
        )
    return json.loads(storage.read_bytes(DATASET_NAME))


def count_by_status(rows: Sequence[LedgerRow]) -> dict[str, int]:
    """Return how many rows are ok, partial and failed."""
    counts = Counter(row.status for row in rows)
    return {status: counts.get(status, 0) for status in ("ok", "partial", "failed")}


def count_by_reason(rows: Sequence[LedgerRow]) -> dict[str, int]:
    """Return how many rows have each reason, most frequent first."""
    return dict(Counter(row.reason for row in rows if row.reason).most_common())


def count_by_decoding(rows: Sequence[LedgerRow]) -> dict[str, int]:
    """Return of how many rows' videos only a part was decoded, and of how many all had to be."""
    counts = Counter(row.decoding for row in rows)
    return {decoding: counts.get(decoding, 0) for decoding in ("sparse", "full")}


def _publish_table(storage: Storage, name: str, rows: list[dict[str, object]], schema: pa.Schema) -> None:
    columns = {column: [_plain(row[column]) for row in rows] for column in schema.names}
    with storage.publish(name) as scratch:
        _write(pa.table(columns, schema=schema), scratch)


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _read_table(storage: Storage, name: str) -> list[dict[str, object]]:
    if name not in storage.names():
        raise InputError(
            f"{storage.shown} holds no finished extraction ({name} is missing); run `tdn-data extract` into it.",
            path=storage.shown,
        )
    try:
        return pq.read_table(pa.BufferReader(storage.read_bytes(name))).to_pylist()
    except pa.ArrowException as error:
        raise StorageError(f"{storage.shown}: {name} cannot be read ({error}).", path=storage.shown) from error
