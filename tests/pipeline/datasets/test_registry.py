import pytest

from tdn_data.pipeline.datasets.base import (
    DatasetSpec,
    first_existing,
    mirror_labels,
    read_class_names,
    repeated_length,
)
from tdn_data.pipeline.datasets.defaults import flow_parameters, frame_parameters
from tdn_data.pipeline.datasets.registry import DATASETS, dataset_spec, read_dataset, read_videos
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.parameters import FlowParameters, FrameParameters


def test_an_unknown_data_set_lists_the_known_ones():
    with pytest.raises(InputError, match="unknown data set 'fvcid'; known data sets: .*fcvid"):
        dataset_spec("fvcid")


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_says_where_it_comes_from_and_how_it_must_lie(name):
    spec = DATASETS[name]
    assert spec.name == name
    assert "ROOT" in spec.layout and spec.source and spec.used_by and spec.title
    assert ("extract" in spec.used_by) == (spec.kind == "videos")


@pytest.mark.parametrize("name", DATASETS)
def test_every_reader_names_a_folder_that_is_missing_or_empty(name, tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist; --root must be the folder that holds the data set"):
        read_dataset(name, tmp_path / "nowhere")
    with pytest.raises(InputError, match="missing|holds no|does not exist"):
        read_dataset(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "list_split", "message"),
    [
        ("hmdb51", 4, "list split is 4; hmdb51 allows 1 to 3"),
        ("ucf101", 0, "list split is 0; ucf101 allows 1 to 3"),
        ("lists", 0, "lists allows 1 or more"),
        ("fcvid", 2, "list split is 2; fcvid has one split only"),
    ],
)
def test_a_split_that_a_set_has_not_is_refused(name, list_split, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_dataset(name, tmp_path, list_split=list_split)


@pytest.mark.parametrize("name", [name for name, spec in DATASETS.items() if spec.kind != "videos"])
def test_sets_that_hold_no_video_files_say_whom_they_serve(name, tmp_path):
    with pytest.raises(InputError, match=f"{name} is a data set of {DATASETS[name].kind}.*it serves .*Python"):
        read_videos(name, tmp_path)


def test_mirroring_swaps_the_classes_that_name_a_direction_and_no_other():
    names = ("move_up", "move_right", "turn_clockwise", "move_left", "turn_counterclockwise")
    assert mirror_labels(DATASETS["demo"], names) == (0, 3, 4, 1, 2)
    assert mirror_labels(DATASETS["hmdb51"], names) == (0, 1, 2, 3, 4)


def test_a_partner_that_is_not_among_the_classes_changes_nothing():
    assert mirror_labels(DATASETS["demo"], ("move_left", "grow")) == (0, 1)


def test_a_class_named_twice_is_refused_with_both_lines(tmp_path):
    (tmp_path / "classes.txt").write_text("run\njump\nrun\n")
    with pytest.raises(InputError, match="classes.txt, line 3: the class 'run' was named in line 1"):
        read_class_names(tmp_path / "classes.txt")


def test_the_first_name_that_is_there_is_taken(tmp_path):
    (tmp_path / "b").mkdir()
    assert first_existing(tmp_path, ("a", "b")) == tmp_path / "b"
    with pytest.raises(InputError, match=r"c is missing \(or d\)"):
        first_existing(tmp_path, ("c", "d"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "songs"}, "kind is 'songs'; known kinds: videos"),
        ({"metrics": ("accuracy",)}, r"metrics is \('accuracy',\); known metrics: top1"),
        ({"short_side": 256}, r"size is \(256, 256\) and short_side 256; one of them must be None"),
        ({"num_list_splits": 3}, "x has 3 list splits; several need find_list_splits"),
    ],
)
def test_a_specification_that_contradicts_itself_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DatasetSpec("x", "x", "x", "ROOT", read=list, **wrong)


@pytest.mark.parametrize(
    ("name", "metrics", "train_split", "test_split"),
    [
        ("fcvid", ("mAP",), "train", "test"),
        ("hmdb51", ("top1",), "train", "test"),
        ("ucf101", ("top1",), "train", "test"),
        ("act", ("top1",), "train", "test"),
        ("kinetics400", ("top1", "top5"), "train", "val"),
        ("something-v1-packed", ("top1", "top5"), "train", "val"),
        ("something-v2", ("top1", "top5"), "train", "val"),
        ("sports1m", ("hit1", "hit5"), "train", "test"),
    ],
)
def test_every_set_has_the_splits_and_metrics_of_its_papers(name, metrics, train_split, test_split):
    spec = DATASETS[name]
    assert (spec.metrics, spec.train_split, spec.test_split) == (metrics, train_split, test_split)


@pytest.mark.parametrize(
    ("parameters", "length"),
    [({"fps": 1.0}, 300), ({"fps": 15.0}, 4500), ({"every_seconds": 3.0}, 100), ({"fps": None}, None), ({}, None)],
)
def test_sports_videos_are_repeated_to_five_minutes_at_any_fixed_rate(parameters, length):
    assert repeated_length(DATASETS["sports1m"], parameters) == length
    assert repeated_length(DATASETS["fcvid"], parameters) is None


def test_the_papers_own_sampling_becomes_parameters():
    fcvid, kinetics = DATASETS["fcvid"], DATASETS["kinetics400"]
    assert frame_parameters(fcvid) == FrameParameters(every_seconds=3, height=256, width=256)
    assert flow_parameters(fcvid) == FlowParameters(fps=15, height=256, width=256, bound=40)
    assert frame_parameters(kinetics) == FrameParameters(short_side=256)
    assert frame_parameters(DATASETS["sports1m"]).max_seconds == 300


def test_what_is_asked_for_goes_before_the_papers_own():
    fcvid, kinetics = DATASETS["fcvid"], DATASETS["kinetics400"]
    assert frame_parameters(fcvid, fps=2, size="native", codec="png") == FrameParameters(fps=2, codec="png")
    assert frame_parameters(fcvid, short_side=128).size == 128
    assert frame_parameters(kinetics, size=(64, 64)).size == (64, 64)
    assert flow_parameters(fcvid, fps=0, bound=20) == FlowParameters(height=256, width=256, bound=20)
    with pytest.raises(InputError, match="size and short_side exclude each other"):
        frame_parameters(fcvid, size="native", short_side=64)
