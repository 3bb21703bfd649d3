"""Single values of a Parquet column, against the column as pyarrow reads it."""

import contextlib
import gc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from tdn_data.pipeline.shards.shard_formats import open_shard
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.shards.values import can_be_walked, values_at

PLAIN = {"compression": "none", "use_dictionary": False, "write_statistics": False}


def written(path, values, *, nullable=True, **options):
    field = pa.field("image", pa.binary(), nullable=nullable)
    pq.write_table(pa.table({"image": values}, schema=pa.schema([field])), path, **{**PLAIN, **options})
    return pq.ParquetFile(path)


def values(count):
    generator = np.random.default_rng(count)
    return [generator.bytes(int(generator.integers(0, 300))) for _ in range(count)]


class Counted:
    """A file that counts the bytes which are read of it."""

    def __init__(self, path):
        self.num_bytes, self._source = 0, fs.LocalFileSystem().open_input_file(str(path))

    def read_at(self, length, start):
        found = self._source.read_at(length, start)
        self.num_bytes += len(found)
        return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data_page_size": 100, "write_batch_size": 3},  # many pages
        {"write_statistics": True, "write_page_checksum": True},
        {"row_group_size": 40},
    ],
)
def test_values_are_those_that_pyarrow_reads(tmp_path, options):
    expected, path = values(100), tmp_path / "a.parquet"
    file, source, start = written(path, expected, **options), Counted(path), 0
    assert can_be_walked(file, "image")
    for group in range(file.metadata.num_row_groups):
        metadata = file.metadata.row_group(group)
        for places in ([0], [metadata.num_rows - 1], [], [3, 4, 17], list(range(metadata.num_rows))):
            found = values_at(source, metadata.column(0), places)
            assert found == [expected[start + place] for place in places]
        start += metadata.num_rows


def test_other_values_are_not_read(tmp_path):
    path, large = tmp_path / "a.parquet", [bytes([number]) * 50_000 for number in range(100)]
    file, source = written(path, large), Counted(path)
    assert values_at(source, file.metadata.row_group(0).column(0), [7, 90]) == [large[7], large[90]]
    assert source.num_bytes < 2 * 50_000 + 2_000


def test_a_place_past_the_end_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    chunk = written(path, values(5)).metadata.row_group(0).column(0)
    with pytest.raises(ValueError, match="row 5 is not in its row group"):
        values_at(Counted(path), chunk, [2, 5])


def test_a_damaged_length_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    chunk = written(path, [b"abcd" * 20] * 5).metadata.row_group(0).column(0)
    content = bytearray(path.read_bytes())
    place = content.find((80).to_bytes(4, "little") + b"abcd")
    content[place + 3] = 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not fit into its page"):
        values_at(Counted(path), chunk, [0])


@pytest.mark.parametrize("options", [{"compression": "zstd"}, {"use_dictionary": True}, {"nullable": False}])
def test_other_columns_cannot_be_walked(tmp_path, options):
    assert not can_be_walked(written(tmp_path / "a.parquet", [b"x", b"x", b"y"], **options), "image")


def test_a_closed_shard_leaves_no_footer_behind(small_shards):
    storage, before = Storage(small_shards), num_footers()
    gc.disable()  # a cycle would hold a footer until all objects are looked at, which is seldom
    try:
        for name in (one for one in storage.names() if one.endswith(".parquet") and "-of-" in one):
            with contextlib.closing(open_shard(storage, name)) as shard:
                for entry in shard.entries():
                    shard.read(entry, [0])
                    shard.last_pts_seconds(entry)
            del shard
        assert num_footers() == before
    finally:
        gc.enable()


def num_footers():
    return sum(type(one) is pq.FileMetaData for one in gc.get_objects())  # isinstance asks what weak proxies stand for
