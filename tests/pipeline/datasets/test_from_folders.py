import csv
from collections import Counter

import pytest

from tdn_data.pipeline.datasets.from_folders import write_list
from tdn_data.pipeline.datasets.registry import read_videos
from tdn_data.pipeline.errors import InputError


def make(root, **classes):
    for name, videos in classes.items():
        (root / name).mkdir(exist_ok=True)
        for video in videos:
            (root / name / video).touch()
    return root


def splits(root, **shares):
    """Return path -> split of a list that is recreated."""
    (root / "videos.csv").unlink(missing_ok=True)
    with write_list(root, **shares).open(newline="") as file:
        return {row["path"]: row["split"] for row in csv.DictReader(file)}


def numbered(count, start=0):
    return [f"{number:04d}.mp4" for number in range(start, start + count)]


def test_every_class_is_split_in_the_shares_asked_for(tmp_path):
    make(tmp_path, run=numbered(1000), jump=numbered(1000))
    found = splits(tmp_path, val=0.1, test=0.2)
    for name in ("run", "jump"):
        counts = Counter(split for path, split in found.items() if path.startswith(name))
        assert abs(counts["test"] - 200) < 40 and abs(counts["val"] - 100) < 30 and counts.total() == 1000
    listing = read_videos("folder", tmp_path)
    assert listing.class_names == ("jump", "run") and not listing.multi_label and len(listing.manifest()) == 2000


def test_videos_that_are_added_move_no_other_and_the_same_folder_gives_the_same_list(tmp_path):
    make(tmp_path, run=numbered(60), jump=numbered(60))
    before = splits(tmp_path, val=0.1, test=0.2)
    assert splits(tmp_path, val=0.1, test=0.2) == before
    make(tmp_path, run=numbered(60, 60), sit=numbered(5))
    after = splits(tmp_path, val=0.1, test=0.2)
    assert len(after) == 185 and {path: after[path] for path in before} == before


@pytest.mark.parametrize("count", range(1, 12))
def test_every_class_is_trained_and_tested_on_as_far_as_it_has_videos(tmp_path, count):
    make(tmp_path, **{f"c{number}": numbered(count, 100 * number) for number in range(20)})
    found = splits(tmp_path, val=0.1, test=0.1)
    for number in range(20):
        own = {split for path, split in found.items() if path.startswith(f"c{number}/")}
        assert own >= set(["train", "test", "val"][:count])


def test_without_a_share_a_split_stays_empty(tmp_path):
    make(tmp_path, run=numbered(30))
    assert set(splits(tmp_path)) == {f"run/{name}" for name in numbered(30)}
    assert set(splits(tmp_path).values()) == {"train"} and set(splits(tmp_path, val=0.5).values()) == {"train", "val"}


def test_names_with_commas_and_in_deeper_folders_are_listed(tmp_path):
    make(tmp_path, **{"to run": ["a, b.mp4", 'say "x".mp4'], "ü": ["c.mkv"]})
    (tmp_path / "ü/deep").mkdir()
    (tmp_path / "ü/deep/d.mp4").touch()
    write_list(tmp_path)
    named = {row.path: listing.class_names[row.labels[0]] for listing in [read_videos("folder", tmp_path)] for row in
             listing.videos}  # fmt: skip
    assert named == {"to run/a, b.mp4": "to run", 'to run/say "x".mp4': "to run", "ü/c.mkv": "ü", "ü/deep/d.mp4": "ü"}


def test_a_list_that_is_there_is_never_written_over(tmp_path):
    make(tmp_path, run=["a.mp4"])
    (tmp_path / "videos.csv").write_text("mine")
    with pytest.raises(InputError, match="videos.csv is there already; leave --from-folders out to use it"):
        write_list(tmp_path)
    assert (tmp_path / "videos.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("classes", "shares", "message"),
    [
        ({}, {}, "holds no video in a folder of its class"),
        ({"run": ["a.txt"]}, {}, "holds no video in a folder of its class"),
        ({"run;jump": ["a.mp4"]}, {}, "'run;jump' cannot be the name of a class"),
        ({"run": ["a.mp4"]}, {"val": 0.5, "test": 0.5}, "together they must be at least 0 and below 1"),
        ({"run": ["a.mp4"]}, {"val": float("nan")}, "val is nan"),
        ({"run": ["a.mp4"]}, {"test": -0.1}, "test -0.1"),
        ({"run": ["\udcff.mp4"]}, {}, "is not UTF-8; rename it"),
    ],
)
def test_what_makes_no_list_is_said_and_nothing_is_written(tmp_path, classes, shares, message):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match=message):
        write_list(make(tmp_path, **classes), **shares)
    assert not (tmp_path / "videos.csv").exists()
