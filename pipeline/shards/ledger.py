"""Index, ledger, splits and dataset.json: what a folder of shards says as a whole.

dataset.json names the bytes and the digest of the other three and carries one of itself, so that none of them is
believed after it has changed. All four can be gathered again from the shards (`pipeline.shards.folder`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.parquet import StoredEntry
from tdn_data.pipeline.shards.schema import (
    INDEX_SCHEMA,
    LEDGER_SCHEMA,
    SCHEMA_VERSION,
    SCHEMAS,
    SPLITS_SCHEMA,
    LedgerRow,
)
from tdn_data.pipeline.shards.seal import check_version, checked_labels, damage, digest, ledger_row
from tdn_data.pipeline.shards.storage import Storage

INDEX_NAME = "index.parquet"
LEDGER_NAME = "ledger.parquet"
DATASET_NAME = "dataset.json"
SPLITS_NAME = "splits.parquet"
TABLE_NAMES = (INDEX_NAME, LEDGER_NAME, SPLITS_NAME)
REPAIR = "`tdn-data repair` writes it again from the shards"


@dataclass(frozen=True)
class IndexRow:
    """Where a stored video lies; `labels` are numbers of dataset.json's classes."""

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


def index_table(rows: Iterable[IndexRow]) -> bytes:
    """Return index.parquet, sorted by modality and identifier."""
    return _table([asdict(row) for row in sorted(rows, key=_order)], INDEX_SCHEMA)


def ledger_table(rows: Iterable[LedgerRow]) -> bytes:
    """Return ledger.parquet, sorted by modality and identifier."""
    return _table([asdict(row) for row in sorted(rows, key=_order)], LEDGER_SCHEMA)


def splits_table(rows: Iterable[LedgerRow]) -> bytes | None:
    """Return splits.parquet, sorted by identifier; None where no video has list splits."""
    splits = {row.video_id: row.list_splits for row in rows if row.list_splits}
    listed = [
        {"video_id": video_id, "list_split": number, "split": split}
        for video_id in sorted(splits)
        for number, split in enumerate(splits[video_id], start=1)
        if split is not None
    ]
    return _table(listed, SPLITS_SCHEMA) if listed else None


def dataset_json(content: Mapping[str, object], tables: Mapping[str, bytes]) -> bytes:
    """Return dataset.json: `content`, what tells the other files' bytes, and its own digest."""
    files = {name: {"bytes": len(table), "digest": digest((table,))} for name, table in sorted(tables.items())}
    whole = {**content, "schema_version": SCHEMA_VERSION, "files": files}
    return (json.dumps(whole | {"digest": _own_digest(whole)}, indent=2, sort_keys=True) + "\n").encode()


def _own_digest(content: Mapping[str, object]) -> str:
    """Return the digest of dataset.json without its own entry."""
    plain = {key: value for key, value in content.items() if key != "digest"}
    return digest((json.dumps(plain, sort_keys=True).encode(),))


def read_dataset_json(storage: Storage) -> dict[str, object]:
    """Return the content of dataset.json.

    Raises InputError when the folder has none, and ShardError when it is damaged or of a newer schema.
    """
    if DATASET_NAME not in storage.names():
        raise InputError(
            f"{storage.shown} holds no finished extraction ({DATASET_NAME} is missing); run `tdn-data extract` "
            "into it, or again if it was interrupted.",
            path=storage.shown,
        )
    with damage(f"{storage.shown}: {DATASET_NAME}", f"is damaged; {REPAIR}"):
        content = json.loads(storage.read_bytes(DATASET_NAME))
        check_version(content, f"{storage.shown}: {DATASET_NAME}")
        _check_dataset(content)
    return content


def _check_dataset(content: dict[str, object]) -> None:
    """Raise ValueError or KeyError unless the content is whole; older files have no digest."""
    sealed = "digest" in content or content.get("schema_version", 1) > 1
    if sealed and content["digest"] != _own_digest(content):
        raise ValueError("its checksum differs")
    for key, kind in {"name": str, "class_names": list, "multi_label": bool, "parameters": dict}.items():
        if not isinstance(content[key], kind):
            raise ValueError(f"{key} is {content[key]!r}")
    if not all(isinstance(name, str) for name in content["class_names"]):
        raise ValueError("a class name is no text")
    if not content["parameters"] or not content["parameters"].keys() <= SCHEMAS.keys():
        raise ValueError(f"parameters are those of {list(content['parameters'])}")
    if not all(isinstance(one, dict) and isinstance(one.get("codec"), str) for one in content["parameters"].values()):
        raise ValueError("parameters name no codec")


def read_index(storage: Storage, about: Mapping[str, object] | None = None) -> list[IndexRow]:
    """Return the rows of index.parquet; `about` is dataset.json's content, read where it is not given.

    Raises InputError when the folder has none, and ShardError when it is damaged.
    """
    about = read_dataset_json(storage) if about is None else about
    with _damaged(storage, INDEX_NAME):
        return [_index_row(row, len(about["class_names"])) for row in _read_table(storage, INDEX_NAME, about)]


def read_ledger(storage: Storage, about: Mapping[str, object] | None = None) -> list[LedgerRow]:
    """Return the rows of ledger.parquet, as `read_index` does."""
    about = read_dataset_json(storage) if about is None else about
    with _damaged(storage, LEDGER_NAME):
        return [ledger_row(row) for row in _read_table(storage, LEDGER_NAME, about)]


def read_list_splits(storage: Storage, about: Mapping[str, object] | None = None) -> dict[int, dict[str, str]]:
    """Return list split -> video -> split; nothing where the data set has one train/test split only."""
    about = read_dataset_json(storage) if about is None else about
    found: dict[int, dict[str, str]] = {}
    if SPLITS_NAME not in about.get("files", storage.names()):
        return found
    with _damaged(storage, SPLITS_NAME):
        for row in _read_table(storage, SPLITS_NAME, about):
            found.setdefault(row["list_split"], {})[row["video_id"]] = row["split"]
    return dict(sorted(found.items()))


def _index_row(row: dict[str, object], num_classes: int) -> IndexRow:
    labels = checked_labels(row["labels"])
    if any(label >= num_classes for label in labels):
        raise ValueError(f"{row['video_id']} is of class {max(labels)}; there are {num_classes} classes")
    return IndexRow(**(row | {"labels": labels}))


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


def _order(row: IndexRow | LedgerRow) -> tuple[str, str]:
    return row.modality, row.video_id


def _table(rows: list[dict[str, object]], schema: pa.Schema) -> bytes:
    columns = {column: [_plain(row[column]) for row in rows] for column in schema.names}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=schema), sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _damaged(storage: Storage, name: str):
    return damage(f"{storage.shown}: {name}", f"is damaged; {REPAIR}")


def _read_table(storage: Storage, name: str, about: Mapping[str, object]) -> list[dict[str, object]]:
    """Return the rows of a table whose bytes are those that dataset.json names."""
    if name not in storage.names():
        raise InputError(
            f"{storage.shown} holds no finished extraction ({name} is missing); run `tdn-data extract` into it, or "
            "`tdn-data repair`.",
            path=storage.shown,
        )
    content = storage.read_bytes(name)
    if "files" in about and digest((content,)) != about["files"].get(name, {}).get("digest"):
        raise ValueError("its checksum differs from that in dataset.json")
    return pq.read_table(pa.BufferReader(content), page_checksum_verification=True).to_pylist()
