import pytest

from tdn_data.pipeline.datasets.audit import audit_listing, findings_by_kind
from tdn_data.pipeline.datasets.registry import DATASETS, read_dataset, read_videos
from tdn_data.pipeline.errors import InputError

LISTS = {
    "wave_test_split1.txt": "a b.avi 1 \nc!.avi 2 \nd.avi 0 \n",
    "run_test_split1.txt": "e.avi 2\n",
    "wave_test_split2.txt": "a b.avi 2 \nc!.avi 1 \nd.avi 1 \n",
    "run_test_split2.txt": "e.avi 1\n",
}


def make(root, lists=LISTS):
    for name in ("splits", "videos/wave", "videos/run"):
        (root / name).mkdir(parents=True)
    for name, text in lists.items():
        (root / "splits" / name).write_text(text)
    return root


def test_marks_1_and_2_are_train_and_test_and_0_is_left_out(tmp_path):
    listing = read_dataset("hmdb51", make(tmp_path))
    assert listing.class_names == ("run", "wave")
    assert [(row.video_id, row.path, row.split, row.labels) for row in listing.videos] == [
        ("run/e", "videos/run/e.avi", "test", (0,)),
        ("wave/a b", "videos/wave/a b.avi", "train", (1,)),
        ("wave/c!", "videos/wave/c!.avi", "test", (1,)),
    ]
    assert listing.left_out == {"videos/wave/d.avi"}


def test_another_split_gives_other_marks(tmp_path):
    listing = read_dataset("hmdb51", make(tmp_path), list_split=2)
    assert [row.split for row in listing.videos] == ["train", "test", "train", "train"]


def test_all_splits_are_read_together_and_serve_one_extraction(tmp_path):
    manifest = read_videos("hmdb51", make(tmp_path), list_split=2).manifest()
    assert {record.video_id: (record.split, record.list_splits) for record in manifest} == {
        "run/e": ("train", ("test", "train")),
        "wave/a b": ("test", ("train", "test")),
        "wave/c!": ("train", ("test", "train")),
        "wave/d": ("train", (None, "train")),
    }
    (record,) = [record for record in read_videos("hmdb51", tmp_path).manifest() if record.video_id == "wave/d"]
    assert (record.split, record.list_splits) == ("unused", (None, "train"))


def test_counts_are_those_of_each_split(tmp_path):
    findings = audit_listing(read_videos("hmdb51", make(tmp_path)), DATASETS["hmdb51"])
    counts = [finding.message for finding in findings if finding.kind == "unexpected_count"]
    assert ["the lists of split 1 have 3 videos" in counts[1], "the lists of split 2 have 4 videos" in counts[2]] == [
        True
    ] * 2
    assert len([finding for finding in findings if finding.kind == "missing_file"]) == 4


def test_a_class_without_a_file_for_one_split_is_named(tmp_path):
    make(tmp_path, {name: text for name, text in LISTS.items() if name != "run_test_split2.txt"})
    with pytest.raises(InputError, match="holds no run_test_split2.txt; other splits have that class"):
        read_videos("hmdb51", tmp_path)


def test_the_official_lists_have_70_train_and_30_test_clips_a_class(shared_data, tmp_path):
    (tmp_path / "splits").symlink_to(shared_data / "annotations/hmdb51")
    (tmp_path / "videos").mkdir()
    listing = read_dataset("hmdb51", tmp_path)
    assert listing.class_names == ("brush_hair", "cartwheel", "wave")
    assert listing.manifest().splits() == {"train": 210, "test": 90}
    assert len(listing.left_out) == 18
    kinds = findings_by_kind(audit_listing(listing, DATASETS["hmdb51"]))
    assert kinds == {"unexpected_count": 2, "missing_file": 300}  # three of the 51 classes, and no videos


def test_a_clip_that_no_split_uses_is_not_unlisted(tmp_path):
    make(tmp_path)
    for name in ("wave/d.avi", "wave/x.avi"):
        (tmp_path / "videos" / name).touch()
    findings = audit_listing(read_dataset("hmdb51", tmp_path), DATASETS["hmdb51"])
    assert [finding.path for finding in findings if finding.kind == "unlisted_file"] == ["videos/wave/x.avi"]


@pytest.mark.parametrize("text", ["a.avi 3\n", "a.avi\n", "1\n"])
def test_a_row_without_a_known_mark_is_named(tmp_path, text):
    make(tmp_path, {"wave_test_split1.txt": "b.avi 1\n" + text})
    with pytest.raises(InputError, match=r"split1.txt, line 2: expected a file name and 1 \(train\), 2 \(test\) or 0"):
        read_dataset("hmdb51", tmp_path)


def test_a_split_without_lists_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no file <class>_test_split3.txt"):
        read_dataset("hmdb51", make(tmp_path), list_split=3)
