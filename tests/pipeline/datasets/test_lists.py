import pytest

from tdn_data.pipeline.datasets.audit import audit_listing
from tdn_data.pipeline.datasets.registry import DATASETS, read_dataset, read_videos
from tdn_data.pipeline.errors import InputError


def make(root, **lists):
    (root / "annotations").mkdir()
    for name, text in lists.items():
        (root / f"annotations/{name}.txt").write_text(text)
    return root


def test_a_lists_name_says_its_split(tmp_path):
    make(
        tmp_path,
        k400_train_list="a b/c 1.mp4 0\nd.mp4 2\n",
        validation="e.mp4 1\n",
        rawframe_test="f.avi 0\n",
        contest_notes="nothing",
    )
    listing = read_dataset("lists", tmp_path)
    assert [(row.video_id, row.path, row.split, row.labels) for row in listing.videos] == [
        ("a b/c 1", "videos/a b/c 1.mp4", "train", (0,)),
        ("d", "videos/d.mp4", "train", (2,)),
        ("f", "videos/f.avi", "test", (0,)),
        ("e", "videos/e.mp4", "val", (1,)),
    ]
    assert listing.class_names == ("class_000", "class_001", "class_002") and not listing.multi_label


def test_of_numbered_lists_those_of_the_asked_split_are_read(tmp_path):
    make(tmp_path, hmdb51_train_split_1="a.avi 0\n", hmdb51_train_split_2="b.avi 0\n", ucf_val_split2="c.avi 0\n")
    assert [row.video_id for row in read_dataset("lists", tmp_path, list_split=2).videos] == ["b", "c"]
    with pytest.raises(InputError, match="holds no list of split 3"):
        read_dataset("lists", tmp_path, list_split=3)


def test_numbered_lists_are_read_together_and_those_without_a_number_belong_to_each(tmp_path):
    make(tmp_path, train_split_1="a.avi 0\n", train_split_2="b.avi 2\n", test="c.avi 0\n")
    manifest = read_videos("lists", tmp_path, list_split=2).manifest()
    assert {record.video_id: (record.split, record.list_splits) for record in manifest} == {
        "c": ("test", ("test", "test")),
        "b": ("train", (None, "train")),
        "a": ("unused", ("train", None)),
    }
    assert manifest.class_names == ("class_000", "class_001", "class_002")


def test_the_official_lists_of_videos_are_read(shared_data, tmp_path):
    official = shared_data / "annotations/lists"
    make(tmp_path, video_test_list=(official / "video_test_list.txt").read_text())
    listing = read_dataset("lists", tmp_path)
    assert len(listing.videos) == 2 and len(listing.manifest()) == 1  # the same row twice
    findings = audit_listing(listing, DATASETS["lists"])
    assert [finding.kind for finding in findings] == ["repeated_row", "no_training_video", "missing_file"]
    (tmp_path / "annotations/video_test_list.txt").write_text(
        (official / "video_test_list_multi_label.txt").read_text()
    )
    listing = read_dataset("lists", tmp_path)
    assert listing.multi_label and [row.labels for row in listing.videos] == [(0, 3), (0, 2, 4)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rawframe_test_list", [("imgs", 0, 5, (127,))] * 2),
        ("rawframe_test_list_multi_label", [("imgs", 0, 5, (1,)), ("imgs", 0, 5, (3, 5))]),
        ("rawframe_test_list_with_offset", [("imgs@2", 2, 5, (127,))] * 2),
    ],
)
def test_the_official_lists_of_frame_folders_are_read(shared_data, tmp_path, name, expected):
    make(tmp_path, **{name: (shared_data / f"annotations/lists/{name}.txt").read_text()})
    folders = read_dataset("frame-lists", tmp_path)
    assert [(row.video_id, row.first_frame, row.num_frames, row.labels) for row in folders.videos] == expected
    assert {row.path for row in folders.videos} == {"frames/imgs"}


def test_the_official_list_of_something_something_is_one_with_offsets(shared_data, tmp_path):
    text = (shared_data / "annotations/something/sthv2_processed_head.txt").read_text()
    make(tmp_path, sthv2_train_with_offset=text)
    first = read_dataset("frame-lists", tmp_path).checked().videos[0]
    assert (first.video_id, first.first_frame, first.num_frames, first.labels) == ("74225", 0, 57, (140,))


@pytest.mark.parametrize(
    ("dataset", "lists", "message"),
    [
        ("lists", {"train": "a.mp4\n"}, "train.txt, line 1: expected a path and whole numbers, found 'a.mp4'"),
        ("lists", {"train": "a.mp4 1\nframes 20 1\n"}, "line 2: 'frames' is no video file; .* `frame-lists`"),
        ("lists", {"train": "a.mp4 0\n", "val": "a.mp4 0\n"}, "val.txt, line 1: 'a' is in val here and in train in"),
        ("lists", {"train": "data/a.mp4 0\na.mp4 5\n"}, "line 2: label 5 .*classes.txt"),
        ("lists", {"notes": "a.mp4 0\n"}, "holds no list of split 1; its .txt files must have train, val or test"),
        ("lists", {"train": "a.mp4 0\nb.mp4 1 1\n"}, "line 2: 'videos/b.mp4' has the label 'jump' 2 times"),
        ("lists", {"train": "/a.mp4 0\n"}, "line 1: '/a.mp4' is an absolute path outside the data set's folder"),
        ("lists", {"train": f"a.mp4 {'9' * 5000}\n"}, "line 1: at most 10,000 numbers of at most 18 digits may follow"),
        ("frame-lists", {"train": "a 20\n"}, "line 1: expected folder, number of frames, label"),
        ("frame-lists", {"train": "a 0 1\n"}, "line 1: expected folder, number of frames, label"),
        ("frame-lists", {"train_offset": "a 20 1\n"}, "line 1: expected folder, first frame, number of frames, label"),
    ],
)
def test_wrong_lists_are_named_with_their_line(tmp_path, dataset, lists, message):
    (tmp_path / "classes.txt").write_text("run\njump\n")
    with pytest.raises(InputError, match=message):
        read_dataset(dataset, make(tmp_path, **lists)).checked()


@pytest.mark.parametrize("label", [1_000_000, 100_000_000, 3_000_000_000, 10**17])
def test_a_label_that_no_class_list_could_have_is_refused_at_once(tmp_path, label):
    with pytest.raises(InputError, match=rf"train.txt, line 2: label {label:,} is above 999,999"):
        read_dataset("lists", make(tmp_path, train=f"a.mp4 0\nb.mp4 {label}\n"))


def test_numbers_of_frames_are_not_taken_for_labels(tmp_path):
    make(tmp_path, train="a.mp4 0 120\nb.mp4 1 75\n")
    with pytest.raises(InputError, match="train.txt, line 1: every row has two numbers, .*put `multi` into"):
        read_dataset("lists", tmp_path)
    (tmp_path / "annotations/train.txt").rename(tmp_path / "annotations/train_multi.txt")
    assert [row.labels for row in read_dataset("lists", tmp_path).videos] == [(0, 120), (1, 75)]
    (tmp_path / "annotations/train_multi.txt").write_text("a.mp4 0 1\nb.mp4 1\n")
    assert read_dataset("lists", tmp_path).multi_label


@pytest.mark.parametrize(("name", "split"), [("training", "train"), ("my_valid_list", "val"), ("testing_1", "test")])
def test_every_usual_word_for_a_split_is_known(tmp_path, name, split):
    assert read_dataset("lists", make(tmp_path, **{name: "a.mp4 0\n"})).videos[0].split == split
