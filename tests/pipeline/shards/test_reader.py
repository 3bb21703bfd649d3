"""What a reader is asked for: arguments that can mean nothing are answered in one sentence."""

from __future__ import annotations

import re
import zipfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.repair import repair_folder
from tdn_data.pipeline.shards.storage import Storage


@pytest.fixture(scope="module", params=["parquet", "lmdb"])
def folder(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("reader")
    with zipfile.ZipFile(Path(__file__).with_name("schema1.zip")) as archive:
        archive.extractall(root, [name for name in archive.namelist() if name.startswith(request.param)])
    repair_folder(root / request.param)
    return root / request.param


@pytest.mark.parametrize("path", [None, 5, b"shards", ["shards"]])
def test_what_is_no_path_is_refused_with_its_value(path):
    words = f"the folder of shards is {path!r}; it must be text or a path"
    with pytest.raises(TypeError, match=re.escape(words)):
        ShardReader(path)


@pytest.mark.parametrize(
    ("modality", "error"), [("depth", ValueError), ("", ValueError), (None, TypeError), (["rgb"], TypeError)]
)
def test_an_unknown_modality_is_refused_with_those_that_there_are(tmp_path, modality, error):
    with pytest.raises(error, match=re.escape(f"modality is {modality!r}; known modalities: rgb, flow")):
        ShardReader(tmp_path / "nothing is read for it", modality=modality)


def test_a_file_in_the_place_of_the_folder_is_named_as_one(tmp_path):
    path = tmp_path / "frames.parquet"
    path.write_bytes(b"x")
    words = re.escape(f"{path} is a file; a folder of shards is needed here.")
    with pytest.raises(InputError, match=words):
        ShardReader(path)
    with pytest.raises(InputError, match=words):
        Storage(path).create()
    with pytest.raises(InputError, match=words):
        Storage(path).write_bytes("a", b"x")


@pytest.mark.parametrize("video_id", [["a"], None, 3, b"a", {"a": 1}])
def test_what_is_no_identifier_is_refused_by_every_question_about_a_video(folder, video_id):
    reader = ShardReader(folder)
    for ask in (reader.read, reader.read_encoded, reader.times, reader.num_rows):
        with pytest.raises(TypeError, match=re.escape(f"video_id is {video_id!r}; it must be one video's identifier")):
            ask(video_id)


@pytest.mark.parametrize("rows", [["x"], "x", 5, [[1], [1, 2]], [None], {0}, [0.5], slice(2)])
def test_what_are_no_positions_is_refused_with_those_that_there_are(folder, rows):
    reader = ShardReader(folder)
    video = reader.videos[0]
    allowed = f"give a list of whole numbers from 0 to {video.num_rows - 1}, or None for all rows"
    with pytest.raises(InputError, match=re.escape(f"rows of {video.video_id!r} are {rows!r}; {allowed}")):
        reader.read(video.video_id, rows=rows)


@pytest.mark.parametrize("number", ["1", [1], True, 1.0])
def test_a_list_split_is_a_whole_number(folder, number):
    with pytest.raises(TypeError, match=re.escape(f"list_split is {number!r}; it must be a whole number")):
        ShardReader(folder, list_split=number)


def test_two_readers_of_the_same_shards_read_on_in_a_forked_process(folder):
    reader, other = ShardReader(folder), ShardReader(folder)
    video = reader.videos[0].video_id
    expected = reader.read(video, [0]).data
    assert np.array_equal(other.read(video, [0]).data, expected)
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        assert np.array_equal(pool.submit(_last_of_both, reader, other, video).result(), expected)
    assert np.array_equal(other.read(video, [0]).data, expected)


def _last_of_both(first: ShardReader, second: ShardReader, video: str) -> np.ndarray:
    first.read(video, [0])
    return second.read(video, [0]).data


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_data_loader_reads_in_forked_and_in_spawned_workers(folder, context):
    from torch.utils.data import DataLoader

    reader = ShardReader(folder)
    videos = [video.video_id for video in reader.videos]
    here = [reader.read(video, [0, 1]).data for video in videos]  # its shards are open when workers start
    loader = DataLoader(
        videos,
        batch_size=None,
        num_workers=1,
        collate_fn=partial(reader.read, rows=[0, 1]),
        multiprocessing_context=context,
    )
    assert all(np.array_equal(there.data, one) for there, one in zip(loader, here, strict=True))
