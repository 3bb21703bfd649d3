"""A claim's data set: rendered and extracted once, and found again."""

import pytest

from tdn_data.models.claims.material import make_data, open_data, shard_folder
from tdn_data.pipeline.datasets.demo import CLASS_NAMES
from tests.models.claims.small import small_book

DATA = small_book().data["tiny"]


@pytest.mark.slow
def test_a_data_set_is_made_once_for_each_modality(tmp_path):
    said = []
    for modality in ("rgb", "flow", "rgb"):
        make_data(tmp_path, DATA, modality, num_workers=1, say=said.append)
    assert [words.split()[0] for words in said] == ["rendering", "extracting", "extracting"]
    for modality in ("rgb", "flow"):
        reader = open_data(tmp_path, DATA, modality)
        assert reader.info.name == "demo" and reader.info.class_names == CLASS_NAMES
        assert sorted(video.split for video in reader.videos) == sorted(["train", "val", "test"] * 8)


def test_everything_that_decides_shards_names_their_folder(tmp_path):
    noisy = DATA.model_copy(update={"demo": DATA.demo.model_copy(update={"noise": 9.0})})
    smaller = DATA.model_copy(update={"rgb": DATA.rgb.model_copy(update={"height": 16, "width": 16})})
    folders = {shard_folder(tmp_path, one, "rgb") for one in (DATA, noisy, smaller)}
    assert len(folders) == 3
    assert shard_folder(tmp_path, smaller, "flow") == shard_folder(tmp_path, DATA, "flow")
