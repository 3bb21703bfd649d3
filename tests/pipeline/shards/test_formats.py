"""The same truths for both formats: what is written comes back, whole or row by row."""

import numpy as np
import pytest

from pipeline.errors import InputError, ShardError
from pipeline.shards.formats import open_shard, shard_writer
from pipeline.shards.parquet import ROWS_PER_GROUP
from pipeline.shards.schema import PAYLOADS, SCHEMA_VERSION, LedgerRow, VideoRows, parse_shard_name, shard_name
from pipeline.storage import Storage

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


def test_lmdb_refuses_object_stores(tmp_path):
    with pytest.raises(InputError, match="LMDB shards are read from a local disk only"):
        open_shard(Storage("s3://bucket/out"), "frames-00000-of-00008.lmdb")


def test_shard_names_are_parsed_back():
    assert parse_shard_name(shard_name("rgb", 7, 120, "parquet")) == ("rgb", 7, 120, "parquet")
    assert shard_name("flow", 7, 120, "lmdb") == "flow-00007-of-00120.lmdb"
    assert parse_shard_name(".frames-00007-of-00120.parquet.77.tmp") is None
    assert parse_shard_name("index.parquet") is None
