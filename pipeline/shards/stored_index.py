"""One modality's index in memory: some sixty bytes a video, looked up by halving, as the index is sorted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tdn_data.pipeline.shards.gathered import row_of, rows_of_table
from tdn_data.pipeline.shards.ledger import IndexRow
from tdn_data.pipeline.shards.schema import INDEX_SCHEMA

T = TypeVar("T")

_REPEATING = ("modality", "split", "shard")


class StoredIndex(Mapping[str, IndexRow]):
    """The rows of one modality by identifier, in order of identifier; `tables` are index.parquet's pieces."""

    def __init__(self, tables: Iterable[pa.Table], modality: str) -> None:
        parts = [_compact(table.filter(pc.equal(table["modality"], modality))) for table in tables]
        parts = parts or [_compact(INDEX_SCHEMA.empty_table())]
        self._table = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
        self._columns = {name: _only_chunk(self._table[name]) for name in self._table.schema.names}
        self._video_ids = self._columns["video_id"]
        self._by_shard: tuple[np.ndarray, np.ndarray, list[str]] | None = None

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[str]:
        return (one.as_py() for one in self._video_ids)

    def __contains__(self, video_id: object) -> bool:
        return isinstance(video_id, str) and self._place(video_id) is not None

    def __getitem__(self, video_id: str) -> IndexRow:
        place = self._place(video_id)
        if place is None:
            raise KeyError(video_id)
        return self.at(place)

    def at(self, place: int) -> IndexRow:
        """Return the row at a place in the order."""
        row = {name: column[place].as_py() for name, column in self._columns.items()}
        return row_of(row, IndexRow)

    def rows(self) -> Iterator[IndexRow]:
        """Yield all rows, in order."""
        return rows_of_table(self._table, IndexRow)

    def of_shard(self, shard: str) -> Iterator[IndexRow]:
        """Yield the rows that lie in a shard."""
        if self._by_shard is None:
            column = self._columns["shard"]
            codes = column.indices.to_numpy()
            order = np.argsort(codes, kind="stable").astype(np.uint32)
            self._by_shard = order, codes[order], column.dictionary.to_pylist()
        order, codes, names = self._by_shard
        code = names.index(shard)
        start, end = np.searchsorted(codes, [code, code + 1])
        return rows_of_table(self._table.take(order[start:end]), IndexRow)

    def _place(self, video_id: str) -> int | None:
        place = bisect_left(_Texts(self._video_ids), video_id)
        return place if place < len(self) and self._video_ids[place].as_py() == video_id else None


def _compact(table: pa.Table) -> pa.Table:
    """Return an index's rows with the texts that repeat held once."""
    for number, name in enumerate(table.schema.names):
        if name in _REPEATING:
            table = table.set_column(number, name, table[name].dictionary_encode())
        elif name == "video_id":
            table = table.set_column(number, name, table[name].cast(pa.large_string()))
    return table


def _only_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column of a table whose chunks are combined, without a copy."""
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


class _Texts(Sequence[str]):
    """An Arrow array of texts, as `bisect` wants it."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, place: int) -> str:
        return self._array[place].as_py()


class Lazily(Sequence[T], Generic[T]):
    """What `make` makes of the rows of an index, made when it is asked for; equal to a sequence of the same."""

    def __init__(self, index: StoredIndex, make: Callable[[IndexRow], T]) -> None:
        self._index, self._make = index, make

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[T]:
        return map(self._make, self._index.rows())

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[T, ...]: ...
    def __getitem__(self, place: int | slice) -> T | tuple[T, ...]:
        places = range(len(self))[place]  # raises IndexError
        if isinstance(places, range):
            return tuple(self._make(self._index.at(one)) for one in places)
        return self._make(self._index.at(places))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
