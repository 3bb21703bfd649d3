"""The page over shards in LMDB, and over shards in an object store; there also one shard alone."""

import json
import struct
from urllib.parse import quote

import numpy as np
import pytest

from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.view.video_table import video_table
from tests.pipeline.conftest import s3_server
from tests.pipeline.view.browse.conftest import answering, ask


@pytest.fixture(scope="module")
def stored_in_s3(small_shards):
    """The address of the small shards in a bucket."""
    with s3_server() as address:
        storage = Storage(address.format("set"))
        for path in small_shards.iterdir():
            storage.write_bytes(path.name, path.read_bytes())
        yield address.format("set")


def check_pages(path):
    reader = ShardReader(path, modality="flow")
    with answering(path) as site:
        status, _, body = ask(site, "/")
        assert status == 200 and b"all 4 videos" in body and b"k:s" not in body  # no password on the page
        assert ask(site, "/videos?status=failed")[2].count(b'class="video"') == 1
        assert ask(site, f"/video?id={quote('b 2')}")[0] == 200
        status, headers, poster = ask(site, f"/media/poster?id={quote('b 2')}")
        assert status == 200 and headers["content-type"].startswith("image/") and len(poster) > 100
        status, _, body = ask(site, f"/media/rows?id={quote('b 2')}&modality=flow&start=0&count=2")
        (length,) = struct.unpack("<I", body[:4])
        head = json.loads(body[4 : 4 + length])
        planes = np.frombuffer(body[4 + length :], np.uint8).reshape(2, 2, head["height"], head["width"])
        assert np.array_equal(planes.transpose(0, 2, 3, 1), reader.read("b 2").data)


def test_shards_in_lmdb(write_small_shards, tmp_path):
    check_pages(str(write_small_shards(tmp_path, "lmdb")))


def test_shards_in_an_object_store(stored_in_s3):
    check_pages(stored_in_s3)


def test_one_shard_of_an_object_store_is_listed_alone(stored_in_s3):
    table = video_table(stored_in_s3.replace("/set?", "/set/flow-00000-of-00001.parquet?"))
    assert table.location.endswith("/set/flow-00000-of-00001.parquet") and "k:s" not in table.location
    assert [(line.num_frames, line.num_flow) for line in table.videos] == [(0, 2)] * 3 + [(0, 0)]
