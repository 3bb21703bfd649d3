"""Shards as Parquet files: one row per frame or flow pair, row groups that never span two videos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ShardError
from pipeline.shards.schema import PAYLOADS, SCHEMAS, LedgerRow, VideoRows, rows_from_table, rows_table
from pipeline.storage import Storage

ROWS_PER_GROUP = 128  # a training sample reads one group, so a long video has several

ABOUT_KEY = b"tdn_data"
LEDGER_KEY = b"tdn_ledger"


@dataclass(frozen=True)
class StoredEntry:
    """Where one video lies in a shard: `row_group` is its first (Parquet), `num_rows` counts all its rows."""

    video_id: str
    split: str
    labels: tuple[int, ...]
    row_group: int
    num_rows: int


class ParquetShardWriter:
    """Writes one shard to a local path, video after video; memory holds one video at a time."""

    def __init__(self, path: Path, modality: str) -> None:
        self._modality = modality
        payloads = PAYLOADS[modality]
        others = [name for name in SCHEMAS[modality].names if name not in payloads]
        self._writer = pq.ParquetWriter(
            path,
            SCHEMAS[modality],
            compression={name: "none" if name in payloads else "zstd" for name in SCHEMAS[modality].names},
            use_dictionary=[name for name in ("video_id", "split") if name in others],
            write_statistics=[name for name in others if name != "labels"],
            write_page_checksum=True,
        )

    def add(self, rows: VideoRows, *, video_id: str, split: str, labels: tuple[int, ...]) -> None:
        """Append one video's rows; a video without rows leaves no trace here, only in the ledger."""
        if len(rows):
            table = rows_table(rows, video_id=video_id, split=split, labels=labels)
            self._writer.write_table(table, row_group_size=ROWS_PER_GROUP)

    def close(self, about: dict[str, object], ledger: Sequence[LedgerRow]) -> None:
        """Write the metadata and end the file."""
        self._writer.add_key_value_metadata({ABOUT_KEY: json.dumps(about, sort_keys=True), LEDGER_KEY: _dump(ledger)})
        self._writer.close()

    def abort(self) -> None:
        """Let go of the file without completing it; the caller removes it."""
        self._writer.close()


class ParquetShard:
    """One shard, opened for reading."""

    def __init__(self, storage: Storage, name: str, modality: str, *, verify_checksums: bool = False) -> None:
        self.name = name
        self._modality = modality
        try:
            source = storage.filesystem.open_input_file(storage.path(name))
            self._file = pq.ParquetFile(source, page_checksum_verification=verify_checksums)
        except (OSError, pa.ArrowException) as error:
            raise ShardError(f"{name} cannot be opened ({error}).", path=storage.shown, key=name) from error
        self._metadata = self._file.metadata.metadata or {}
        if ABOUT_KEY not in self._metadata:
            raise ShardError(f"{name} is no shard of this program.", path=storage.shown, key=name)

    @property
    def about(self) -> dict[str, object]:
        """What the shard says of itself: versions, parameters, digests."""
        return json.loads(self._metadata[ABOUT_KEY])

    @property
    def ledger(self) -> list[LedgerRow]:
        """The fate of every video that belongs into this shard."""
        return _load(self._metadata[LEDGER_KEY])

    def entries(self) -> list[StoredEntry]:
        """Return where each stored video lies, from the file's footer alone."""
        entries, row_group = [], 0
        stored = [row for row in self.ledger if row.num_stored]
        for row in stored:
            entries.append(StoredEntry(row.video_id, row.split, row.labels, row_group, row.num_stored))
            row_group += -(-row.num_stored // ROWS_PER_GROUP)
        if row_group != self._file.metadata.num_row_groups:
            raise ShardError(f"{self.name} has {self._file.metadata.num_row_groups} row groups; expected {row_group}.")
        return entries

    def read(self, entry: StoredEntry, rows: Sequence[int] | None = None) -> VideoRows:
        """Return the rows of one video, or those at the positions `rows`, in the order asked for."""
        positions = np.arange(entry.num_rows) if rows is None else np.asarray(rows, dtype=np.int64)
        groups = np.unique(positions // ROWS_PER_GROUP)
        try:
            table = self._file.read_row_groups([entry.row_group + int(group) for group in groups], use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise ShardError(f"{self.name}: {entry.video_id}: {error}", key=entry.video_id) from error
        found = table["video_id"].unique().to_pylist()
        if found != [entry.video_id]:
            raise ShardError(f"{self.name} holds {found} where {entry.video_id!r} is expected.", key=entry.video_id)
        local = np.searchsorted(groups, positions // ROWS_PER_GROUP) * ROWS_PER_GROUP + positions % ROWS_PER_GROUP
        return rows_from_table(table.take(local) if rows is not None else table, self._modality)

    def close(self) -> None:
        """Release the file."""
        self._file.close(force=True)


def _dump(ledger: Sequence[LedgerRow]) -> str:
    return json.dumps([asdict(row) for row in ledger])


def _load(text: bytes) -> list[LedgerRow]:
    return [LedgerRow(**(row | {"labels": tuple(row["labels"])})) for row in json.loads(text)]
