"""The rows that all shards' ledgers or indexes have together, sorted by modality and identifier, however many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import Generic, TypeVar

import pyarrow as pa

from tdn_data.pipeline.shards.labels import renumbered
from tdn_data.pipeline.shards.ledger import IndexRow
from tdn_data.pipeline.shards.schema import Labelling, LedgerRow
from tdn_data.pipeline.shards.sorting import SortedRows

ROWS_AT_ONCE = 1 << 13  # as Python objects

Row = TypeVar("Row", IndexRow, LedgerRow)
_KEY, _OWN = "_key", "_labelling"  # columns beside those of the schema
_TUPLES = ("labels", "list_splits")


class GatheredRows(Generic[Row]):
    """Rows of `kind`, added shard by shard; iterated in order, as often as wanted.

    Each shard numbers the classes of its own list: `renumber` says, when all are known, which numbers count.
    """

    def __init__(self, kind: type[Row], schema: pa.Schema) -> None:
        self._kind, self._schema = kind, schema
        self._sorted = SortedRows(_KEY)
        self._waiting: list[tuple[Row, int]] = []
        self._labellings: Sequence[Labelling] = ()
        self._common: Labelling | None = None

    def add(self, rows: Iterable[Row], own: int = 0) -> None:
        """Take in rows whose labels are of the list number `own`."""
        self._waiting.extend((row, own) for row in rows)
        if len(self._waiting) >= ROWS_AT_ONCE:
            self._hand_on()

    def renumber(self, labellings: Sequence[Labelling], common: Labelling) -> None:
        """Give labels out as numbers of the list `common`; `labellings` are those that `add` was given."""
        self._labellings, self._common = labellings, common

    def tables(self) -> Iterator[pa.Table]:
        """Yield tables of the schema, in order; nothing where there is no row."""
        if self._waiting:
            self._hand_on()
        for table in self._sorted.tables():
            labels = self._labels(table)
            table = table.select(self._schema.names)
            place = self._schema.names.index("labels")
            yield table if labels is None else table.set_column(place, self._schema.field("labels"), labels)

    def __iter__(self) -> Iterator[Row]:
        for table in self.tables():
            yield from rows_of_table(table, self._kind)

    def close(self) -> None:
        """Remove what was put aside on the disk."""
        self._sorted.close()

    def _hand_on(self) -> None:
        rows = [row for row, _ in self._waiting]
        table = table_of_rows(rows, self._schema)
        keys = pa.array([f"{row.modality}\0{row.video_id}" for row in rows], pa.string())
        table = table.append_column(_KEY, keys)
        self._sorted.add(table.append_column(_OWN, pa.array([own for _, own in self._waiting], pa.int32())))
        self._waiting = []

    def _labels(self, table: pa.Table) -> pa.Array | None:
        """Return the labels as numbers of the common list; None where they are so already."""
        if all(own is self._common for own in self._labellings):
            return None
        owns = (self._labellings[own] for own in table[_OWN].to_pylist())
        labels = zip(table["labels"].to_pylist(), owns, strict=True)
        found = [renumbered(tuple(one), own, self._common) for one, own in labels]
        return pa.array([list(one) for one in found], self._schema.field("labels").type)


class RowsByShard(Generic[Row]):
    """Rows of `kind` by the shard that they name; shards are asked for in order of their names, each once."""

    def __init__(self, kind: type[Row], schema: pa.Schema, rows: Iterator[Row]) -> None:
        self._sorted = SortedRows("shard")
        while some := list(islice(rows, ROWS_AT_ONCE)):
            self._sorted.add(table_of_rows(some, schema))
        self.num_rows = self._sorted.num_rows
        ordered = (row for table in self._sorted.tables() for row in rows_of_table(table, kind))
        self._groups = groupby(ordered, key=attrgetter("shard"))
        self._next: tuple[str, list[Row]] | None = ("", [])

    def of(self, shard: str) -> list[Row]:
        """Return the rows of a shard, which comes after those asked for before."""
        while self._next is not None and self._next[0] < shard:
            name, rows = next(self._groups, (None, ()))
            self._next = None if name is None else (name, list(rows))
        return self._next[1] if self._next is not None and self._next[0] == shard else []

    def close(self) -> None:
        """Remove what was put aside on the disk."""
        self._sorted.close()


def table_of_rows(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Return rows as a table of the schema."""
    return pa.table({name: [getattr(row, name) for row in rows] for name in schema.names}, schema=schema)


def rows_of_table(table: pa.Table, kind: type[Row]) -> Iterator[Row]:
    """Yield a table's rows as `kind`."""
    for row in rows_as_dicts(table):
        yield row_of(row, kind)


def row_of(values: dict[str, object], kind: type[Row]) -> Row:
    """Return plain data by column as a row of `kind`."""
    return kind(**{name: tuple(value or ()) if name in _TUPLES else value for name, value in values.items()})


def rows_as_dicts(table: pa.Table) -> Iterator[dict[str, object]]:
    """Yield a table's rows as plain data, few of them in memory at once."""
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        yield from batch.to_pylist()
