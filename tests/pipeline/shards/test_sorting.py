"""Rows are sorted in pieces: the same order and the same bytes as all at once, whatever the pieces."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdn_data.pipeline.shards import ledger as ledger_module
from tdn_data.pipeline.shards import sorting
from tdn_data.pipeline.shards.counts import LedgerCounts
from tdn_data.pipeline.shards.gathered import GatheredRows, RowsByShard, table_of_rows
from tdn_data.pipeline.shards.ledger import write_table
from tdn_data.pipeline.shards.schema import LEDGER_SCHEMA, SPLITS_SCHEMA, LedgerRow

NAMES = [f"{letter}{number}" for letter in ("é", "z", "a/b", "\U0001f600", "Z") for number in range(40)]


def rows_of(names):
    return [
        LedgerRow(name, modality, "p", "train", (1,), "failed" if name.endswith("7") else "ok", shard=name[-1],
                  list_splits=("train", None) if name.startswith("z") else ())
        for modality in ("rgb", "flow")
        for name in names
    ]  # fmt: skip


def in_pieces(table, size):
    return (table.slice(start, size) for start in range(0, len(table), size))


@pytest.mark.parametrize(("run_rows", "batch_rows"), [(1000, 1 << 12), (64, 7), (7, 1), (1, 3)])
def test_runs_on_disk_are_merged_into_one_order(monkeypatch, run_rows, batch_rows):
    monkeypatch.setattr(sorting, "BATCH_ROWS", batch_rows)
    names = [*NAMES, *NAMES[:50]]
    random.Random(0).shuffle(names)
    table = pa.table({"name": names, "came": range(len(names))})
    rows = sorting.SortedRows("name", run_rows=run_rows)
    for piece in in_pieces(table, 9):
        rows.add(piece)
    for _ in range(2):  # it may be read again
        found = pa.concat_tables(rows.tables())
        assert found["name"].to_pylist() == sorted(names)
        assert sorted(found["came"].to_pylist()) == list(range(len(names)))
    rows.close()
    assert rows.num_rows == len(names)


def test_nothing_is_sorted_to_nothing():
    assert list(sorting.SortedRows("name").tables()) == []


@pytest.mark.parametrize("num_rows", [0, 1, 10, 20, 25])
def test_a_table_in_pieces_has_the_bytes_of_one_written_at_once(tmp_path, monkeypatch, num_rows):
    monkeypatch.setattr(ledger_module, "ROW_GROUP_SIZE", 10)
    table = table_of_rows(rows_of(NAMES)[:num_rows], LEDGER_SCHEMA)
    pq.write_table(table, tmp_path / "whole", compression="zstd", write_page_checksum=True, row_group_size=10)
    for size in (1, 3, 10, 100):
        assert write_table(in_pieces(table, size), LEDGER_SCHEMA, tmp_path / "pieces") == num_rows
        assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_ledger_is_sorted_counted_and_found_again_by_shard():
    rows = rows_of(NAMES)
    gathered, counts = GatheredRows(LedgerRow, LEDGER_SCHEMA), LedgerCounts(["rgb", "flow"])
    gathered.add(random.Random(0).sample(rows, len(rows)))
    assert list(gathered) == sorted(rows, key=lambda row: (row.modality, row.video_id))
    table = pa.concat_tables(counts.counted(gathered.tables()))
    assert len(table) == len(rows) and counts.num_videos() == len(NAMES)
    assert counts.status == {name: {"ok": 180, "partial": 0, "failed": 20} for name in ("rgb", "flow")}
    splits = pa.concat_tables(counts.splits())
    assert splits.schema == SPLITS_SCHEMA and counts.have_splits
    wanted = [name for name in sorted(NAMES) if name.startswith("z")]
    assert splits.to_pylist() == [{"video_id": name, "list_split": 1, "split": "train"} for name in wanted]
    by_shard = RowsByShard(LedgerRow, LEDGER_SCHEMA, iter(rows))
    assert by_shard.of("1") == [row for row in rows if row.shard == "1"]
    assert by_shard.of("5.5") == [] and by_shard.of("9") == [row for row in rows if row.shard == "9"]
    assert by_shard.of("x") == [] and by_shard.num_rows == len(rows)


def test_videos_of_one_modality_count_once_each():
    gathered, counts = GatheredRows(LedgerRow, LEDGER_SCHEMA), LedgerCounts(["rgb"])
    gathered.add(row for row in [*rows_of(NAMES), *rows_of(NAMES[:3])] if row.modality == "rgb")
    assert len(pa.concat_tables(counts.counted(gathered.tables()))) == len(NAMES) + 3
    assert counts.num_videos() == len(NAMES)
