"""Shards as Parquet files: one row per frame or flow pair, row groups of one video each and of a limited size."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tdn_data.pipeline.errors import ShardError
from tdn_data.pipeline.shards.footer import EMPTY_SEALS, check_page_index, read_footer, seal_footer
from tdn_data.pipeline.shards.positions import check_positions
from tdn_data.pipeline.shards.schema import PAYLOADS, SCHEMAS, LedgerRow, VideoRows, rows_table
from tdn_data.pipeline.shards.seal import (
    check_rows,
    damage,
    dump_about,
    dump_ledger,
    load_about,
    load_ledger,
    row_checksums,
)
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.shards.values import can_be_walked, leaves_of, values_at

ROWS_PER_GROUP = 128  # an object store is read by whole groups, so a long video has several
GROUP_BYTES = 16 << 20  # of payload in one row group, if it has more than one row; large pictures share it among few
BATCH_BYTES = 64 << 20  # of payload held while rows are picked from groups of an older schema, which may be larger

# Pages end where their contents say, so that stores which keep equal pieces once keep most of a changed shard once
# (pyarrow from 21 on).
_CHUNKING = {
    name: True for name in ("use_content_defined_chunking",) if name in inspect.signature(pq.ParquetWriter).parameters
}

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
        self._path = path
        payloads = PAYLOADS[modality]
        others = [name for name in SCHEMAS[modality].names if name not in payloads]
        self._writer = pq.ParquetWriter(
            path,
            SCHEMAS[modality],
            compression={name: "none" if name in payloads else "zstd" for name in SCHEMAS[modality].names},
            use_dictionary=[name for name in ("video_id", "split") if name in others],
            write_statistics=[name for name in others if name not in ("labels", "checksum")],
            write_page_checksum=True,
            write_page_index=True,  # of use to who reads a few rows from afar
            **_CHUNKING,
        )

    def add(self, rows: VideoRows, *, video_id: str, split: str, labels: tuple[int, ...]) -> None:
        """Append one video's rows; a video without rows leaves no trace here, only in the ledger."""
        for start, end in group_bounds(rows):
            group = rows.between(start, end)
            sums = row_checksums(group, video_id, range(start, end))
            self._writer.write_table(rows_table(group, video_id=video_id, split=split, labels=labels, checksums=sums))

    def close(self, about: dict[str, object], ledger: Sequence[LedgerRow]) -> None:
        """Write the metadata and end the file."""
        metadata = {ABOUT_KEY: dump_about(about, self._path.name), LEDGER_KEY: dump_ledger(ledger)}
        self._writer.add_key_value_metadata(metadata | EMPTY_SEALS)
        self._writer.close()
        seal_footer(self._path)

    def abort(self) -> None:
        """Let go of the file without completing it; the caller removes it."""
        self._writer.close()


def group_bounds(rows: VideoRows) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of a video's row groups: at most `ROWS_PER_GROUP` rows and, from two on, `GROUP_BYTES`."""
    sizes = np.sum([[len(data) for data in column] for column in rows.payloads.values()], axis=0, dtype=np.int64)
    start, num_bytes = 0, 0
    for number, size in enumerate(sizes.tolist()):
        if number > start and (number - start == ROWS_PER_GROUP or num_bytes + size > GROUP_BYTES):
            yield start, number
            start, num_bytes = number, 0
        num_bytes += size
    if start < len(rows):
        yield start, len(rows)


