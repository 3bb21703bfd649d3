"""Export: stored bytes come out as they are, in the layouts that other programs read."""

import json
import tarfile

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from tdn_data.pipeline.errors import InputError, StorageError
from tdn_data.pipeline.export.export import FORMATS, export_shards
from tdn_data.pipeline.export.names import safe_names
from tdn_data.pipeline.flow import read_flo
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.video import sample_frames
from tdn_data.stages.cli import main
from tdn_data.stages.cli.export_data import FORMATS as WORDS

COUNTS = {"rgb": 3, "flow": 2}


def stored(shards, modality, column, video_id="b 2"):
    return ShardReader(shards, modality=modality).read_encoded(video_id).payloads[column]


@pytest.mark.parametrize("extension", ["parquet", "lmdb"])
def test_raw_frames_are_the_stored_bytes_with_lists_that_name_each_folder_once(write_small_shards, tmp_path, extension):
    folder = tmp_path / "shards"
    folder.mkdir()
    write_small_shards(folder, extension)
    out = tmp_path / "out"
    exported = export_shards(folder, out, to="rawframes")
    assert [row.video_id for row in exported.not_ok] == ["lost", "lost"]
    assert exported.status["rgb"] == {"ok": 3, "partial": 0, "failed": 1}
    listed = (out / "frames_train.txt").read_text().splitlines() + (out / "frames_val_1.txt").read_text().splitlines()
    assert [line.split()[1:] for line in listed] == [["3", "0"], ["3", "1"], ["3", "0"]]
    assert (out / "flow_val_1.txt").read_text() == "b_2 2 0\n"
    assert len({line.split()[0].casefold() for line in listed}) == 3
    for stem, modality, column in (("img", "rgb", "image"), ("flow_x", "flow", "flow_x"), ("flow_y", "flow", "flow_y")):
        files = sorted((out / "b_2").glob(f"{stem}_*.jpg"))
        assert [path.name for path in files] == [f"{stem}_{n:05d}.jpg" for n in range(1, COUNTS[modality] + 1)]
        assert [path.read_bytes() for path in files] == stored(folder, modality, column)
    assert exported.num_files == 3 * (3 + 4) + 4 + 1 == sum(path.is_file() for path in out.rglob("[!.]*"))


def test_sets_for_other_loaders_hold_the_stored_bytes_and_labels(small_shards, tmp_path):
    export_shards(small_shards, tmp_path / "folders", to="imagefolder")
    files = sorted((tmp_path / "folders/val_1/cook").iterdir())
    assert [path.read_bytes() for path in files] == stored(small_shards, "rgb", "image")
    export_shards(small_shards, tmp_path / "web", to="webdataset")
    with tarfile.open(tmp_path / "web/val_1-000000.tar") as tar:
        entries = {one.name: tar.extractfile(one).read() for one in tar}
    assert entries["b_2.cls"] == b"0" and json.loads(entries["b_2.json"])["video_id"] == "b 2"
    assert entries["b_2.flow_y_00002.jpg"] == stored(small_shards, "flow", "flow_y")[1]
    export_shards(small_shards, tmp_path / "hf", to="hf")
    (file,) = (tmp_path / "hf/data/frames").glob("val_1-*.parquet")
    table = pq.read_table(file)
    assert [one["bytes"] for one in table["image"].to_pylist()] == stored(small_shards, "rgb", "image")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"} and features["label"]["names"] == ["cook", "jump it"]
    assert features.keys() == set(table.column_names)
    assert "path: data/flow/val_1-*.parquet" in (tmp_path / "hf/README.md").read_text()


