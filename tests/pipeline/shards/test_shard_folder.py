"""What the shards of a folder say together: labels keep their names, modalities agree, videos count once."""

from dataclasses import replace

import numpy as np
import pytest

from tdn_data.pipeline.datasets.manifest import Manifest, VideoRecord
from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.images import encode_image
from tdn_data.pipeline.shards.labels import common_labelling, renumbered
from tdn_data.pipeline.shards.placement import shard_number
from tdn_data.pipeline.shards.planned import PlannedVideos
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.schema import PAYLOADS, SCHEMA_VERSION, Labelling, LedgerRow, VideoRows, shard_name
from tdn_data.pipeline.shards.shard_folder import (
    check_modalities_agree,
    gather,
    read_shards,
    shard_contents,
    shard_names,
    write_folder,
)
from tdn_data.pipeline.shards.shard_formats import open_shard, shard_writer
from tdn_data.pipeline.shards.status import extraction_status
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.shards.verify import verify_shards

OLD, NEW = Labelling("folder", ("cook", "jump"), False), Labelling("folder", ("bake", "cook", "jump"), False)
VIDEOS = {f"v{number}": ("train", "cook" if number % 2 else "jump") for number in range(6)}


def rows_of(modality, count, *, size=(4, 5), pts=None, image_size=None):
    shape = (*(image_size or size), *((3,) if modality == "rgb" else ()))
    images = [encode_image(np.full(shape, 10 * number, np.uint8), codec="png") for number in range(count)]
    times = np.arange(count) / 5 if pts is None else np.asarray(pts, float)
    following = times + 0.2 if modality == "flow" else None
    payloads = {name: list(images) for name in PAYLOADS[modality]}
    bound = 20.0 if modality == "flow" else None
    return VideoRows(modality, np.arange(count), times, *size, payloads, following, bound)


def write_shards(folder, modality, labelling, videos=VIDEOS, *, count=2, only=None, rows=None, extension="parquet"):
    """Write one modality's shards of a few made videos."""
    for number in range(count) if only is None else only:
        name = shard_name(modality, number, count, extension)
        writer, ledger = shard_writer(folder / name, modality=modality, extension=extension), []
        for video_id, (split, label) in videos.items():
            if shard_number(video_id, count) != number:
                continue
            labels, made = (labelling.class_names.index(label),), (rows or {}).get(video_id) or rows_of(modality, 3)
            writer.add(made, video_id=video_id, split=split, labels=labels)
            ledger.append(LedgerRow(video_id, modality, "p", split, labels, "ok", num_stored=len(made), shard=name))
        about = {
            "schema_version": SCHEMA_VERSION, "dataset": labelling.dataset, "multi_label": labelling.multi_label,
            "class_names": list(labelling.class_names), "modality": modality, "parameters": {"codec": "png"},
            "parameters_digest": "", "plan_digest": "",
        }  # fmt: skip
        writer.close(about, ledger)


def close(folder):
    storage = Storage(folder)
    return write_folder(storage, gather(storage, shard_names(storage)))


def classes_of(folder, modality):
    reader = ShardReader(folder, modality=modality)
    for video in reader.videos:
        reader.read(video.video_id)
    return {video.video_id: (video.split, reader.info.class_names[video.labels[0]]) for video in reader.videos}


@pytest.mark.parametrize("extension", ["parquet", "lmdb"])
@pytest.mark.parametrize(("first", "second"), [("flow", "rgb"), ("rgb", "flow")])
def test_labels_keep_their_names_when_one_modality_is_extracted_with_a_new_class(tmp_path, extension, first, second):
    write_shards(tmp_path, first, OLD, extension=extension)
    close(tmp_path)
    write_shards(tmp_path, second, NEW, {**VIDEOS, "v7": ("test", "bake")}, extension=extension)
    close(tmp_path)
    assert classes_of(tmp_path, first) == VIDEOS
    assert classes_of(tmp_path, second) == {**VIDEOS, "v7": ("test", "bake")}
    assert ShardReader(tmp_path, modality=first).info.class_names == NEW.class_names
    assert verify_shards(tmp_path).findings == ()
    assert {row.labels for row in gather(Storage(tmp_path), shard_names(Storage(tmp_path))).index} == {(0,), (1,), (2,)}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(OLD, dataset="ucf101"), "of the data sets ucf101 and folder"),
        (replace(OLD, multi_label=True), "with one label a video and with several"),
        (replace(OLD, class_names=("cook", "walk")), r"of other classes \(only some have walk\)"),
    ],
)
def test_lists_that_contradict_each_other_are_refused(other, words):
    with pytest.raises(InputError, match=words):
        common_labelling([NEW, other], where="out")


def test_a_label_without_a_class_is_damage():
    assert renumbered((0, 1), OLD, NEW) == (1, 2)
    for labels, own in (((2,), OLD), ((0,), replace(OLD, class_names=("other",)))):
        with pytest.raises(ShardError):
            renumbered(labels, own, NEW)


def manifest_of(videos, labelling=OLD):
    records = [
        VideoRecord(video_id, f"{video_id}.mp4", split, (labelling.class_names.index(label),))
        for video_id, (split, label) in videos.items()
    ]
    return Manifest(labelling.dataset, "r", labelling.class_names, labelling.multi_label, tuple(records))


