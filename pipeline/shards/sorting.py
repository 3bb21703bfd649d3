"""Rows of a table in order of one of its columns, however many there are.

Rows are taken in as they come. Whenever a run of them is full it is sorted and put aside in a temporary file; in the
end the runs are merged, a few rows of each at a time:

    run 0   a c f | k m x      what is in memory: a c f and b d e. All rows up to e, the smaller of the two last ones,
    run 1   b d e | g h y      are in order and given out; f stays, and run 1 is read on.

So memory holds one run, or one batch of every run, and never the table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

RUN_ROWS = 1 << 18
BATCH_ROWS = 1 << 12  # of each run in memory while they are merged


class SortedRows:
    """A table sorted by the text column `key`; rows of one key stay as they came in. `close` removes its files."""

    def __init__(self, key: str, *, run_rows: int | None = None) -> None:
        self._key, self._run_rows = key, run_rows or RUN_ROWS
        self._waiting: list[pa.Table] = []
        self._num_waiting = 0
        self._folder: tempfile.TemporaryDirectory | None = None
        self._runs: list[Path] = []
        self.num_rows = 0

    def add(self, table: pa.Table) -> None:
        """Take in rows; all tables have one schema."""
        self._waiting.append(table)
        self._num_waiting += len(table)
        self.num_rows += len(table)
        if self._num_waiting >= self._run_rows:
            self._put_aside()

    @property
    def is_on_disk(self) -> bool:
        """Whether there are so many rows that they do not lie in memory."""
        return bool(self._runs)

    def tables(self) -> Iterator[pa.Table]:
        """Yield all rows in order, piece by piece; nothing where none came in. May be called again."""
        if not self._runs:
            if self._waiting:
                yield self._sorted()
            return
        if self._waiting:
            self._put_aside()
        yield from self._merged()

    def close(self) -> None:
        """Remove what was put aside."""
        self._waiting.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def _sorted(self) -> pa.Table:
        table = pa.concat_tables(self._waiting).combine_chunks()
        table = table.take(pc.sort_indices(table[self._key]))
        self._waiting, self._num_waiting = [table], len(table)
        return table

    def _put_aside(self) -> None:
        table = self._sorted()
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="tdn-data-")
        self._runs.append(Path(self._folder.name) / f"{len(self._runs)}.arrow")
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(str(self._runs[-1]), table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=BATCH_ROWS)
        self._waiting, self._num_waiting = [], 0

    def _merged(self) -> Iterator[pa.Table]:
        with ExitStack() as opened:
            sources = [opened.enter_context(pa.OSFile(str(run))) for run in self._runs]
            runs = [_Run(pa.ipc.open_stream(source), self._key) for source in sources]
            while runs := [run for run in runs if run.read_on()]:
                end = min(run.last for run in runs)
                table = pa.concat_tables([run.up_to(end) for run in runs]).combine_chunks()
                yield table.take(pc.sort_indices(table[self._key]))


class _Run:
    """A sorted run that is read batch by batch."""

    def __init__(self, reader: pa.RecordBatchReader, key: str) -> None:
        self._reader, self._key = reader, key
        self._batch: pa.Table | None = None
        self.last = ""

    def read_on(self) -> bool:
        """See that there are rows in memory; return whether there are any left."""
        while self._batch is None or not len(self._batch):
            try:
                self._batch = pa.table(self._reader.read_next_batch())
            except StopIteration:
                return False
            self.last = self._batch[self._key][-1].as_py().encode()
        return True

    def up_to(self, end: bytes) -> pa.Table:
        """Take out the rows whose key is `end` or lies before it."""
        column = self._batch[self._key].cast(pa.binary())
        count = pc.sum(pc.less_equal(column, end)).as_py() or 0
        taken, self._batch = self._batch.slice(0, count), self._batch.slice(count)
        return taken
