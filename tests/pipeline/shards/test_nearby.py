"""What is said of a folder that holds no shards."""

import os

import pytest

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.nearby import nothing_here, shards_below
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.storage import Storage
from tests.pipeline.conftest import s3_server

NAME = "frames-00000-of-00001.parquet"


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ((), "{0} holds no shard; run `tdn-data extract` into it."),
        (("demo/rgb",), "{0} holds no shard, but there are shards in {0}/demo/rgb; name that folder."),
        (("x", "y/z"), "{0} holds no shard, but there are shards in {0}/x, {0}/y/z; name one of them."),
        (("a/b/c", ".spans"), "{0} holds no shard; run `tdn-data extract` into it."),  # too deep, and hidden
    ],
)
def test_shards_in_folders_below_are_named(tmp_path, folders, words):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / NAME).touch()
    error = nothing_here(Storage(tmp_path), "holds no shard")
    assert isinstance(error, InputError) and str(error) == words.format(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_passed_over(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / NAME).touch()
    assert shards_below(Storage(tmp_path)) == ["open"]


def test_a_reader_names_them(tmp_path):
    (tmp_path / "demo/rgb").mkdir(parents=True)
    (tmp_path / "demo/rgb" / NAME).touch()
    with pytest.raises(InputError, match=r"dataset.json is missing.*, but there are shards in .*/demo/rgb; name that"):
        ShardReader(tmp_path)


def test_they_are_found_in_an_object_store():
    with s3_server() as address:
        storage = Storage(address.format("below"))
        storage.folder("demo").folder("rgb").write_bytes(NAME, b"")
        assert shards_below(storage) == ["demo/rgb"]
