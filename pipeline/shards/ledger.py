"""Index, ledger, splits and dataset.json: what a folder of shards says as a whole.

dataset.json names the bytes and the digest of the other three and carries one of itself, so that none of them is
believed after it has changed. All four can be gathered again from the shards (`pipeline.shards.shard_folder`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.nearby import nothing_here
from tdn_data.pipeline.shards.parquet import StoredEntry
from tdn_data.pipeline.shards.schema import (
    SCHEMA_VERSION,
    SCHEMAS,
    LedgerRow,
)
from tdn_data.pipeline.shards.seal import check_version, checked_labels, damage, digest, ledger_row, stream_digest
from tdn_data.pipeline.shards.storage import Storage

INDEX_NAME = "index.parquet"
LEDGER_NAME = "ledger.parquet"
DATASET_NAME = "dataset.json"
SPLITS_NAME = "splits.parquet"
TABLE_NAMES = (INDEX_NAME, LEDGER_NAME, SPLITS_NAME)
ROW_GROUP_SIZE = 1 << 20
BATCH_ROWS = 1 << 14  # read at once
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


def write_table(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> int:
    """Write rows that come in pieces as one Parquet file, whose bytes do not depend on the pieces; return their number.

    Memory holds one row group of `ROW_GROUP_SIZE` rows.
    """
    options = {"compression": "zstd", "write_page_checksum": True}
    with pq.ParquetWriter(path, schema, **options) as writer:
        waiting, num_waiting, num_rows = [schema.empty_table()], 0, 0
        for table in tables:
            num_rows += len(table)
            while num_waiting + len(table) > ROW_GROUP_SIZE:
                head = table.slice(0, ROW_GROUP_SIZE - num_waiting)
                writer.write_table(pa.concat_tables([*waiting, head]).combine_chunks())
                table, waiting, num_waiting = table.slice(len(head)), [], 0
            waiting.append(table)
            num_waiting += len(table)
        writer.write_table(pa.concat_tables(waiting).combine_chunks())
    return num_rows


def file_facts(path: Path) -> dict[str, object]:
    """Return what dataset.json says of one of the other files: its bytes, and a digest of them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        return {"bytes": size, "digest": stream_digest(file, size)}


def dataset_json(content: Mapping[str, object], files: Mapping[str, Mapping[str, object]]) -> bytes:
    """Return dataset.json: `content`, what tells the other files' bytes (`file_facts`), and its own digest."""
    whole = {**content, "schema_version": SCHEMA_VERSION, "files": dict(sorted(files.items()))}
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
        way_out = "run `tdn-data extract` into it, or again if it was interrupted"
        raise nothing_here(storage, f"holds no finished extraction ({DATASET_NAME} is missing)", way_out)
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


def index_tables(storage: Storage, about: Mapping[str, object]) -> Iterator[pa.Table]:
    """Yield index.parquet in pieces, its rows checked; errors as of `read_index`."""
    num_classes = len(about["class_names"])
    with _damaged(storage, INDEX_NAME):
        for table in _read_tables(storage, INDEX_NAME, about):
            if not _labels_stand(table["labels"], num_classes):
                for row in table.to_pylist():
                    _index_row(row, num_classes)
            yield table


def index_rows(storage: Storage, about: Mapping[str, object]) -> Iterator[IndexRow]:
    """Yield the rows of index.parquet; errors as of `read_index`."""
    num_classes = len(about["class_names"])
    with _damaged(storage, INDEX_NAME):
        for table in _read_tables(storage, INDEX_NAME, about):
            yield from (_index_row(row, num_classes) for row in table.to_pylist())


def read_index(storage: Storage, about: Mapping[str, object] | None = None) -> list[IndexRow]:
    """Return the rows of index.parquet; `about` is dataset.json's content, read where it is not given.

    Raises InputError when the folder has none, and ShardError when it is damaged.
    """
    return list(index_rows(storage, read_dataset_json(storage) if about is None else about))


def ledger_rows(storage: Storage, about: Mapping[str, object]) -> Iterator[LedgerRow]:
    """Yield the rows of ledger.parquet; errors as of `read_index`."""
    with _damaged(storage, LEDGER_NAME):
        for table in _read_tables(storage, LEDGER_NAME, about):
            yield from map(ledger_row, table.to_pylist())


def noted_rows(storage: Storage, about: Mapping[str, object]) -> Iterator[LedgerRow]:
    """Yield the rows of ledger.parquet that are not ok or have a message; errors as of `read_index`."""
    with _damaged(storage, LEDGER_NAME):
        for table in _read_tables(storage, LEDGER_NAME, about):
            noted = pc.or_(pc.not_equal(table["status"], "ok"), pc.is_valid(table["message"]))
            yield from map(ledger_row, table.filter(noted).to_pylist())


def read_ledger(storage: Storage, about: Mapping[str, object] | None = None) -> list[LedgerRow]:
    """Return the rows of ledger.parquet, as `read_index` does."""
    return list(ledger_rows(storage, read_dataset_json(storage) if about is None else about))


def list_split_rows(storage: Storage, about: Mapping[str, object]) -> Iterator[tuple[int, str, str]]:
    """Yield (list split, video, its split there); nothing where the data set has one train/test split only."""
    if SPLITS_NAME not in about.get("files", storage.names()):
        return
    with _damaged(storage, SPLITS_NAME):
        for table in _read_tables(storage, SPLITS_NAME, about):
            for row in table.to_pylist():
                yield row["list_split"], row["video_id"], row["split"]


def read_list_splits(storage: Storage, about: Mapping[str, object] | None = None) -> dict[int, dict[str, str]]:
    """Return list split -> video -> split; nothing where the data set has one train/test split only."""
    about = read_dataset_json(storage) if about is None else about
    found: dict[int, dict[str, str]] = {}
    for number, video_id, split in list_split_rows(storage, about):
        found.setdefault(number, {})[video_id] = split
    return dict(sorted(found.items()))


def _labels_stand(labels: pa.ChunkedArray, num_classes: int) -> bool:
    """Return whether all labels are numbers of the classes, which is quickly seen for all rows at once."""
    values = pc.list_flatten(labels)
    if labels.null_count or values.null_count:
        return False
    return not len(values) or (pc.min(values).as_py() >= 0 and pc.max(values).as_py() < num_classes)


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


def _damaged(storage: Storage, name: str):
    return damage(f"{storage.shown}: {name}", f"is damaged; {REPAIR}")


def _read_tables(storage: Storage, name: str, about: Mapping[str, object]) -> Iterator[pa.Table]:
    """Yield a table in pieces, after its bytes have turned out to be those that dataset.json names."""
    if name not in storage.names():
        raise InputError(
            f"{storage.shown} holds no finished extraction ({name} is missing); run `tdn-data extract` into it, or "
            "`tdn-data repair`.",
            path=storage.shown,
        )
    with storage.open_file(name) as source:
        if "files" in about and stream_digest(source, source.size()) != about["files"].get(name, {}).get("digest"):
            raise ValueError("its checksum differs from that in dataset.json")
        source.seek(0)
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield pa.Table.from_batches([batch])
