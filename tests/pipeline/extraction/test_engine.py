"""Whole extractions on a real Ray: complete, continued, refused, independent of the number of workers."""

import fcntl
import hashlib
import os
import shutil
from collections import Counter

import pytest

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.datasets.manifest import read_manifest, write_manifest
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.extraction.engine import run_extraction
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters
from tdn_data.pipeline.shards.ledger import (
    DATASET_NAME,
    INDEX_NAME,
    LEDGER_NAME,
    SPLITS_NAME,
    read_dataset_json,
    read_ledger,
)
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.status import extraction_status
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.shards.verify import verify_shards
from tdn_data.pipeline.view.inspect import inspect_shards

SIZE = {"height": 48, "width": 64}
PARAMETERS = ExtractParameters(frames=FrameParameters(**SIZE), flow=FlowParameters(**SIZE))


def run(root, out, parameters=PARAMETERS, *, workers=2, **options):
    return run_extraction(index_dataset("folder", root), parameters, out=out, num_workers=workers, **options)


def hashes(folder):
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def extracted(clip_folder, tmp_path_factory):
    """The undisturbed extraction of the clip folder, with its summary and the progress it reported."""
    out, progress = tmp_path_factory.mktemp("engine") / "out", []
    return out, run(clip_folder, out, on_progress=lambda *state: progress.append(state)), progress


def test_every_listed_video_has_a_status_in_each_modality(extracted):
    out, summary, progress = extracted
    assert len(summary.ledger) == 24 and summary.failed_share() == pytest.approx(4 / 24)
    assert read_dataset_json(Storage(out))["status"]["flow"] == {"ok": 10, "partial": 0, "failed": 2}
    assert {(row.modality, row.video_id) for row in read_ledger(Storage(out))} == {
        (row.modality, row.video_id) for row in summary.ledger
    }
    assert progress[-1] == (12, 12, "2 failed")  # each in both modalities


def test_a_reader_finds_frames_and_flow(extracted):
    out, _, _ = extracted
    frames, flow = ShardReader(out, modality="rgb"), ShardReader(out, modality="flow")
    assert frames.info.class_names == ("left", "right") and len(frames.videos) == len(flow.videos) == 10
    video = frames.videos[4]
    assert frames.read(video.video_id, [2, 0]).data.shape == (2, 48, 64, 3)
    stored = flow.read(video.video_id)
    assert stored.data.shape == (video.num_rows - 1, 48, 64, 2) and stored.bound == 20
    with pytest.raises(InputError, match="'videos/missing' is not stored"):
        frames.read("videos/missing")


def test_running_again_changes_nothing(clip_folder, extracted):
    out, _, _ = extracted
    before = hashes(out)
    summary = run(clip_folder, out)
    assert summary.num_shards_made == 0 and hashes(out) == before


def test_one_worker_and_an_interrupted_run_give_the_same_bytes(clip_folder, extracted, tmp_path):
    out, _, _ = extracted
    run(clip_folder, tmp_path / "one", workers=1)
    assert hashes(tmp_path / "one") == hashes(out)
    shards = sorted((tmp_path / "one").glob("*-of-*"))
    (tmp_path / "one" / DATASET_NAME).unlink()
    shards[0].unlink()
    shards[1].write_bytes(shards[1].read_bytes()[:100])
    (tmp_path / "one" / f".{shards[2].name}.99.tmp").write_bytes(b"half")
    with pytest.raises(InputError, match="holds no finished extraction"):
        ShardReader(tmp_path / "one")
    footer = bytearray(shards[3].read_bytes())
    footer[-300] ^= 0x80  # in the metadata: no more UTF-8
    shards[3].write_bytes(footer)
    summary = run(clip_folder, tmp_path / "one")
    assert summary.num_shards_made == 3
    assert hashes(tmp_path / "one") == hashes(out)


