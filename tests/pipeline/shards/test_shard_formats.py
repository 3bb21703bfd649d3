"""The same truths for both formats: what is written comes back, whole or row by row."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.shards import lmdb, parquet
from tdn_data.pipeline.shards.parquet import ROWS_PER_GROUP
from tdn_data.pipeline.shards.reader import decode_rows
from tdn_data.pipeline.shards.schema import PAYLOADS, SCHEMA_VERSION, LedgerRow, VideoRows, parse_shard_name, shard_name
from tdn_data.pipeline.shards.shard_formats import open_shard, shard_writer
from tdn_data.pipeline.shards.storage import Storage

ABOUT = {
    "schema_version": SCHEMA_VERSION,
    "dataset": "folder",
    "class_names": ["a", "b", "c", "d"],
    "multi_label": False,
    "parameters_digest": "p",
    "plan_digest": "d",
}


def make_rows(modality, count, *, seed=0):
    generator = np.random.default_rng(seed)
    payloads = {
        name: [generator.bytes(int(generator.integers(1, 200))) for _ in range(count)] for name in PAYLOADS[modality]
    }
    times = np.arange(count) / 7
    flow = modality == "flow"
    return VideoRows(
        modality, np.arange(count) * 3, times, 4, 5, payloads, times + 0.1 if flow else None, 20.0 if flow else None
    )


def write(folder, modality, extension, counts):
    name = shard_name(modality, 3, 8, extension)
    writer = shard_writer(folder / name, modality=modality, extension=extension)
    ledger = []
    for number, count in enumerate(counts):
        rows = make_rows(modality, count, seed=number)
        writer.add(rows, video_id=f"c/v {number}", split="train", labels=(number,))
        status = "ok" if count else "failed"
        ledger.append(LedgerRow(f"c/v {number}", modality, "p", "train", (number,), status, num_stored=count))
    writer.close({**ABOUT, "modality": modality, "parameters": {"codec": "raw"}}, ledger)
    return name, ledger


@pytest.mark.parametrize("extension", ["parquet", "lmdb"])
@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_rows_come_back_whole_and_by_position(tmp_path, modality, extension):
    counts = [5, 0, ROWS_PER_GROUP + 7, 1]
    name, ledger = write(tmp_path, modality, extension, counts)
    shard = open_shard(Storage(tmp_path), name)
    assert shard.ledger == ledger
    assert shard.about["plan_digest"] == "d"
    entries = shard.entries()
    assert [(entry.video_id, entry.num_rows) for entry in entries] == [("c/v 0", 5), ("c/v 2", 135), ("c/v 3", 1)]
    expected = make_rows(modality, counts[2], seed=2)
    everything = shard.read(entries[1])
    assert everything.payloads == expected.payloads
    picked = [ROWS_PER_GROUP + 2, 0, 3, 0]
    some = shard.read(entries[1], picked)
    for column in PAYLOADS[modality]:
        assert some.payloads[column] == [expected.payloads[column][row] for row in picked]
    np.testing.assert_array_equal(some.frame_index, expected.frame_index[picked])
    np.testing.assert_array_equal(some.pts_seconds, expected.pts_seconds[picked])
    if modality == "flow":
        np.testing.assert_array_equal(some.next_pts_seconds, expected.next_pts_seconds[picked])
        assert some.bound == 20.0
    shard.close()


@pytest.mark.parametrize("extension", ["parquet", "lmdb"])
def test_a_shard_may_be_open_twice_and_one_be_closed(tmp_path, extension):
    name, ledger = write(tmp_path, "rgb", extension, [5])
    first, second = (open_shard(Storage(tmp_path), name) for _ in range(2))
    first.close()
    assert second.read(second.entries()[0]).payloads == make_rows("rgb", 5).payloads
    second.close()
    (tmp_path / name).unlink()
    _, longer = write(tmp_path, "rgb", extension, [5, 7])  # a new file of that name is not taken for the old one
    assert open_shard(Storage(tmp_path), name).ledger == longer != ledger


@pytest.mark.parametrize("extension", ["parquet", "lmdb"])
def test_the_same_rows_give_the_same_bytes(tmp_path, extension):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        name, _ = write(tmp_path / folder, "rgb", extension, [5, 0, 130])
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("extension", ["parquet", "lmdb"])
def test_a_damaged_shard_is_named(tmp_path, extension):
    name, _ = write(tmp_path, "rgb", extension, [5])
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 3])
    with pytest.raises(ShardError, match=name):
        open_shard(Storage(tmp_path), name)


def test_a_flipped_bit_in_a_parquet_image_is_found_by_its_checksum(tmp_path):
    name, _ = write(tmp_path, "rgb", "parquet", [5])
    content = bytearray((tmp_path / name).read_bytes())
    place = content.find(make_rows("rgb", 5).payloads["image"][2])
    content[place] ^= 1
    (tmp_path / name).write_bytes(content)
    shard = open_shard(Storage(tmp_path), name)
    with pytest.raises(ShardError, match=name):
        shard.read(shard.entries()[0])


def test_a_parquet_shard_has_page_indexes_and_damage_to_them_is_found_though_nothing_here_reads_them(tmp_path):
    name, _ = write(tmp_path, "rgb", "parquet", [300, 5])
    metadata, content = pq.read_metadata(tmp_path / name), bytearray((tmp_path / name).read_bytes())
    chunks = [metadata.row_group(group).column(leaf) for group in range(4) for leaf in range(metadata.num_columns)]
    assert all(one.has_offset_index for one in chunks) and any(one.has_column_index for one in chunks)
    shard = open_shard(Storage(tmp_path), name)
    shard.check_unread()
    shard.close()
    content[len(content) - 8 - int.from_bytes(content[-8:-4], "little") - 9] ^= 1
    (tmp_path / name).write_bytes(content)
    damaged = open_shard(Storage(tmp_path), name)
    assert damaged.read(damaged.entries()[0]).payloads == make_rows("rgb", 300).payloads
    with pytest.raises(ShardError, match="damaged page index"):
        damaged.check_unread()


def test_lmdb_refuses_object_stores(tmp_path):
    with pytest.raises(InputError, match="LMDB shards are read from a local disk only"):
        open_shard(Storage("s3://bucket/out"), "frames-00000-of-00008.lmdb")


def test_shard_names_are_parsed_back():
    assert parse_shard_name(shard_name("rgb", 7, 120, "parquet")) == ("rgb", 7, 120, "parquet")
    assert shard_name("flow", 7, 120, "lmdb") == "flow-00007-of-00120.lmdb"
    assert parse_shard_name(".frames-00007-of-00120.parquet.77.tmp") is None
    assert parse_shard_name("index.parquet") is None


@pytest.mark.parametrize("extension", ["parquet", "lmdb"])
@pytest.mark.parametrize("rows", [[-1], [5], [0, 99], [1.5], [[0]], ["1"], [True]])
def test_rows_that_a_video_does_not_have_are_refused(tmp_path, extension, rows):
    name, _ = write(tmp_path, "rgb", extension, [5])
    shard = open_shard(Storage(tmp_path), name)
    with pytest.raises(InputError, match="it has 5 rows, 0 to 4|give a list of whole numbers"):
        shard.read(shard.entries()[0], rows)


@pytest.mark.parametrize("extension", ["parquet", "lmdb"])
@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_no_rows_are_no_rows_of_the_videos_size(tmp_path, extension, modality):
    name, _ = write(tmp_path, modality, extension, [5])
    shard = open_shard(Storage(tmp_path), name)
    nothing = decode_rows(shard.read(shard.entries()[0], []), "raw")
    assert nothing.data.shape == (0, 4, 5, 3 if modality == "rgb" else 2) and nothing.pts_seconds.shape == (0,)


def test_row_groups_hold_a_limited_number_of_bytes_and_only_those_asked_for_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "GROUP_BYTES", 400)
    monkeypatch.setattr(parquet.ParquetShard, "_walks", False)  # as in an object store
    counts = [40, 30]
    name, _ = write(tmp_path, "rgb", "parquet", counts)
    shard = open_shard(Storage(tmp_path), name)
    metadata = shard._file.metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    assert len(groups) > 15 and sum(group.num_rows for group in groups) == 70
    sizes = [len(data) for data in make_rows("rgb", 40).payloads["image"]]
    assert max(sizes) < 400 and all(group.num_rows < 20 for group in groups)
    read, iter_batches = [], pq.ParquetFile.iter_batches

    def noting(self, *arguments, **options):
        read.extend(options["row_groups"])
        return iter_batches(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noting)
    entry, expected = shard.entries()[1], make_rows("rgb", 30, seed=1)
    for picked in ([29, 0], [3, 29, 3, 17], [12]):  # of row groups that are not neighbours, in any order
        read.clear()
        found = shard.read(entry, picked)
        assert found.payloads["image"] == [expected.payloads["image"][row] for row in picked]
        assert found.pts_seconds.tolist() == expected.pts_seconds[picked].tolist()
        assert len(read) == len(set(read)) <= len(set(picked))
    assert shard.read(entry).payloads == expected.payloads


def test_a_large_group_of_an_older_schema_is_read_a_few_rows_at_a_time(tmp_path, monkeypatch):
    name, _ = write(tmp_path, "rgb", "parquet", [100])
    monkeypatch.setattr(parquet, "BATCH_BYTES", 500)
    monkeypatch.setattr(parquet.ParquetShard, "_walks", False)  # as an older schema is read
    sizes, iter_batches = [], pq.ParquetFile.iter_batches

    def noting(self, *arguments, **options):
        for batch in iter_batches(self, *arguments, **options):
            sizes.append(len(batch))
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noting)
    shard, expected = open_shard(Storage(tmp_path), name), make_rows("rgb", 100)
    assert shard.read(shard.entries()[0], [41, 7]).payloads["image"] == [
        expected.payloads["image"][row] for row in (41, 7)
    ]
    assert max(sizes) < 10 and sum(sizes) < 60  # and no further than the last row asked for
    assert shard.read(shard.entries()[0]).payloads == expected.payloads


@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_of_a_local_parquet_shard_only_the_payloads_asked_for_are_read(tmp_path, monkeypatch, modality):
    name, _ = write(tmp_path, modality, "parquet", [3, 300, 5])
    shard, expected = open_shard(Storage(tmp_path), name), make_rows(modality, 300, seed=1)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    whole, read_row_groups = [], pq.ParquetFile.read_row_groups

    def noting(self, groups, *, columns, **options):
        whole.extend(columns)
        return read_row_groups(self, groups, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", noting)
    for picked in ([299, 0, 128, 0, 127], [7], list(range(300))):
        found = shard.read(shard.entries()[1], picked)
        for column in PAYLOADS[modality]:
            assert found.payloads[column] == [expected.payloads[column][row] for row in picked]
        assert found.pts_seconds.tolist() == expected.pts_seconds[picked].tolist()
    assert not set(PAYLOADS[modality]) & set(whole)


def test_an_lmdb_shard_keeps_the_times_of_few_videos_and_reads_the_others_again(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb, "KEPT_ROWS", 50)
    name, _ = write(tmp_path, "rgb", "lmdb", [30, 60, 20, 30])
    shard = open_shard(Storage(tmp_path), name)
    for number in (0, 1, 2, 3, 0, 2):
        count = (30, 60, 20, 30)[number]
        expected = make_rows("rgb", count, seed=number)
        assert shard.read(shard.entries()[number], [count - 1]).payloads["image"] == expected.payloads["image"][-1:]
        assert shard.times(shard.entries()[number]).tolist() == expected.pts_seconds.tolist()
        assert sum(map(len, shard._kept.values())) <= 50
    assert list(shard._kept) == ["c/v 0", "c/v 2"]


@pytest.mark.parametrize("extension", ["parquet", "lmdb"])
def test_identifiers_of_any_length_are_stored_and_told_apart(tmp_path, extension):
    name, long = shard_name("rgb", 0, 8, extension), "ordner/" + "ä" * 400
    names = [long + "1", long + "2", "x" * 500, "x" * 501, "a/about", "a", ".videos/a", ".about"]
    writer, ledger = shard_writer(tmp_path / name, modality="rgb", extension=extension), []
    for number, video_id in enumerate(names):
        writer.add(make_rows("rgb", 3, seed=number), video_id=video_id, split="train", labels=(0,))
        ledger.append(LedgerRow(video_id, "rgb", "p", "train", (0,), "ok", num_stored=3))
    writer.close({**ABOUT, "modality": "rgb", "parameters": {"codec": "raw"}}, ledger)
    shard = open_shard(Storage(tmp_path), name)
    for number, entry in enumerate(shard.entries()):
        assert shard.read(entry).payloads == make_rows("rgb", 3, seed=number).payloads


def test_an_lmdb_shard_is_opened_while_other_threads_let_go_of_it(tmp_path):
    name, _ = write(tmp_path, "rgb", "lmdb", [3])

    def open_often(_):
        return sum(len(open_shard(Storage(tmp_path), name).ledger) for _ in range(200))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(open_often, range(4)))) == 1


def write_large(folder, num_bytes):
    """Write an LMDB shard of one video, 40 pictures of so many bytes each; return its name and its rows."""
    name, rows = shard_name("rgb", 0, 8, "lmdb"), make_rows("rgb", 40)
    rows = replace(rows, payloads={"image": [bytes([number]) * num_bytes for number in range(40)]})
    writer = shard_writer(folder / name, modality="rgb", extension="lmdb")
    writer.add(rows, video_id="v", split="train", labels=(0,))
    ledger = [LedgerRow("v", "rgb", "p", "train", (0,), "ok", num_stored=40)]
    writer.close({**ABOUT, "modality": "rgb", "parameters": {"codec": "raw"}}, ledger)
    return name, rows


def test_an_lmdb_map_is_as_large_as_what_is_stored(tmp_path):
    name, rows = write_large(tmp_path, 100_000)
    shard = open_shard(Storage(tmp_path), name)
    assert shard._file.environment.info()["map_size"] <= (tmp_path / name).stat().st_size < 5_000_000
    assert shard.read(shard.entries()[0]).payloads == rows.payloads


LIMITED = """
import resource, sys
from pathlib import Path
from tdn_data.pipeline.errors import StorageError
from tdn_data.pipeline.shards import lmdb, parquet
from tdn_data.pipeline.shards.shard_formats import open_shard, shard_writer
from tdn_data.pipeline.shards.storage import Storage
folder, name, spare = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + spare, used + spare))
try:
    print(len(open_shard(Storage(folder), name).ledger))
except StorageError as error:
    print(error.message)
"""


@pytest.mark.parametrize(("spare", "words"), [(64 << 20, "1"), (1 << 20, "raise the limit (ulimit -v unlimited)")])
def test_a_limited_address_space_is_enough_or_said(tmp_path, spare, words):
    name, _ = write_large(tmp_path, 200_000)
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path, name, str(spare)], capture_output=True, text=True, check=True
    )
    assert words in result.stdout