class ParquetShard:
    """One shard, opened for reading."""

    def __init__(self, storage: Storage, name: str, modality: str) -> None:
        self.name = name
        self._modality, self._is_local = modality, storage.is_local
        with damage(name, "cannot be opened"), contextlib.ExitStack() as on_failure:
            self._source = source = storage.filesystem.open_input_file(storage.path(name))
            on_failure.callback(source.close)
            footer, sealed = read_footer(source, name)
            self._file = pq.ParquetFile(
                source, metadata=pq.read_metadata(pa.BufferReader(footer)), page_checksum_verification=True
            )
            self._metadata = self._file.metadata.metadata or {}
            self.about = self._load_about(sealed)
            on_failure.pop_all()

    def _load_about(self, sealed: bool) -> dict[str, object]:
        if ABOUT_KEY not in self._metadata or LEDGER_KEY not in self._metadata:
            raise ShardError(f"{self.name} is no shard of this program.", key=self.name)
        about = load_about(self._metadata[ABOUT_KEY], self.name)
        if about["modality"] != self._modality:
            raise ShardError(f"{self.name} holds {about['modality']}, not {self._modality}.", key=self.name)
        if about["schema_version"] > 1 and not (sealed and "checksum" in self._file.schema_arrow.names):
            raise ShardError(f"{self.name} has lost its checksums; it is damaged.", key=self.name)
        return about

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types as this file has them; those of schema 1 have no checksum."""
        return self._file.schema_arrow

    @cached_property
    def ledger(self) -> list[LedgerRow]:
        """What became of every video that belongs into this shard."""
        return load_ledger(self._metadata[LEDGER_KEY], self.name)

    @cached_property
    def _leaves(self) -> dict[str, int]:
        return leaves_of(self._file.metadata)

    @cached_property
    def _group_ends(self) -> np.ndarray:
        """The number of rows up to the end of each row group, int64 (G,)."""
        metadata = self._file.metadata
        counts = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        return np.fromiter(accumulate(counts), np.int64, len(counts))

    def entries(self) -> list[StoredEntry]:
        """Return where each stored video lies, from the file's footer alone."""
        entries, group, end = [], 0, 0
        with damage(self.name):
            for row in (one for one in self.ledger if one.num_stored):
                entries.append(StoredEntry(row.video_id, row.split, row.labels, group, row.num_stored))
                end += row.num_stored
                group = int(np.searchsorted(self._group_ends, end)) + 1
                if group > len(self._group_ends) or self._group_ends[group - 1] != end:
                    raise ShardError(f"{self.name}: no row group ends with {row.video_id}; it is damaged.")
        if group != len(self._group_ends):
            raise ShardError(f"{self.name} has {len(self._group_ends)} row groups; expected {group}.", key=self.name)
        return entries

    def read(self, entry: StoredEntry, rows: Sequence[int] | None = None) -> VideoRows:
        """Return the rows of one video, or those at the positions `rows`, in the order asked for.

        Raises InputError for positions that the video does not have, ShardError where the file is damaged.
        """
        positions = check_positions(rows, entry.video_id, entry.num_rows)
        with damage(self.name, f"cannot be read at {entry.video_id}"):
            found = self._pick(entry, np.unique(positions))
            if not found:
                return self._nothing(entry)
            return self._rows(entry, positions, [found[place] for place in positions.tolist()])

    def stored_labels(self, entry: StoredEntry) -> set[tuple[str, tuple[int, ...]]]:
        """Return the (split, labels) that the rows of one video say, which `read` takes from the ledger."""
        with damage(self.name, f"cannot be read at {entry.video_id}"):
            table = self._columns_of(entry, ["split", "labels"])
            rows = zip(table["split"].to_pylist(), table["labels"].to_pylist(), strict=True)
            return {(split, tuple(labels)) for split, labels in rows}

    def check_unread(self) -> None:
        """Raise ShardError where what only other programs read, the page index, is damaged."""
        with damage(self.name):
            check_page_index(self._source, self._file.metadata, self.name)

    def times(self, entry: StoredEntry) -> np.ndarray:
        """Return when each row of one video is shown, float64 (N,) seconds, without reading its pictures."""
        with damage(self.name, f"cannot be read at {entry.video_id}"):
            return self._columns_of(entry, ["pts_seconds"])["pts_seconds"].to_numpy()

    def last_pts_seconds(self, entry: StoredEntry) -> float:
        """Return the time of a video's last row, from the file's footer alone; NaN where it does not say."""
        with damage(self.name, f"cannot be read at {entry.video_id}"):
            group = self._file.metadata.row_group(self._groups_of(entry)[-1])
            statistics = group.column(self._leaves["pts_seconds"]).statistics
            return float(statistics.max) if statistics is not None and statistics.has_min_max else float("nan")

    def _groups_of(self, entry: StoredEntry) -> list[int]:
        """Return the row groups that a video lies in."""
        first = self._group_ends[entry.row_group - 1] if entry.row_group else 0
        last = int(np.searchsorted(self._group_ends, first + entry.num_rows))
        return list(range(entry.row_group, last + 1))

    def _columns_of(self, entry: StoredEntry, columns: list[str]) -> pa.Table:
        return self._file.read_row_groups(self._groups_of(entry), columns=columns, use_threads=False)

    def _pick(self, entry: StoredEntry, wanted: np.ndarray) -> dict[int, dict[str, object]]:
        """Return position -> row for the `wanted` positions (sorted), from the row groups they lie in alone."""
        first_row = self._group_ends[entry.row_group - 1] if entry.row_group else 0
        ends = self._group_ends[entry.row_group :] - first_row  # of this video's groups, in its own rows
        parts = []  # row group, its first row in the video, the rows wanted of it
        for group in np.unique(np.searchsorted(ends, wanted, side="right")).tolist():
            start = int(ends[group - 1]) if group else 0
            parts.append((entry.row_group + group, start, wanted[(wanted >= start) & (wanted < ends[group])] - start))
        if parts and self._walks:
            return self._walk_groups(parts)
        return {
            start + place: row
            for group, start, inside in parts
            for place, row in self._pick_from_group(entry, group, inside)
        }

    @cached_property
    def _walks(self) -> bool:
        """Whether single payloads are read: where that is quick, and where rows have the checksums that pages lose."""
        if not self._is_local or "checksum" not in self._columns:
            return False
        return all(can_be_walked(self._file, name) for name in PAYLOADS[self._modality])

    def _walk_groups(self, parts: list[tuple[int, int, np.ndarray]]) -> dict[int, dict[str, object]]:
        """Return position -> row for `parts`, see `_pick`, reading no other payloads.

        Whether they are rows of the video that is asked for, their checksums say.
        """
        payloads, groups = PAYLOADS[self._modality], [group for group, _, _ in parts]
        names = [name for name in self._columns if name not in payloads and name != "video_id"]
        table = self._file.read_row_groups(groups, columns=names, use_threads=False)
        ends = accumulate(self._file.metadata.row_group(group).num_rows for group in groups)
        places = np.concatenate([first + inside for first, (_, _, inside) in zip([0, *ends], parts, strict=False)])
        columns = [table[name].to_numpy()[places].tolist() for name in names]
        for name in payloads:
            chunks = (self._file.metadata.row_group(group).column(self._leaves[name]) for group in groups)
            found = (
                values_at(self._source, chunk, one.tolist()) for chunk, (_, _, one) in zip(chunks, parts, strict=True)
            )
            columns.append(list(chain.from_iterable(found)))
        positions = np.concatenate([start + inside for _, start, inside in parts]).tolist()
        rows = zip(*columns, strict=True)
        return {
            place: dict(zip((*names, *payloads), row, strict=True)) for place, row in zip(positions, rows, strict=True)
        }

    def _pick_from_group(
        self, entry: StoredEntry, group: int, wanted: np.ndarray
    ) -> Iterator[tuple[int, dict[str, object]]]:
        """Yield (row of the group, its columns) for the `wanted` rows (sorted), a batch of limited size at a time."""
        metadata, start = self._file.metadata.row_group(group), 0
        per_row = max(metadata.total_byte_size // max(metadata.num_rows, 1), 1)
        at_once = max(min(BATCH_BYTES // per_row, metadata.num_rows), 1)
        for batch in self._file.iter_batches(
            batch_size=at_once, row_groups=[group], columns=self._columns, use_threads=False
        ):
            inside = wanted[(wanted >= start) & (wanted < start + len(batch))]
            for place in inside.tolist():
                row = {name: batch.column(name)[place - start].as_py() for name in self._columns}
                if row["video_id"] != entry.video_id:
                    raise ShardError(f"{self.name} holds {row['video_id']!r} where {entry.video_id!r} is expected.")
                yield place, row
            start += len(batch)
            if start > wanted[-1]:
                return

    @cached_property
    def _columns(self) -> list[str]:
        """The columns that are read: those that the ledger does not already give."""
        return [name for name in self._file.schema_arrow.names if name not in ("split", "labels")]

    def _rows(self, entry: StoredEntry, positions: np.ndarray, found: list[dict[str, object]]) -> VideoRows:
        """Return rows that were picked, in order of `positions`, after comparing their checksums."""
        flow = self._modality == "flow"
        sizes = {(row["height"], row["width"], row["bound"] if flow else None) for row in found}
        if len(sizes) != 1:
            raise ShardError(f"{self.name}: {entry.video_id} has rows of {len(sizes)} sizes.", key=self.name)
        ((height, width, bound),) = sizes
        rows = VideoRows(
            modality=self._modality,
            frame_index=np.asarray([row["frame_index"] for row in found], np.int64),
            pts_seconds=np.asarray([row["pts_seconds"] for row in found], np.float64),
            height=height,
            width=width,
            payloads={name: [row[name] for row in found] for name in PAYLOADS[self._modality]},
            next_pts_seconds=np.asarray([row["next_pts_seconds"] for row in found], np.float64) if flow else None,
            bound=bound,
        )
        if "checksum" in self._columns:
            check_rows(rows, entry.video_id, positions, [row["checksum"] for row in found], self.name)
        return rows

    def _nothing(self, entry: StoredEntry) -> VideoRows:
        """Return no rows, of the size of the video's first one."""
        return self.read(entry, [0]).between(0, 0)

    def close(self) -> None:
        """Release the file."""
        self._file.close(force=True)
