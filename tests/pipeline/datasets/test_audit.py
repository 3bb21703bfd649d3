import os

import pytest

from tdn_data.pipeline.datasets.audit import audit_dataset, findings_by_kind
from tdn_data.pipeline.errors import InputError


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
    *untrained, count, missing = audit_dataset("fcvid", shared_data / "fcvid_mini")
    assert (count.kind, missing.kind) == ("unexpected_count", "missing_file")
    assert {finding.kind for finding in untrained} == {"class_without_training"}
    assert "the lists have 14 videos; fcvid was published with 91,223" in count.message
    assert (missing.path, missing.line) == ("videos/broken/mIssing_file.mp4", 14)
    assert missing.source.endswith("FCVID_VideoName_TrainTestSplit.txt")


def test_a_set_without_labelled_videos_is_refused(tmp_path):
    (tmp_path / "training/flow/alley_1").mkdir(parents=True)
    (tmp_path / "training/flow/alley_1/frame_0001.flo").touch()
    with pytest.raises(InputError, match="sintel is a data set of flow pairs, without a list of labelled videos"):
        audit_dataset("sintel", tmp_path)


def make_folder(root, *rows):
    (root / "videos.csv").write_text("\n".join(["path,split,labels", *rows]) + "\n")
    for row in rows:
        path = root / row.partition(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_what_no_network_can_learn_is_said(tmp_path):
    make_folder(tmp_path, "a.mp4,train,run", "b.mp4,test,run", "c.mp4,test,sit")
    (finding,) = audit_dataset("folder", tmp_path)
    assert (finding.kind, finding.line, finding.fatal) == ("class_without_training", 4, False)
    assert "line 4: the class 'sit' is in test and in no train video; no network can learn it" in finding.message
    make_folder(tmp_path, "a.mp4,val,run", "b.mp4,test,run", "c.mp4,test,sit")
    (finding,) = audit_dataset("folder", tmp_path)
    assert finding.kind == "no_training_video" and "(1 val, 2 test)" in finding.message


def test_a_listed_file_written_another_way_is_in_the_list(tmp_path):
    make_folder(tmp_path, "./v/1.mp4,train,run", "v//2.mp4,train,run", "v/./3.mp4,train,run")
    assert audit_dataset("folder", tmp_path) == ()


def test_what_cannot_be_a_file_is_one_finding_a_row(tmp_path):
    make_folder(tmp_path, "a.mp4,train,run")
    (tmp_path / "v.mp4").mkdir()
    os.mkfifo(tmp_path / "w")
    rows = ["a.mp4,train,run", "v.mp4,train,run", "w,train,run", f"{'n' * 300}.mp4,train,run"]
    (tmp_path / "videos.csv").write_text("\n".join(["path,split,labels", *rows]) + "\n")
    findings = audit_dataset("folder", tmp_path)
    assert [(finding.kind, finding.line) for finding in findings] == [("missing_file", line) for line in (3, 4, 5)]
    assert "'v.mp4' is there and no file that can be read" in findings[0].message
    assert "is not there" in findings[2].message


def test_a_missing_file_is_shown_beside_the_one_whose_name_looks_the_same(tmp_path):
    make_folder(tmp_path, "e\u0301.mp4,train,run", "gone.mp4,train,run")
    (tmp_path / "gone.mp4").unlink()
    (tmp_path / "videos.csv").write_text("path,split,labels\n\u00e9.mp4,train,run\ngone.mp4,train,run\n")
    alike, gone, unlisted = audit_dataset("folder", tmp_path)
    assert alike.message.endswith(r"is not there; 'e\u0301.mp4' is in no list and looks like '\xe9.mp4'.")
    assert gone.message.endswith("'gone.mp4' is not there.") and unlisted.path == "e\u0301.mp4"


def test_what_is_there_and_is_no_file_is_found(tmp_path):
    make_folder(tmp_path, "a.mp4,train,run", "gone.mp4,train,run", "loop.mp4,train,run", "pipe.mp4,train,run")
    for name in ("gone", "loop", "pipe"):
        (tmp_path / f"{name}.mp4").unlink()
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    gone, loop, pipe = audit_dataset("folder", tmp_path)
    assert {gone.kind, loop.kind, pipe.kind} == {"missing_file"}
    assert "'gone.mp4' is not there" in gone.message
    assert all("is there and no file that can be read" in finding.message for finding in (loop, pipe))