@pytest.mark.parametrize(
    ("videos", "labelling", "agrees"),
    [
        (VIDEOS, OLD, True),
        ({**VIDEOS, "new": ("train", "bake")}, NEW, True),  # renumbered, and one video more
        ({key: VIDEOS[key] for key in ("v1", "v2")}, OLD, True),
        ({**VIDEOS, "v3": ("train", "jump")}, OLD, False),
        ({**VIDEOS, "v3": ("test", "cook")}, OLD, False),
    ],
)
def test_what_stays_beside_an_extraction_must_have_its_labels_and_splits(tmp_path, videos, labelling, agrees):
    write_shards(tmp_path, "flow", OLD)
    storage = Storage(tmp_path)
    manifest = manifest_of(videos, labelling)
    planned = PlannedVideos(manifest, 4)

    def staying():
        return (contents for _, contents in read_shards(storage, shard_names(storage), shard_contents))

    if agrees:
        check_modalities_agree(staying, manifest, planned, where="out")
    else:
        with pytest.raises(InputError, match=r"another label or split of 1 listed videos, e.g. v3 \(flow\)"):
            check_modalities_agree(staying, manifest, planned, where="out")


def test_modalities_that_disagree_about_a_video_are_found(tmp_path):
    write_shards(tmp_path, "rgb", OLD)
    write_shards(tmp_path, "flow", OLD, {**VIDEOS, "v3": ("train", "jump")})
    close(tmp_path)
    (finding,) = verify_shards(tmp_path).findings
    assert finding.video_id == "v3"
    assert "('cook',) of 'train' here and ('jump',) of 'train' in the other modality" in finding.what


def test_a_shard_that_was_replaced_after_the_index_is_not_read_by_it(tmp_path):
    write_shards(tmp_path, "rgb", OLD)
    close(tmp_path)
    write_shards(tmp_path, "rgb", OLD, {**VIDEOS, "v3": ("train", "jump")})
    with pytest.raises(ShardError, match="holds other videos, labels or splits than index.parquet says"):
        classes_of(tmp_path, "rgb")
    assert {finding.video_id for finding in verify_shards(tmp_path).findings} >= {"v3"}


def test_a_video_counts_once_while_shards_are_renumbered(tmp_path):
    write_shards(tmp_path, "rgb", OLD, count=2)
    write_shards(tmp_path, "rgb", OLD, count=4, only=[0, 1, 2])
    (state,) = extraction_status(tmp_path).modalities
    assert (state.num_shards, state.num_shards_total, state.num_shards_earlier) == (3, 4, 2)
    assert (state.num_videos, state.num_rows, state.status["ok"]) == (6, 18, 6)
    (tmp_path / shard_name("rgb", 1, 4, "parquet")).write_bytes(b"damaged")
    status = extraction_status(tmp_path)
    assert [finding.shard for finding in status.findings] == [shard_name("rgb", 1, 4, "parquet")]
    assert not status.finished and status.modalities[0].num_videos == 6


@pytest.mark.parametrize(
    ("modality", "options", "words"),
    [
        ("rgb", {"image_size": (4, 6)}, "decodes to 4 x 6; expected 4 x 5"),
        ("flow", {"image_size": (8, 5)}, "decodes to 8 x 5; expected 4 x 5"),
        ("rgb", {"pts": [0, 0.4, 0.2]}, "has times that fall"),
        ("flow", {"pts": [0.2, 0.1, 0.3]}, "has times that fall"),
        ("rgb", {"pts": [0, float("nan"), 1]}, "has times that fall"),
    ],
)
def test_an_image_of_another_size_and_times_that_fall_are_found(tmp_path, modality, options, words, monkeypatch):
    monkeypatch.setattr("tdn_data.pipeline.shards.verify.BYTES_AT_ONCE", 1)  # a row at a time: times fall between reads
    write_shards(tmp_path, modality, OLD, rows={"v2": rows_of(modality, 3, **options)})
    close(tmp_path)
    (finding,) = verify_shards(tmp_path).findings
    assert finding.video_id == "v2" and words in finding.what


def test_equal_times_do_not_fall(tmp_path):
    write_shards(tmp_path, "rgb", OLD, rows={"v2": rows_of("rgb", 3, pts=[0, 0.2, 0.2])})
    close(tmp_path)
    assert verify_shards(tmp_path).findings == ()


def test_a_shard_says_its_classes_and_is_not_opened_without_them(tmp_path):
    write_shards(tmp_path, "rgb", OLD)
    name = shard_names(Storage(tmp_path))[0]
    assert open_shard(Storage(tmp_path), name).about["class_names"] == ["cook", "jump"]
    writer = shard_writer(tmp_path / name, modality="rgb", extension="parquet")
    with pytest.raises(ShardError, match="damaged metadata"):
        writer.close({"schema_version": SCHEMA_VERSION, "modality": "rgb"}, [])
    writer = shard_writer(tmp_path / name, modality="rgb", extension="parquet")
    with pytest.raises(ShardError, match=f"is of schema version 99; this program reads versions 1 to {SCHEMA_VERSION}"):
        writer.close({"schema_version": 99}, [])
