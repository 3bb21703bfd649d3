import numpy as np
import pytest

from tdn_data.pipeline.datasets.audit import audit_dataset
from tdn_data.pipeline.datasets.frame_folders import frame_paths, load_frames
from tdn_data.pipeline.datasets.registry import read_dataset
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.images import read_image_file, write_png

NUM_FRAMES = 6


@pytest.fixture
def root(tmp_path):
    """Two listed folders, the first of six grey images, the second missing; a third folder in no list."""
    for number in range(NUM_FRAMES):
        write_png(tmp_path / f"frames/one/img_{number + 1:05d}.png", np.full((8, 12, 3), 10 * number, np.uint8))
    (tmp_path / "frames/spare").mkdir()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/train_offset.txt").write_text("one 2 3 0\ntwo 0 5 1\none 4 3 1\n")
    return tmp_path


def test_frames_are_the_images_from_the_first_that_counts(root):
    folders = read_dataset("frame-lists", root)
    assert [path.name for path in frame_paths(folders, folders.videos[0])] == [f"img_0000{n}.png" for n in (3, 4, 5)]
    frames = list(load_frames(folders, folders.videos[0]))
    assert [frame.shape for frame in frames] == [(8, 12, 3)] * 3
    assert [int(frame[0, 0, 0]) for frame in frames] == [20, 30, 40]
    assert [int(frame[0, 0, 0]) for frame in load_frames(folders, folders.videos[0], rows=[2, 0])] == [40, 20]


def test_missing_folders_too_few_images_and_unlisted_folders_are_found(root):
    findings = audit_dataset("frame-lists", root)
    assert [(finding.kind, finding.line) for finding in findings] == [
        ("missing_file", 2),
        ("missing_file", 3),
        ("unlisted_file", None),
    ]
    assert "frames/two is missing" in findings[0].message
    assert "holds 6 images; 7 expected" in findings[1].message
    assert findings[2].path == "frames/spare"


def test_a_folder_without_images_is_named(root):
    (root / "annotations/train_offset.txt").write_text("spare 0 1 0\n")
    folders = read_dataset("frame-lists", root)
    with pytest.raises(InputError, match="spare holds 0 images; 1 expected"):
        frame_paths(folders, folders.videos[0])


def test_colours_come_as_rgb(tmp_path):
    write_png(tmp_path / "red.png", np.full((4, 4, 3), (250, 20, 3), np.uint8))
    assert read_image_file(tmp_path / "red.png")[0, 0].tolist() == [250, 20, 3]


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_a_broken_image_is_named(tmp_path, content):
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(InputError, match="x.jpg is no image that can be decoded"):
        read_image_file(tmp_path / "x.jpg")
    with pytest.raises(InputError, match="y.jpg: the image does not exist"):
        read_image_file(tmp_path / "y.jpg")
