"""Records of a manifest that lie in a file or a table: made when they are asked for, some thousands at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import pyarrow as pa
import pyarrow.parquet as pq

from tdn_data.pipeline.datasets.manifest import MANIFEST_SCHEMA, VideoRecord
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import open_regular, shown_path

BATCH_ROWS = 1 << 14


class LazyRecords(Sequence[VideoRecord]):
    """Records that `read` yields from a place to, not including, another; equal to a tuple of the same, pickled as one.

    `read` is called with the two places.
    """

    def __init__(self, read: Callable[[int, int], Iterator[VideoRecord]], start: int, stop: int) -> None:
        self._read, self._start, self._stop = read, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[VideoRecord]:
        return self._read(self._start, self._stop)

    @overload
    def __getitem__(self, place: int) -> VideoRecord: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[VideoRecord]: ...
    def __getitem__(self, place: int | slice) -> VideoRecord | Sequence[VideoRecord]:
        places = range(self._start, self._stop)[place]  # raises IndexError
        if isinstance(places, range) and places.step == 1:
            return LazyRecords(self._read, places.start, max(places.start, places.stop))
        if isinstance(places, range):
            return tuple(self[one - self._start] for one in places)
        return next(self._read(places, places + 1))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple:
        return tuple, (tuple(self),)


@dataclass(frozen=True)
class ManifestRows:
    """The rows of a manifest file that stays as it was when it was first looked at."""

    path: str
    state: tuple[int, int, int]

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> ManifestRows:
        """Return the rows of a file as it is now."""
        return cls(os.fspath(path), _state(path))

    def read(self, start: int, stop: int) -> Iterator[VideoRecord]:
        """Yield records from one place to another; raise InputError where the file has changed."""
        if start >= stop:
            return
        with open_regular(self.path, what="manifest") as opened:
            if _state(self.path) != self.state:
                raise InputError(
                    f"{shown_path(self.path)} has changed while it was read; run the command again.", path=self.path
                )
            with pq.ParquetFile(opened) as file:
                groups, skipped = _groups_from(file, start)
                columns = [name for name in MANIFEST_SCHEMA.names if name in file.schema_arrow.names]
                place = skipped
                for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns):
                    inside = batch.slice(max(start - place, 0), max(stop - max(start, place), 0))
                    yield from records_of(inside)
                    place += len(batch)
                    if place >= stop:
                        return


def _state(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def _groups_from(file: pq.ParquetFile, start: int) -> tuple[list[int], int]:
    """Return the row groups from that on in which row `start` lies, and how many rows come before them."""
    skipped, first = 0, 0
    while skipped + file.metadata.row_group(first).num_rows <= start:
        skipped += file.metadata.row_group(first).num_rows
        first += 1
    return list(range(first, file.num_row_groups)), skipped


def records_of(rows: pa.Table | pa.RecordBatch) -> Iterator[VideoRecord]:
    """Yield the records of a manifest's rows, which were checked before."""
    for row in rows.to_pylist():
        splits = tuple(row.pop("list_splits", None) or ())
        yield VideoRecord(**(row | {"labels": tuple(row["labels"]), "list_splits": splits}))
