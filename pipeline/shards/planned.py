"""The videos of a list in order of their shards, on the disk where they are many: the driver holds one shard's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from tdn_data.pipeline.datasets.manifest import MANIFEST_SCHEMA, VideoRecord
from tdn_data.pipeline.datasets.stored_records import LazyRecords, records_of
from tdn_data.pipeline.shards.placement import shard_number
from tdn_data.pipeline.shards.sorting import SortedRows

ROWS_AT_ONCE = 1 << 13
SHARDS_KEPT = 64  # whose videos are looked up without being read again

_KEY = "_key"


class PlannedVideos:
    """The records of a list by their shard among `count`, in order of identifier."""

    def __init__(self, records: Iterable[VideoRecord], count: int) -> None:
        self.count = count
        self._sizes = np.zeros(count, np.int64)
        rows, records = SortedRows(_KEY), iter(records)
        while some := list(islice(records, ROWS_AT_ONCE)):
            numbers = [shard_number(record.video_id, count) for record in some]
            self._sizes += np.bincount(numbers, minlength=count)
            rows.add(_table(some, numbers))
        self._ends = np.cumsum(self._sizes)
        self._rows = _OnDisk(rows) if rows.is_on_disk else _InMemory(rows)
        rows.close()
        self._by_video = lru_cache(SHARDS_KEPT)(self._of)

    def of(self, number: int) -> Sequence[VideoRecord]:
        """Return the records of a shard, read when they are asked for."""
        end = int(self._ends[number])
        return LazyRecords(self._rows.read, end - int(self._sizes[number]), end)

    def get(self, video_id: str) -> VideoRecord | None:
        """Return a video's record, None for one that is not listed; quick where those asked for are of few shards."""
        return self._by_video(shard_number(video_id, self.count)).get(video_id)

    def _of(self, number: int) -> dict[str, VideoRecord]:
        return {record.video_id: record for record in self.of(number)}


def _table(records: list[VideoRecord], numbers: list[int]) -> pa.Table:
    columns = {name: [getattr(record, name) for record in records] for name in MANIFEST_SCHEMA.names}
    keys = [f"{number:09d}\0{record.video_id}" for number, record in zip(numbers, records, strict=True)]
    return pa.table(columns, schema=MANIFEST_SCHEMA).append_column(_KEY, pa.array(keys, pa.string()))


class _InMemory:
    """Sorted rows as a table."""

    def __init__(self, rows: SortedRows) -> None:
        tables = [table.drop_columns(_KEY) for table in rows.tables()]
        self._table = pa.concat_tables(tables) if tables else MANIFEST_SCHEMA.empty_table()

    def read(self, start: int, stop: int) -> Iterator[VideoRecord]:
        """Yield records from one place to another."""
        return records_of(self._table.slice(start, stop - start))


class _OnDisk:
    """Sorted rows in a temporary file, of which a few batches are in memory."""

    def __init__(self, rows: SortedRows) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tdn-data-")
        path = Path(self._folder.name) / "videos.arrow"
        ends = [0]
        with pa.ipc.new_file(str(path), MANIFEST_SCHEMA, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            for table in rows.tables():
                for batch in table.drop_columns(_KEY).to_batches(max_chunksize=ROWS_AT_ONCE):
                    writer.write_batch(batch)
                    ends.append(ends[-1] + len(batch))
        self._ends = np.asarray(ends)
        self._file = pa.ipc.open_file(pa.OSFile(str(path)))
        self._batch = lru_cache(4)(self._file.get_batch)

    def read(self, start: int, stop: int) -> Iterator[VideoRecord]:
        """Yield records from one place to another."""
        while start < stop:
            number = int(np.searchsorted(self._ends, start, side="right")) - 1
            end = min(stop, int(self._ends[number + 1]))
            yield from records_of(self._batch(number).slice(start - int(self._ends[number]), end - start))
            start = end
