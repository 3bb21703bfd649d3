import pytest

from pipeline.audit import audit_dataset, findings_by_kind
from pipeline.errors import InputError


def test_every_kind_of_fault_is_found_at_once_with_its_line(clip_folder_copy):
    with (clip_folder_copy / "videos.csv").open("a") as file:
        file.write("videos/clip 01.mp4,test,left\nvideos/clip 02.mp4,train,right\n../x.mp4,train,left\n")
        file.write("videos/clip 03.mp4,test,right\nvideos/other.mp4,train,up\n")
    (clip_folder_copy / "videos/clip 03.mp4").rename(clip_folder_copy / "videos/clip 03.mkv")
    findings = audit_dataset("folder", clip_folder_copy)
    assert [(finding.kind, finding.line, finding.fatal) for finding in findings] == [
        ("in_two_splits", 14, True),
        ("repeated_row", 15, False),
        ("outside_root", 16, True),
        ("conflicting_rows", 17, True),
        ("label_out_of_range", 18, True),
        ("missing_file", 5, False),
        ("missing_file", 13, False),
        ("missing_file", 16, False),
        ("missing_file", 18, False),
        ("unlisted_file", None, False),
    ]
    assert findings[-1].path == "videos/clip 03.mkv"
    assert findings_by_kind(findings)["missing_file"] == 4


def test_the_mini_set_lacks_one_file_and_is_not_the_whole(shared_data):
    count, missing = audit_dataset("fcvid", shared_data / "fcvid_mini")
    assert (count.kind, missing.kind) == ("unexpected_count", "missing_file")
    assert "the lists have 14 videos; fcvid was published with 91,223" in count.message
    assert (missing.path, missing.line) == ("videos/broken/mIssing_file.mp4", 14)
    assert missing.source.endswith("FCVID_VideoName_TrainTestSplit.txt")


def test_a_set_without_labelled_videos_is_refused(tmp_path):
    (tmp_path / "jpg").mkdir()
    for number in (100000, 100001):
        (tmp_path / f"jpg/{number}.jpg").touch()
    with pytest.raises(InputError, match="holidays is a data set of retrieval, without a list of labelled videos"):
        audit_dataset("holidays", tmp_path)
