import pytest

from pipeline.datasets import DATASETS, dataset_spec, read_dataset, read_retrieval, read_videos
from pipeline.datasets.base import DatasetSpec, first_existing, mirror_labels, read_class_names
from pipeline.errors import InputError


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


@pytest.mark.parametrize("name", ["fcvid", "sintel"])
def test_sets_that_are_not_for_retrieval_say_whom_they_serve(name, tmp_path):
    message = f"{name} is a data set of {DATASETS[name].kind}, not for retrieval; it serves {DATASETS[name].used_by}"
    with pytest.raises(InputError, match=message):
        read_retrieval(name, tmp_path)


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


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind is 'songs'; known kinds: videos"):
        DatasetSpec("x", "x", "x", "ROOT", read=list, kind="songs")
