import re
from dataclasses import replace
from pathlib import Path

import pytest

from tdn_data.pipeline.datasets.listing import Finding, ListedVideo, Listing, join_list_splits, row_findings
from tdn_data.pipeline.errors import InputError

SOURCE = Path("lists/train.txt")


def row(line, video_id="a", *, path="a.mp4", split="train", labels=(0,), unknown=(), source=SOURCE):
    return ListedVideo(video_id, path, split, labels, source, line, unknown)


def listing(*rows, classes=("run", "jump")):
    return Listing("folder", Path("root"), classes, False, rows, "classes.txt")


@pytest.mark.parametrize(
    ("second", "kind", "message"),
    [
        (row(2, split="test"), "in_two_splits", r"train.txt, line 2: 'a' is in test here and in train in line 1"),
        (row(2, labels=(1,)), "conflicting_rows", "line 2: 'a' was listed in line 1 with another file or label"),
        (row(2, path="a.avi"), "conflicting_rows", "line 2: 'a' was listed in line 1 with another file or label"),
        (row(2), "repeated_row", "line 2: 'a' was listed in line 1; counted once"),
        (row(9, source=Path("val.txt")), "repeated_row", "val.txt, line 9: 'a' was listed in lists/train.txt, line 1"),
        (row(2, "b", labels=(2,)), "label_out_of_range", r"line 2: label 2 .*classes.txt \(2 classes, 0 to 1\)"),
        (row(2, "b", labels=(-1,)), "label_out_of_range", "label -1"),
        (row(2, "b", labels=(), unknown=("sit",)), "label_out_of_range", r"label 'sit' .*classes.txt \(2 classes\)"),
        (row(2, "b", path="../b.mp4"), "outside_root", r"'../b.mp4' leaves the data set's folder"),
        (row(2, "b", path="/b.mp4"), "outside_root", "'/b.mp4' is an absolute path outside the data set's folder root"),
    ],
)
def test_a_row_that_cannot_stand_is_found_with_its_line(second, kind, message):
    (finding,) = row_findings(listing(row(1), second))
    assert finding.kind == kind
    assert re.search(message, finding.message)
    assert (finding.source, finding.line) == (str(second.source), second.line)
    assert finding.fatal == (kind != "repeated_row")


def test_a_manifest_is_refused_at_the_first_fault_and_counts_the_others():
    with pytest.raises(InputError, match=r"line 2: label 7 .*\(1 more such rows\.\)"):
        listing(row(1), row(2, "b", labels=(7,)), row(3, "c", labels=(8,))).manifest()
    with pytest.raises(InputError, match="name no video; they need one row per video"):
        listing().manifest()


def test_a_row_given_twice_is_one_record():
    manifest = listing(row(1), row(2), row(3, "b", path="b.mp4", split="test", labels=(1,))).manifest()
    assert [(record.video_id, record.path, record.split, record.labels) for record in manifest] == [
        ("a", "a.mp4", "train", (0,)),
        ("b", "b.mp4", "test", (1,)),
    ]
    assert (manifest.dataset, manifest.root, manifest.class_names) == ("folder", "root", ("run", "jump"))


def test_joined_list_splits_hold_every_video_once_with_its_split_in_each():
    first = replace(listing(row(1), row(2, "b", path="b.mp4", split="test")), left_out=frozenset({"c.mp4", "d.mp4"}))
    second = replace(listing(row(1, "c", path="c.mp4"), row(2, split="test")), left_out=frozenset({"b.mp4", "d.mp4"}))
    joined = join_list_splits({1: first, 2: second}, 2)
    assert joined.left_out == {"d.mp4"}
    records = joined.manifest().records
    assert [(record.video_id, record.split, record.list_splits) for record in records] == [
        ("c", "train", (None, "train")),
        ("a", "test", ("train", "test")),
        ("b", "unused", ("test", None)),
    ]
    assert not any(record.list_splits for record in first.manifest())


def test_list_splits_may_differ_in_the_split_of_a_video_but_not_in_its_label_or_file():
    first, other = listing(row(1), row(2, "b")), Path("lists/train2.txt")
    second = listing(
        row(1, split="test", source=other), row(2, "b", labels=(1,), source=other), row(3, "b", source=other)
    )
    findings = list(row_findings(join_list_splits({1: first, 2: second}, 1)))
    assert [(finding.kind, finding.source, finding.line) for finding in findings] == [
        ("conflicting_rows", str(other), 2),
        ("conflicting_rows", str(other), 3),
    ]
    assert "train2.txt, line 2: 'b' was listed in lists/train.txt, line 2 with another file" in findings[0].message


def test_an_unknown_kind_of_finding_is_refused():
    with pytest.raises(ValueError, match="kind is 'odd'; known kinds: outside_root"):
        Finding("odd", "message")
