import pytest

from tdn_data.pipeline.datasets import fcvid
from tdn_data.pipeline.errors import InputError

ROW = "0 " * 238 + "1"


def make(root, *, splits="a b.mp4\ttrain\nc/-d.avi test\n", labels=f"{ROW}\n{ROW}\n"):
    (root / "materials").mkdir()
    (root / fcvid.SPLIT_LIST).write_text(splits)
    (root / fcvid.LABEL_MATRIX).write_text(labels)


def test_the_mini_set_is_read_whole(shared_data):
    manifest = fcvid.read(shared_data / "fcvid_mini").manifest()
    assert len(manifest) == 14
    assert manifest.splits() == {"train": 7, "test": 7}
    by_id = {record.video_id: record for record in manifest}
    assert by_id["soccerJuggling/-Kq3yZ8aXcE"].path == "videos/soccerJuggling/-Kq3yZ8aXcE.avi"
    assert by_id["soccerJuggling/g24 juggling (2)"].split == "test"
    assert by_id["cooking/fLiPpIng_pk"].labels == (57, 132)
    assert len(manifest.class_names) == 239 and manifest.multi_label


def test_a_path_with_spaces_is_split_at_the_last_white_space(tmp_path):
    make(tmp_path)
    assert [(record.path, record.split) for record in fcvid.read(tmp_path).videos] == [
        ("videos/a b.mp4", "train"),
        ("videos/c/-d.avi", "test"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"splits": "a.mp4 validation\n"}, "line 1: expected a path and train or test"),
        ({"splits": ""}, "is empty; it needs one row per video"),
        ({"splits": "a.mp4 train\n"}, "has 1 rows and .* has 2; the two files must be row-aligned"),
        ({"labels": "0 1\n0 1\n"}, "line 1: expected 239 columns of 0 or 1, found 2"),
        ({"labels": ROW[:-1] + "7\n" + ROW}, "line 1: expected 239 columns of 0 or 1"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(tmp_path, content, message):
    make(tmp_path, **content)
    with pytest.raises(InputError, match=message):
        fcvid.read(tmp_path)


def test_a_missing_folder_or_list_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist; --root must be"):
        fcvid.read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="FCVID_VideoName_TrainTestSplit.txt is missing"):
        fcvid.read(tmp_path)
