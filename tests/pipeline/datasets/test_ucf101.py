import pytest

from tdn_data.pipeline.datasets.registry import read_dataset, read_videos
from tdn_data.pipeline.errors import InputError

LISTS = {
    "classInd.txt": "1 Archery\r\n2 Bowling\r\n",
    "trainlist01.txt": "Archery/v_a.avi 1\r\nBowling/v_b.avi 2\r\n",
    "testlist01.txt": "Bowling/v_c.avi\r\n",
    "trainlist02.txt": "Bowling/v_c.avi 2\r\n",
    "testlist02.txt": "Archery/v_a.avi\r\n",
}


def make(root, **changed):
    for name in ("lists", "videos"):
        (root / name).mkdir()
    for name, text in LISTS.items():
        text = changed.get(name.removesuffix(".txt"), text)
        (root / "lists" / name).write_bytes(text.encode())
    return root


def test_classes_count_from_zero_and_a_test_clips_class_is_its_folder(tmp_path):
    listing = read_dataset("ucf101", make(tmp_path))
    assert listing.class_names == ("Archery", "Bowling")
    assert [(row.video_id, row.path, row.split, row.labels, row.line) for row in listing.videos] == [
        ("Archery/v_a", "videos/Archery/v_a.avi", "train", (0,), 1),
        ("Bowling/v_b", "videos/Bowling/v_b.avi", "train", (1,), 2),
        ("Bowling/v_c", "videos/Bowling/v_c.avi", "test", (1,), 1),
    ]


def test_the_second_split_reads_the_second_lists(tmp_path):
    manifest = read_dataset("ucf101", make(tmp_path), list_split=2).manifest()
    assert [(record.video_id, record.split) for record in manifest] == [
        ("Bowling/v_c", "train"),
        ("Archery/v_a", "test"),
    ]


def test_both_splits_are_read_together(tmp_path):
    manifest = read_videos("ucf101", make(tmp_path)).manifest()
    assert [(record.video_id, record.split, record.list_splits) for record in manifest] == [
        ("Archery/v_a", "train", ("train", "test")),
        ("Bowling/v_b", "train", ("train", None)),
        ("Bowling/v_c", "test", ("test", "train")),
    ]


def test_the_official_first_split_has_9537_and_3783_clips(shared_data, tmp_path):
    (tmp_path / "ucfTrainTestlist").symlink_to(shared_data / "annotations/ucf101")
    (tmp_path / "UCF-101").mkdir()
    manifest = read_dataset("ucf101", tmp_path).manifest()
    assert manifest.splits() == {"train": 9_537, "test": 3_783}
    assert len(manifest.class_names) == 101 and manifest.class_names[100] == "YoYo"
    assert {label for record in manifest for label in record.labels} == set(range(101))
    assert all(record.path.split("/")[1] == manifest.class_names[record.labels[0]] for record in manifest)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trainlist01": "Archery/v_a.avi 2\n"}, "trainlist01.txt, line 1: .* label 2, but its folder is number 1 in"),
        ({"trainlist01": "Archery/v_a.avi\n"}, "trainlist01.txt, line 1: expected <class>/<file> and a label from 1"),
        ({"testlist01": "\nv_a.avi\n"}, "testlist01.txt, line 2: expected <class>/<file>, found 'v_a.avi'"),
        ({"testlist01": "Diving/v_a.avi\n"}, "testlist01.txt, line 1: label 'Diving' .*classInd.txt"),
        ({"classInd": "1 Archery\n3 Bowling\n"}, "classInd.txt, line 2: expected 2 and a class name"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        read_dataset("ucf101", make(tmp_path, **changed)).manifest()
