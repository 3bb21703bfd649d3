"""Flow in files."""

import os
import struct

import cv2
import numpy as np
import pytest

from tdn_data.pipeline.errors import InputError, StorageError
from tdn_data.pipeline.flow import flow_between_files, read_flo, write_flo


@pytest.fixture
def images(tmp_path):
    """Two image files of a texture that moves 2 pixels to the right."""
    noise = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    first = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    paths = tmp_path / "a.png", tmp_path / "b.png"
    for path, image in zip(paths, (first, np.roll(first, 2, axis=1)), strict=True):
        cv2.imwrite(str(path), image)
    return paths


def test_flo_files_come_back_as_they_were(tmp_path):
    flow = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    flow[1, 2] = 1e10
    write_flo(tmp_path / "f.flo", flow)
    assert np.array_equal(read_flo(tmp_path / "f.flo"), flow)


def test_flo_files_are_laid_out_as_middlebury_says(tmp_path):
    write_flo(tmp_path / "f.flo", np.arange(12, dtype=np.float32).reshape(2, 3, 2))
    content = (tmp_path / "f.flo").read_bytes()
    assert struct.unpack("<fii", content[:12]) == (202021.25, 3, 2)
    assert struct.unpack("<12f", content[12:]) == tuple(range(12))


def test_opencv_reads_what_we_write(tmp_path):
    flow = np.random.default_rng(1).normal(size=(6, 4, 2)).astype(np.float32)
    write_flo(tmp_path / "f.flo", flow)
    assert np.array_equal(cv2.readOpticalFlow(str(tmp_path / "f.flo")), flow)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no .flo file"),
        (b"PNG.........", "no .flo file"),
        (b"PIEH" + struct.pack("<ii", 0, 4), "0 x 4"),
        (b"PIEH" + struct.pack("<ii", -1, 4), "header is damaged"),
        (b"PIEH" + struct.pack("<ii", 2, 2) + bytes(31), "43 bytes"),
        (b"PIEH" + struct.pack("<ii", 2, 2) + bytes(33), "45 bytes"),
    ],
)
def test_damaged_flo_files_are_refused(tmp_path, content, message):
    (tmp_path / "f.flo").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_flo(tmp_path / "f.flo")
    assert caught.value.path == str(tmp_path / "f.flo")


def test_a_missing_flo_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="nowhere.flo: the .flo file does not exist"):
        read_flo(tmp_path / "nowhere.flo")


def test_writing_into_no_folder_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_flo(tmp_path / "nowhere" / "f.flo", np.zeros((2, 2, 2)))


def test_a_failed_overwrite_leaves_the_old_flo_file_and_nothing_else(tmp_path, few_bytes_a_file):
    write_flo(tmp_path / "f.flo", np.ones((2, 2, 2)))
    with few_bytes_a_file(1000), pytest.raises(StorageError, match=r"f.flo cannot be written \(file too large\)"):
        write_flo(tmp_path / "f.flo", np.zeros((50, 50, 2)))
    assert np.array_equal(read_flo(tmp_path / "f.flo"), np.ones((2, 2, 2)))
    assert os.listdir(tmp_path) == ["f.flo"]


@pytest.mark.parametrize("same", ["itself", "hard link", "symbolic link"])
@pytest.mark.parametrize("number", [0, 1])
def test_an_input_is_never_overwritten(images, tmp_path, same, number):
    before, out = images[number].read_bytes(), images[number]
    if same != "itself":
        out = tmp_path / "out.png"
        (out.hardlink_to if same == "hard link" else out.symlink_to)(images[number])
    with pytest.raises(InputError, match="is also read; give another name to write to"):
        flow_between_files(*images, output=out)
    assert images[number].read_bytes() == before


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3), (0, 4, 2)])
def test_only_one_field_is_written(tmp_path, shape):
    with pytest.raises(ValueError, match="one field"):
        write_flo(tmp_path / "f.flo", np.zeros(shape))


def test_flow_between_files_is_written_and_compared_with_a_truth(images, tmp_path):
    truth = np.zeros((40, 50, 2), np.float32)
    truth[..., 0] = 2
    truth[:, :4] = 1e10
    write_flo(tmp_path / "truth.flo", truth)
    report = flow_between_files(*images, output=tmp_path / "f.flo", truth=tmp_path / "truth.flo")
    assert np.array_equal(read_flo(tmp_path / "f.flo"), report.flow)
    assert report.error.mean < 0.3
    assert report.error.num_unknown == 160
    assert report.mean_magnitude == pytest.approx(2, abs=0.3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "f.flo", "truth.flo"]


def test_flow_between_files_is_drawn_in_colours(images, tmp_path):
    report = flow_between_files(*images, output=tmp_path / "f.png", method="farneback")
    picture = cv2.imread(str(tmp_path / "f.png"))
    assert picture.shape == (40, 50, 3)
    blue, _, red = picture[20, 25].astype(int)
    assert red > blue  # motion to the right
    assert report.error is None


def test_files_that_do_not_fit_are_refused_before_anything_is_computed(images, tmp_path):
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((20, 20), np.uint8))
    write_flo(tmp_path / "small.flo", np.zeros((20, 20, 2)))
    (tmp_path / "text.png").write_text("no image")
    cases = [
        ((*images,), {"output": tmp_path / "f.mp4"}, "written as .flo or .png"),
        ((images[0], tmp_path / "small.png"), {}, "50 x 40 and .* 20 x 20"),
        ((images[0], tmp_path / "text.png"), {}, "no image"),
        ((images[0], tmp_path / "gone.png"), {}, "gone.png: the image does not exist"),
        ((*images,), {"truth": tmp_path / "small.flo"}, "20 x 20 pixels and the images 50 x 40"),
    ]
    for pair, options, message in cases:
        with pytest.raises(InputError, match=message):
            flow_between_files(*pair, **({"output": tmp_path / "f.flo"} | options))
    assert not (tmp_path / "f.flo").exists()
