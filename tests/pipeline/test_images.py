"""Image files: read as they are meant to be seen, written whole."""

import os

import cv2
import numpy as np
import pytest

from tdn_data.pipeline.errors import InputError, StorageError
from tdn_data.pipeline.images import decode_image, read_image_file, write_png


def with_orientation(path, image, orientation):
    """Write a JPEG whose EXIF tag says how it is turned."""
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01" + bytes([0, orientation, 0, 0])
    exif = b"Exif\0\0MM\x00\x2a\x00\x00\x00\x08\x00\x01" + entry + b"\0\0\0\0"
    content = cv2.imencode(".jpg", image)[1].tobytes()
    path.write_bytes(content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:])
    return path


def test_an_image_is_turned_as_its_tag_says(tmp_path):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20, :30] = 255  # upper left
    places = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 6: (0, 1), 8: (1, 0)}
    for orientation, (low, right) in places.items():
        seen = read_image_file(with_orientation(tmp_path / f"{orientation}.jpg", image, orientation))
        assert seen.shape == ((60, 40, 3) if orientation > 4 else (40, 60, 3))
        quarters = seen.reshape(2, seen.shape[0] // 2, 2, seen.shape[1] // 2, 3).mean(axis=(1, 3, 4)) > 128
        assert np.argwhere(quarters).tolist() == [[low, right]], orientation


def test_a_grey_reading_is_turned_too(tmp_path):
    path = with_orientation(tmp_path / "a.jpg", np.zeros((40, 60, 3), np.uint8), 6)
    assert read_image_file(path, channels=1).shape == (60, 40)


@pytest.mark.parametrize("codec", ["jpeg", "png"])
@pytest.mark.parametrize("shape", [(33, 47, 3), (33, 47)])
def test_a_picture_decodes_to_opencvs_own_with_red_first(codec, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    content = cv2.imencode(".jpg" if codec == "jpeg" else ".png", image)[1]
    blue_first = cv2.imdecode(content, cv2.IMREAD_COLOR)
    decoded = decode_image(content.tobytes(), codec=codec, height=33, width=47, channels=3)
    np.testing.assert_array_equal(decoded, blue_first[..., ::-1])


def test_what_is_no_regular_image_file_is_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.png").write_text("no image")
    for name, words in (
        ("fifo.png", "is a FIFO"),
        ("folder.png", "is a folder"),
        ("text.png", "is no image"),
        ("gone.png", "does not exist"),
        ("x" * 300, "too long"),
    ):
        with pytest.raises(InputError, match=words):
            read_image_file(tmp_path / name)


def test_a_png_is_written_whole_or_the_old_one_stays(tmp_path, few_bytes_a_file):
    write_png(tmp_path / "a.png", np.full((4, 4, 3), 9, np.uint8))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with few_bytes_a_file(1000), pytest.raises(StorageError, match=r"a.png cannot be written \(file too large\)"):
        write_png(tmp_path / "a.png", noise)
    assert os.listdir(tmp_path) == ["a.png"] and (read_image_file(tmp_path / "a.png") == 9).all()
