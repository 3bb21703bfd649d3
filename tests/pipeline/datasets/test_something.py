import json

import pytest

from tdn_data.pipeline.datasets.base import mirror_labels, read_class_names
from tdn_data.pipeline.datasets.registry import DATASETS, read_dataset
from tdn_data.pipeline.errors import InputError

V1, V2 = "something-something-v1", "something-something-v2"


def make_v1(root, *, train="12;Closing something\n", validation="7;Opening something\n"):
    (root / "20bn-something-something-v1").mkdir()
    (root / f"{V1}-labels.csv").write_text("Opening something\nClosing something\n")
    (root / f"{V1}-train.csv").write_text(train)
    (root / f"{V1}-validation.csv").write_text(validation)
    return root


def record(video_id, template):
    return {"id": video_id, "label": "closing a box", "template": template, "placeholders": ["a box"]}


def make_v2(root, *, labels='{"Closing something": "1", "Moving something and something": "0"}', train=None):
    (root / f"{V2}-labels.json").write_text(labels)
    train = [record("78687", "Moving [something] and [something]")] if train is None else train
    (root / f"{V2}-train.json").write_text(json.dumps(train, indent=1))
    (root / f"{V2}-validation.json").write_text(json.dumps([record(74225, "Closing [something]")]))
    return root


def test_version_1_is_folders_of_images_at_12_per_second(tmp_path):
    folders = read_dataset("something-v1", make_v1(tmp_path))
    assert (folders.fps, folders.class_names) == (12.0, ("Opening something", "Closing something"))
    assert [(video.video_id, video.path, video.split, video.labels) for video in folders.videos] == [
        ("12", "20bn-something-something-v1/12", "train", (1,)),
        ("7", "20bn-something-something-v1/7", "val", (0,)),
    ]


def test_version_1_wrapped_into_files_is_a_data_set_of_videos(tmp_path):
    make_v1(tmp_path)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed/12.mkv").touch()
    manifest = read_dataset("something-v1-packed", tmp_path).manifest()
    assert [(record.path, record.labels) for record in manifest] == [("packed/12.mkv", (1,)), ("videos/7.mkv", (0,))]


def test_version_2_finds_a_class_by_its_template_without_brackets(tmp_path):
    manifest = read_dataset("something-v2", make_v2(tmp_path)).manifest()
    assert manifest.class_names == ("Moving something and something", "Closing something")
    assert [(record.video_id, record.path, record.split, record.labels) for record in manifest] == [
        ("78687", "20bn-something-something-v2/78687.webm", "train", (0,)),
        ("74225", "20bn-something-something-v2/74225.webm", "val", (1,)),
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": [record("1", "Closing [something]"), record("2", "Eating [something]")]}, "line 10: label 'Eating"),
        ({"train": [{"id": "1"}]}, "train.json, line 2: expected a record with 'template'"),
        ({"labels": '{"Closing something": "1"}'}, "must be numbered 0 to 0, each once"),
        ({"labels": '{"a": "0", "b": "x"}'}, "must be numbered 0 to 1, each once"),
    ],
)
def test_wrong_lists_of_version_2_are_named_with_their_line(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        read_dataset("something-v2", make_v2(tmp_path, **changed)).manifest()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("12,Closing something\n", "train.csv, line 1: expected id;label"),
        ("../12;Closing something\n", "train.csv, line 1: expected id;label"),
        ("12;Eating something\n", "train.csv, line 1: label 'Eating something' .*labels.csv"),
        ("7;Opening something\n", "validation.csv, line 1: '7' is in val here and in train in"),
    ],
)
def test_wrong_lists_of_version_1_are_named_with_their_line(tmp_path, train, message):
    with pytest.raises(InputError, match=message):
        read_dataset("something-v1", make_v1(tmp_path, train=train)).checked()


def test_mirroring_swaps_three_pairs_of_the_official_classes(shared_data):
    names = read_class_names(shared_data / "annotations/something/sthv2_label_map.txt")
    assert len(names) == DATASETS["something-v2"].num_classes == 174
    swapped = mirror_labels(DATASETS["something-v2"], names)
    changed = {label: other for label, other in enumerate(swapped) if label != other}
    assert changed == {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}


def test_the_same_pairs_are_swapped_in_the_other_order_of_version_1(shared_data):
    names = read_class_names(shared_data / "annotations/something/sthv1_label_map.txt")
    swapped = mirror_labels(DATASETS["something-v1"], names)
    changed = {names[label]: names[other] for label, other in enumerate(swapped) if label != other}
    assert changed == {
        left: right for pair in DATASETS["something-v1"].mirror_pairs for left, right in (pair, pair[::-1])
    }


def test_the_official_text_label_map_serves_for_version_2(shared_data, tmp_path):
    make_v2(tmp_path, train=[record("1", "Pushing [something] from left to right")])
    (tmp_path / f"{V2}-labels.json").unlink()
    (tmp_path / "sthv2_label_map.txt").symlink_to(shared_data / "annotations/something/sthv2_label_map.txt")
    assert read_dataset("something-v2", tmp_path).manifest().records[0].labels == (93,)