def test_a_single_video_as_movie_pictures_and_numbers(small_shards, tmp_path):
    for to in ("mp4", "gif", "npy", "flo"):
        assert export_shards(small_shards, tmp_path / to, to=to, video_ids=["b 2"]).num_videos == 1
    movie = sample_frames(tmp_path / "mp4/b_2.mp4", fps=5)
    assert movie.data.shape == (3, 16, 48, 3)  # flow beside the frames
    with Image.open(tmp_path / "gif/b_2.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"]) == (3, (48, 16), 200)
    flow = np.load(tmp_path / "npy/b_2/flow.npy")
    assert flow.shape == (2, 16, 24, 2) and np.abs(flow).max() <= 20
    assert np.array_equal(read_flo(tmp_path / "flo/b_2/flow_00002.flo"), flow[1])
    assert np.load(tmp_path / "npy/b_2/flow_seconds.npy").tolist() == [0, 0.2]
    first = cv2.imdecode(np.frombuffer(stored(small_shards, "rgb", "image")[0], np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(np.load(tmp_path / "npy/b_2/frames.npy")[0], first)


def test_what_cannot_be_exported_is_said_before_anything_is_written(write_small_shards, small_shards, tmp_path):
    several, out = tmp_path / "several", tmp_path / "out"
    several.mkdir()
    write_small_shards(several, multi_label=True)
    for path, options, words in (
        (several, {"to": "imagefolder"}, "one class for each video"),
        (small_shards, {"to": "flo", "modalities": ["rgb"]}, "flo holds flow only"),
        (small_shards, {"to": "mp4", "video_ids": ["lost"]}, "nothing to export .failed, missing: not there"),
        (small_shards, {"to": "mp4", "video_ids": ["none"]}, "'none' is not in"),
    ):
        with pytest.raises(InputError, match=words):
            export_shards(path, out, **options)
        assert not out.exists()
    export_shards(small_shards, out, to="images")
    export_shards(small_shards, out, to="images")
    with pytest.raises(InputError, match="holds an export of something else"):
        export_shards(small_shards, out, to="npy")
    with pytest.raises(InputError, match="holds something else"):
        export_shards(small_shards, small_shards, to="npy")


def test_no_file_of_an_earlier_set_stays_among_those_of_another(small_shards, tmp_path):
    export_shards(small_shards, tmp_path / "set", to="hf")
    export_shards(small_shards, tmp_path / "set", to="hf")
    with pytest.raises(InputError, match="holds an export of something else"):
        export_shards(small_shards, tmp_path / "set", to="hf", video_ids=["b 2"])
    export_shards(small_shards, tmp_path / "files", to="mp4")
    export_shards(small_shards, tmp_path / "files", to="mp4", video_ids=["b 2"])


@pytest.mark.parametrize("to", ["npy", "mp4", "flo"])
def test_a_full_disk_is_one_sentence_with_the_name_of_the_file(small_shards, tmp_path, few_bytes_a_file, to):
    with (
        few_bytes_a_file(900),
        pytest.raises(StorageError, match=rf"out/[^.]*\.{to} cannot be written .file too large"),
    ):
        export_shards(small_shards, tmp_path / "out", to=to)


def test_the_command_names_what_failed_and_knows_every_format(small_shards, tmp_path):
    assert set(WORDS) == set(FORMATS)
    result = CliRunner().invoke(main, ["export", str(small_shards), "--to", "images", "--out", str(tmp_path / "out")])
    elsewhere = CliRunner().invoke(main, ["export", str(small_shards), "--to", "images", "--out", "s3://bucket/out"])
    assert elsewhere.exit_code == 2 and "is an address" in elsewhere.output
    assert result.exit_code == 0 and "lost.mp4" in result.stdout and "rgb: 3 ok, 0 partial, 1 failed" in result.stdout


def test_names_of_files_are_safe_and_differ_on_every_file_system():
    names = safe_names(["../../etc", "-rf", "A.b", "a b", "x" * 400, "\u00e9", "e\u0301", "\u4e2d/\u6587"])
    assert len({name.casefold() for name in names.values()}) == 8
    assert names["\u4e2d/\u6587"] == "\u4e2d_\u6587" and names["-rf"] == "_-rf"
    assert all(len(name.encode()) < 200 and not set("./ ") & set(name) for name in names.values())
    words = safe_names(["val-1", "val_1", "test"], words=True)
    assert len(set(words.values())) == 3 and words["test"] == "test" and not set("-~") & set("".join(words.values()))
