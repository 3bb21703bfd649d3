import pytest

from tdn_data.pipeline.datasets.registry import DATASETS, read_dataset
from tdn_data.pipeline.errors import InputError

TRAIN = "https://www.youtube.com/watch?v=UDqivjS-lpI 1,0\nhttp://www.youtube.com/watch?v=-a_B 2\n"
TEST = "https://youtu.be/c0 0\n"


def make(root, *, train=TRAIN, test=TEST, classes="boomerang\nboxing\nbowling\n"):
    (root / "original").mkdir()
    (root / "original/train_partition.txt").write_text(train)
    (root / "original/test_partition.txt").write_text(test)
    (root / "labels.txt").write_text(classes)
    return root


def test_rows_are_addresses_and_labels_from_zero(tmp_path):
    make(tmp_path)
    (tmp_path / "videos/U").mkdir(parents=True)
    (tmp_path / "videos/U/UDqivjS-lpI.webm").touch()
    listing = read_dataset("sports1m", tmp_path)
    assert listing.multi_label
    assert [(row.video_id, row.path, row.split, row.labels) for row in listing.videos] == [
        ("UDqivjS-lpI", "videos/U/UDqivjS-lpI.webm", "train", (1, 0)),
        ("-a_B", "videos/-a_B.mp4", "train", (2,)),
        ("c0", "videos/c0.mp4", "test", (0,)),
    ]


def test_the_official_class_list_has_487_names_and_the_readmes_example_fits_it(shared_data, tmp_path):
    classes = (shared_data / "annotations/sports1m/labels.txt").read_text(encoding="utf-8")
    make(tmp_path, train="https://www.youtube.com/watch?v=UDqivjS-lpI 168,169\n", classes=classes)
    manifest = read_dataset("sports1m", tmp_path).manifest()
    assert len(manifest.class_names) == DATASETS["sports1m"].num_classes == 487
    assert (manifest.class_names[0], manifest.class_names[486]) == ("boomerang", "model aircraft")
    assert manifest.records[0].labels == (168, 169)


def test_the_sampling_is_the_papers():
    spec = DATASETS["sports1m"]
    assert (spec.frame_fps, spec.max_seconds, spec.repeat_to) == (1.0, 300.0, 300)
    assert (spec.flow_fps, spec.flow_bound, spec.size) == (15.0, 40.0, (256, 256))


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": "https://www.youtube.com/watch?v=x\n"}, "train_partition.txt, line 1: expected a YouTube address"),
        ({"train": "\nvideo.mp4 3\n"}, "train_partition.txt, line 2: expected a YouTube address"),
        ({"train": "https://youtu.be/x 1,3\n"}, r"line 1: label 3 of .* is not in .*labels.txt \(3 classes, 0 to 2\)"),
        ({"test": TRAIN}, "test_partition.txt, line 1: 'UDqivjS-lpI' is in test here and in train in .*train_part"),
        ({"classes": "a\na\n"}, "labels.txt, line 2: the class 'a' was named in line 1"),
    ],
)
def test_wrong_lists_are_named_with_their_line(tmp_path, lists, message):
    with pytest.raises(InputError, match=message):
        read_dataset("sports1m", make(tmp_path, **lists)).manifest()