@pytest.mark.parametrize("name", [DATASET_NAME, INDEX_NAME, LEDGER_NAME])
def test_small_files_that_are_damaged_are_written_again_without_decoding(clip_folder, extracted, tmp_path, name):
    out = tmp_path / "out"
    shutil.copytree(extracted[0], out)
    content = bytearray((out / name).read_bytes())
    content[len(content) // 2] ^= 1
    (out / name).write_bytes(content)
    assert not extraction_status(out).finished
    assert run(clip_folder, out).num_shards_made == 0
    assert hashes(out) == hashes(extracted[0])


def test_a_modality_is_not_left_behind_with_other_labels(clip_folder_copy, extracted, tmp_path):
    out, listed = tmp_path / "out", (clip_folder_copy / "videos.csv").read_text()
    shutil.copytree(extracted[0], out)
    before, rgb = hashes(out), ExtractParameters(frames=FrameParameters(**SIZE))
    (clip_folder_copy / "videos.csv").write_text(listed.replace("clip 03.mp4,test,left", "clip 03.mp4,test,right"))
    with pytest.raises(InputError, match=r"another label or split of 1 listed videos, e.g. videos/clip 03 \(flow\)"):
        run(clip_folder_copy, out, rgb)
    (clip_folder_copy / "classes.txt").write_text("up\nright\n")
    (clip_folder_copy / "videos.csv").write_text(listed.replace(",left", ",up"))
    with pytest.raises(InputError, match=r"shards of other classes \(only some have"):
        run(clip_folder_copy, out, rgb)
    assert hashes(out) == before


def test_a_class_that_sorts_first_renumbers_both_modalities(clip_folder_copy, extracted, tmp_path):
    out, rgb = tmp_path / "out", ExtractParameters(frames=FrameParameters(**SIZE))
    shutil.copytree(extracted[0], out)
    (clip_folder_copy / "classes.txt").write_text("back\nleft\nright\n")
    assert run(clip_folder_copy, out, rgb).num_reused == 10
    for modality in ("rgb", "flow"):
        reader, old = ShardReader(out, modality=modality), ShardReader(extracted[0], modality=modality)
        assert reader.info.class_names == ("back", "left", "right")
        assert [video.labels[0] - 1 for video in reader.videos] == [video.labels[0] for video in old.videos]
        assert (reader.read("videos/clip 07").data == old.read("videos/clip 07").data).all()
    assert verify_shards(out).findings == ()


def test_an_added_video_is_decoded_alone_and_a_removed_one_touches_its_shard_alone(
    clip_folder_copy, extracted, tmp_path
):
    out = tmp_path / "grown"
    listed = (clip_folder_copy / "videos.csv").read_text()
    shorter = "\n".join(line for line in listed.splitlines() if "clip 05" not in line)
    (clip_folder_copy / "videos.csv").write_text(shorter)
    rgb = ExtractParameters(frames=FrameParameters(**SIZE))
    run(clip_folder_copy, out, rgb)
    before = hashes(out)
    (clip_folder_copy / "videos.csv").write_text(listed)
    summary = run(clip_folder_copy, out, rgb)
    assert summary.num_shards_made == 1
    reference = {name: digest for name, digest in hashes(extracted[0]).items() if name.startswith("frames-")}
    assert {name: digest for name, digest in hashes(out).items() if name.startswith("frames-")} == reference
    (clip_folder_copy / "videos.csv").write_text(shorter)
    assert run(clip_folder_copy, out, rgb, allow_loss=True).num_shards_made == 1
    assert hashes(out) == before


@pytest.fixture
def three_splits(clip_folder_copy):
    """The clip folder as lists with two train/test splits; clip 09 is in the second only."""
    (clip_folder_copy / "annotations").mkdir()
    for number, test in ((1, range(3)), (2, range(3, 6))):
        for split in ("train", "test"):
            names = [f"clip {n:02d}.mp4 {n % 2}" for n in range(9 + (number == 2)) if (n in test) == (split == "test")]
            (clip_folder_copy / f"annotations/{split}_split_{number}.txt").write_text("\n".join(names))
    return clip_folder_copy


def test_one_extraction_serves_every_train_test_split(three_splits, tmp_path):
    out, rgb = tmp_path / "out", ExtractParameters(frames=FrameParameters(**SIZE))
    run_extraction(index_dataset("lists", three_splits), rgb, out=out, num_workers=2)
    counts = {
        number: Counter(video.split for video in ShardReader(out, list_split=number).videos) for number in (None, 1, 2)
    }
    assert counts[None] == counts[1] == {"train": 6, "test": 3, "unused": 1}
    assert counts[2] == {"train": 7, "test": 3}
    assert {video.video_id for video in ShardReader(out, list_split=2).videos if video.split == "test"} == {
        "clip 03", "clip 04", "clip 05"
    }  # fmt: skip
    assert verify_shards(out).findings == ()
    assert inspect_shards(out).list_splits == {1: {"train": 6, "test": 3}, 2: {"train": 7, "test": 3}}
    with pytest.raises(InputError, match="has no list split 3; its shards know 1, 2"):
        ShardReader(out, list_split=3)


def test_a_video_that_failed_is_missing_from_its_split_in_each_list_split(three_splits, tmp_path):
    (three_splits / "videos/clip 04.mp4").write_bytes(b"no video")
    rgb = ExtractParameters(frames=FrameParameters(**SIZE))
    run_extraction(index_dataset("lists", three_splits), rgb, out=tmp_path, num_workers=2)
    first, second = (ShardReader(tmp_path, list_split=number) for number in (1, 2))
    assert (first.missing("train"), first.missing("test")) == (("clip 04",), ())
    assert (second.missing("train"), second.missing("test")) == ((), ("clip 04",))


def test_a_set_with_one_split_keeps_no_table_of_splits(extracted):
    assert not (extracted[0] / SPLITS_NAME).exists()
    with pytest.raises(InputError, match="has no list split 1; its data set has one split only"):
        ShardReader(extracted[0], list_split=1)


def test_more_shards_are_copied_not_decoded(clip_folder, extracted, tmp_path):
    rgb = ExtractParameters(frames=FrameParameters(**SIZE))
    run(clip_folder, tmp_path / "out", rgb)
    split = run(clip_folder, tmp_path / "out", rgb.model_copy(update={"videos_per_shard": 1}))
    assert (split.num_shards, split.num_reused) == (16, 10)
    assert len(list((tmp_path / "out").glob("frames-*"))) == 16
    with pytest.raises(InputError, match=r"holds rgb shards of other parameters \(quality 95 -> 50\)"):
        run(clip_folder, tmp_path / "out", ExtractParameters(frames=FrameParameters(**SIZE, quality=50)))
    assert len(ShardReader(tmp_path / "out").videos) == 10
    replaced = run(
        clip_folder, tmp_path / "out", ExtractParameters(frames=FrameParameters(**SIZE), format="lmdb"), replace=True
    )
    assert replaced.num_reused == 0 and len(list((tmp_path / "out").glob("frames-*.lmdb"))) == replaced.num_shards
    expected = ShardReader(extracted[0]).read("videos/clip 07")
    assert (ShardReader(tmp_path / "out").read("videos/clip 07").data == expected.data).all()


def test_a_folder_of_more_shards_than_its_videos_fill_is_copied_not_decoded(
    clip_folder, extracted, tmp_path, monkeypatch
):
    rgb = ExtractParameters(frames=FrameParameters(**SIZE))
    with monkeypatch.context() as earlier:  # a small data set had eight shards, some of them empty
        earlier.setattr("tdn_data.pipeline.shards.plan.num_shards", lambda *_: 8)
        assert run(clip_folder, tmp_path / "out", rgb).num_shards == 8
    fewer = run(clip_folder, tmp_path / "out", rgb)
    assert (fewer.num_shards, fewer.num_reused) == (4, 10)
    assert frames_of(tmp_path / "out") == frames_of(extracted[0])


def test_many_videos_pass_through_the_disk_and_give_the_same_bytes(clip_folder, extracted, tmp_path, monkeypatch):
    monkeypatch.setattr("tdn_data.pipeline.shards.sorting.RUN_ROWS", 3)  # more are not held in memory
    monkeypatch.setattr("tdn_data.pipeline.shards.gathered.ROWS_AT_ONCE", 2)
    monkeypatch.setattr("tdn_data.pipeline.shards.planned.ROWS_AT_ONCE", 2)
    write_manifest(index_dataset("folder", clip_folder), tmp_path / "manifest.parquet")
    manifest = read_manifest(tmp_path / "manifest.parquet")
    assert run_extraction(manifest, PARAMETERS, out=tmp_path / "out", num_workers=2).num_shards_made == 8
    assert hashes(tmp_path / "out") == hashes(extracted[0])
    assert run_extraction(manifest, PARAMETERS, out=tmp_path / "out", num_workers=2).num_shards_made == 0
    assert verify_shards(tmp_path / "out").findings == ()
    with pytest.raises(InputError, match="holds 2 videos that the list leaves out now, e.g. videos/clip 08.mp4"):
        run_extraction(manifest.limited(8), PARAMETERS, out=tmp_path / "out", num_workers=2)


def test_what_a_limit_stopped_is_tried_again_when_the_limit_is_raised(clip_folder, extracted, tmp_path):
    hurried = PARAMETERS.limits.model_copy(update={"max_pixels": 1000})
    rgb = ExtractParameters(frames=FrameParameters(**SIZE))
    small = rgb.model_copy(update={"limits": hurried})
    assert run(clip_folder, tmp_path / "out", small).failed_share() == 1
    assert run(clip_folder, tmp_path / "out", small).num_shards_made == 0
    again = run(clip_folder, tmp_path / "out", rgb)
    assert sum(row.status == "ok" for row in again.ledger) == 10
    assert frames_of(tmp_path / "out") == frames_of(extracted[0])
    assert run(clip_folder, tmp_path / "out", small).num_shards_made == 0  # a lower one takes nothing away


def test_what_failed_otherwise_is_tried_again_on_request_alone(clip_folder_copy, tmp_path):
    rgb = ExtractParameters(frames=FrameParameters(**SIZE))
    run(clip_folder_copy, tmp_path / "out", rgb)
    assert run(clip_folder_copy, tmp_path / "out", rgb).num_shards_made == 0
    again = run(clip_folder_copy, tmp_path / "out", rgb, retry_failed=True)
    assert 0 < again.num_shards_made < again.num_shards and again.num_reused > 0


def frames_of(folder):
    return {name: digest for name, digest in hashes(folder).items() if name.startswith("frames-")}


def test_two_extractions_into_one_folder_at_once_are_refused(clip_folder, tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="another extraction is writing into"):
        run(clip_folder, tmp_path)
    os.close(descriptor)


def test_a_cluster_that_is_not_there_is_named(clip_folder, tmp_path):
    with pytest.raises(InputError, match="no Ray could be reached at 127.0.0.1:1"):
        run(clip_folder, tmp_path, ray_address="127.0.0.1:1")


FULL = """
import os, subprocess
from tdn_data.pipeline.extraction.engine import run_extraction
from tdn_data.pipeline.errors import StorageError
from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.parameters import ExtractParameters, FrameParameters

root, out = {root!r}, {out!r}
parameters = ExtractParameters(frames=FrameParameters(height=48, width=64))
try:
    run_extraction(index_dataset("folder", root), parameters, out=out, num_workers=2)
except StorageError as error:
    print(error.message)
left = [name for name in os.listdir(out) if name.startswith("frames-")]
subprocess.run(["mount", "-o", "remount,size=64m", out], check=True)
summary = run_extraction(index_dataset("folder", root), parameters, out=out, num_workers=2)
print(summary.num_shards_made == summary.num_shards - len(left))
subprocess.run(f"cp {{out}}/frames-* {copies!r}", shell=True, check=True)
"""


def test_a_full_disk_is_said_and_the_run_continues_when_there_is_room(
    on_a_small_disk, clip_folder, extracted, tmp_path
):
    out, copies = tmp_path / "out", tmp_path / "copies"
    out.mkdir(), copies.mkdir()
    expected = {name: digest for name, digest in hashes(extracted[0]).items() if name.startswith("frames-")}
    needed = sum((extracted[0] / name).stat().st_size for name in expected)
    script = FULL.format(root=str(clip_folder), out=str(out), copies=str(copies))
    words = on_a_small_disk(out, needed // 2, script)
    assert "no space left on device; what is written stays" in words and words.endswith("True\n")
    assert hashes(copies) == expected
