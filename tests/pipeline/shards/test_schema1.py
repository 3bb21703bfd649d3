"""Folders of the previous schema, written by the program as it was then, are still read, and are upgraded.

`schema1.zip` holds two folders, parquet/ and lmdb/: three clips of 3, 4 and 5 frames and one that failed, 16 x 16 as
PNG, with their flow, in two train/test splits.
"""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.shards.ledger import DATASET_NAME
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.repair import repair_folder
from tdn_data.pipeline.shards.schema import SCHEMA_VERSION
from tdn_data.pipeline.shards.shard_formats import open_shard
from tdn_data.pipeline.shards.status import extraction_status
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.shards.verify import verify_shards
from tdn_data.pipeline.view.inspect import inspect_shards

PIXELS = {
    "rgb": "beeb8b036146d162ad4a20796587e88bceb0a86ee712aec0537a948ed09bce99",
    "flow": "95352075cb0709da22add32b5c8e23cdcedb4346c7ad7c757597e0884686e2b3",
}


@pytest.fixture(params=["parquet", "lmdb"])
def old(request, tmp_path):
    with zipfile.ZipFile(Path(__file__).with_name("schema1.zip")) as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.startswith(request.param)])
    return tmp_path / request.param


def check_content(folder):
    for modality, expected in PIXELS.items():
        reader, state = ShardReader(folder, modality=modality), hashlib.sha256()
        for video in reader.videos:
            stored = reader.read(video.video_id)
            state.update(stored.data.tobytes() + stored.pts_seconds.tobytes())
        assert state.hexdigest() == expected
        assert [(video.video_id, video.split, video.labels) for video in reader.videos] == [
            ("clip 0", "test", (0,)), ("clip 1", "train", (1,)), ("clip 2", "train", (0,))
        ]  # fmt: skip
        assert reader.info.class_names == ("cook", "jump") and reader.missing("train") == ("clip 3",)
        second = ShardReader(folder, modality=modality, list_split=2)
        assert [video.split for video in second.videos] == ["train", "test", "train"]
    assert verify_shards(folder).findings == ()
    assert extraction_status(folder).finished
    assert inspect_shards(folder).list_splits == {1: {"test": 1, "train": 3}, 2: {"train": 3, "test": 1}}


def test_a_folder_of_schema_1_is_read_as_it_is(old):
    assert json.loads((old / DATASET_NAME).read_text()).get("schema_version") is None
    check_content(old)


def test_a_folder_of_schema_1_is_upgraded_without_its_videos(old):
    repair = repair_folder(old)
    assert len(repair.upgraded) == 16 and not repair.findings
    check_content(old)
    for name in repair.upgraded:
        about = open_shard(Storage(old), name).about
        assert about["schema_version"] == SCHEMA_VERSION and about["class_names"] == ["cook", "jump"]
        assert about["libraries"]["pyarrow"]  # the versions that made the rows stay
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    again = repair_folder(old)
    assert again.upgraded == again.written == ()
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before


def test_an_old_folder_that_does_not_say_its_classes_is_not_upgraded(old):
    before = {path.name: path.read_bytes() for path in old.iterdir() if path.name != DATASET_NAME}
    (old / DATASET_NAME).write_text("{}")
    with pytest.raises(InputError, match=r"do not say their classes; run the same `tdn-data extract` again"):
        repair_folder(old)
    assert {path.name: path.read_bytes() for path in old.iterdir() if path.name != DATASET_NAME} == before


def test_a_folder_of_a_newer_schema_is_refused_with_a_sentence(old):
    about = json.loads((old / DATASET_NAME).read_text())
    (old / DATASET_NAME).write_text(json.dumps(about | {"schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(ShardError, match=r"is of schema version 3; this program reads versions 1 to 2"):
        ShardReader(old)


def test_labels_without_a_class_in_an_old_folder_are_refused(old):
    about = json.loads((old / DATASET_NAME).read_text())
    (old / DATASET_NAME).write_text(json.dumps(about | {"class_names": ["cook"]}))
    with pytest.raises(ShardError, match="is of class 1; there are 1 classes"):
        ShardReader(old)
