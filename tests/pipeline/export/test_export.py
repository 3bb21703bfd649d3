"""Export: stored bytes come out as they are, in the layouts that other programs read."""

import json
import tarfile

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.export.export import FORMATS, export_shards
from tdn_data.pipeline.export.names import safe_names
from tdn_data.pipeline.flow import read_flo
from tdn_data.pipeline.images import encode_image
from tdn_data.pipeline.shards.folder import gather, shard_names, write_folder
from tdn_data.pipeline.shards.formats import shard_writer
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.schema import PAYLOADS, SCHEMA_VERSION, LedgerRow, VideoRows, shard_name
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.video import sample_frames
from tdn_data.stages.cli import main
from tdn_data.stages.cli.export_data import FORMATS as WORDS

VIDEOS = {"a/1.x": ("train", "cook"), "a_1_x": ("train", "jump it"), "b 2": ("val-1", "cook")}  # video -> split, class
COUNTS = {"rgb": 3, "flow": 2}


def rows_of(modality, seed):
    count, rng = COUNTS[modality], np.random.default_rng(seed)
    shape = (16, 24, 3) if modality == "rgb" else (16, 24)
    payloads = {
        name: [encode_image(rng.integers(0, 256, shape, np.uint8), codec="jpeg") for _ in range(count)]
        for name in PAYLOADS[modality]
    }
    times = np.arange(count) / 5
    after, bound = (times + 0.2, 20.0) if modality == "flow" else (None, None)
    return VideoRows(modality, np.arange(count), times, 16, 24, payloads, after, bound)


def write_shards(folder, extension="parquet", multi_label=False):
    """One shard of each modality, and a video that failed."""
    for modality in COUNTS:
        name, ledger = shard_name(modality, 0, 1, extension), []
        writer = shard_writer(folder / name, modality=modality, extension=extension)
        for seed, (video_id, (split, label)) in enumerate(VIDEOS.items()):
            rows, labels = rows_of(modality, seed), (("cook", "jump it").index(label),)
            writer.add(rows, video_id=video_id, split=split, labels=labels)
            stored = {"num_stored": len(rows), "stored_bytes": rows.num_bytes(), "shard": name}
            ledger.append(LedgerRow(video_id, modality, "p", split, labels, "ok", **stored))
        ledger.append(LedgerRow("lost", modality, "lost.mp4", "train", (0,), "failed", "missing", "not there"))
        about = {
            "schema_version": SCHEMA_VERSION, "dataset": "small", "multi_label": multi_label,
            "class_names": ["cook", "jump it"], "modality": modality, "parameters": {"codec": "jpeg"},
            "parameters_digest": "", "plan_digest": "",
        }  # fmt: skip
        writer.close(about, ledger)
    storage = Storage(folder)
    write_folder(storage, gather(storage, shard_names(storage)))
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("export"))


def stored(shards, modality, column, video_id="b 2"):
    return ShardReader(shards, modality=modality).read_encoded(video_id).payloads[column]


@pytest.mark.parametrize("extension", ["parquet", "lmdb"])
def test_raw_frames_are_the_stored_bytes_with_lists_that_name_each_folder_once(tmp_path, extension):
    folder = tmp_path / "shards"
    folder.mkdir()
    write_shards(folder, extension)
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


def test_sets_for_other_loaders_hold_the_stored_bytes_and_labels(shards, tmp_path):
    export_shards(shards, tmp_path / "folders", to="imagefolder")
    files = sorted((tmp_path / "folders/val_1/cook").iterdir())
    assert [path.read_bytes() for path in files] == stored(shards, "rgb", "image")
    export_shards(shards, tmp_path / "web", to="webdataset")
    with tarfile.open(tmp_path / "web/val_1-000000.tar") as tar:
        entries = {one.name: tar.extractfile(one).read() for one in tar}
    assert entries["b_2.cls"] == b"0" and json.loads(entries["b_2.json"])["video_id"] == "b 2"
    assert entries["b_2.flow_y_00002.jpg"] == stored(shards, "flow", "flow_y")[1]
    export_shards(shards, tmp_path / "hf", to="hf")
    (file,) = (tmp_path / "hf/data/frames").glob("val_1-*.parquet")
    table = pq.read_table(file)
    assert [one["bytes"] for one in table["image"].to_pylist()] == stored(shards, "rgb", "image")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"} and features["label"]["names"] == ["cook", "jump it"]
    assert features.keys() == set(table.column_names)
    assert "path: data/flow/val_1-*.parquet" in (tmp_path / "hf/README.md").read_text()


def test_a_single_video_as_movie_pictures_and_numbers(shards, tmp_path):
    for to in ("mp4", "gif", "npy", "flo"):
        assert export_shards(shards, tmp_path / to, to=to, video_ids=["b 2"]).num_videos == 1
    movie = sample_frames(tmp_path / "mp4/b_2.mp4", fps=5)
    assert movie.data.shape == (3, 16, 48, 3)  # flow beside the frames
    with Image.open(tmp_path / "gif/b_2.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"]) == (3, (48, 16), 200)
    flow = np.load(tmp_path / "npy/b_2/flow.npy")
    assert flow.shape == (2, 16, 24, 2) and np.abs(flow).max() <= 20
    assert np.array_equal(read_flo(tmp_path / "flo/b_2/flow_00002.flo"), flow[1])
    assert np.load(tmp_path / "npy/b_2/flow_seconds.npy").tolist() == [0, 0.2]
    first = cv2.imdecode(np.frombuffer(stored(shards, "rgb", "image")[0], np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(np.load(tmp_path / "npy/b_2/frames.npy")[0], first)


def test_what_cannot_be_exported_is_said_before_anything_is_written(shards, tmp_path):
    several, out = tmp_path / "several", tmp_path / "out"
    several.mkdir()
    write_shards(several, multi_label=True)
    for path, options, words in (
        (several, {"to": "imagefolder"}, "one class for each video"),
        (shards, {"to": "flo", "modalities": ["rgb"]}, "flo holds flow only"),
        (shards, {"to": "mp4", "video_ids": ["lost"]}, "nothing to export .failed, missing: not there"),
        (shards, {"to": "mp4", "video_ids": ["none"]}, "'none' is not in"),
    ):
        with pytest.raises(InputError, match=words):
            export_shards(path, out, **options)
        assert not out.exists()
    export_shards(shards, out, to="images")
    export_shards(shards, out, to="images")
    with pytest.raises(InputError, match="holds another export"):
        export_shards(shards, out, to="npy")
    with pytest.raises(InputError, match="holds something else"):
        export_shards(shards, shards, to="npy")


def test_the_command_names_what_failed_and_knows_every_format(shards, tmp_path):
    assert set(WORDS) == set(FORMATS)
    result = CliRunner().invoke(main, ["export", str(shards), "--to", "images", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0 and "lost.mp4" in result.stdout and "rgb: 3 ok, 0 partial, 1 failed" in result.stdout


def test_names_of_files_are_safe_and_differ_on_every_file_system():
    names = safe_names(["../../etc", "-rf", "A.b", "a b", "x" * 400, "\u00e9", "e\u0301", "\u4e2d/\u6587"])
    assert len({name.casefold() for name in names.values()}) == 8
    assert names["\u4e2d/\u6587"] == "\u4e2d_\u6587" and names["-rf"] == "_-rf"
    assert all(len(name.encode()) < 200 and not set("./ ") & set(name) for name in names.values())
