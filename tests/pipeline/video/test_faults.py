"""Files of known faults, on which an earlier state gave wrong pictures under the word ok: ../shared/data/faults."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.video import iter_frames, probe, sample_frames

# name -> seconds between frames, numbers of the pictures due, (height, width), pictures in all
RIGHT = {
    "nocts.mkv": (0.52, [0, 13, 26, 39, 52, 65, 78, 91], (144, 176), 100),
    "h263.avi": (0.5, [0, 12, 25, 37, 50, 62], (144, 176), 75),
    "mp43_noidx.avi": (0.5, [0, 12, 25, 37, 50, 62], (144, 176), 75),
    "hflip.mp4": (0.5, [0, 12], (96, 128), 25),
    "transpose.mp4": (0.5, [0, 12], (128, 96), 25),
    "late1.mkv": (0.5, [0, 12, 25, 37, 50, 62, 75, 87], (96, 128), 100),
    "late1.webm": (0.5, [0, 12, 25, 37], (96, 128), 50),
    "HCAFF1_HHI.mkv": (0.08, [0, 2, 4, 6, 8], (288, 352), 10),
    "size_change.ts": (0.5, [0, 12, 25, 37, 50, 62, 75, 87], (144, 176), 100),
    "sei_rot90.mp4": (0.5, [0, 12, 25, 37, 50, 62, 75, 87], (128, 96), 100),
    "z3.mov": (0.5, [0, 11, 24, 36], (144, 176), 49),
    "crop.mkv": (0.5, [0, 12], (96, 128), 25),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_pictures_due_are_given_whole_and_of_one_size(shared_data, name):
    path = shared_data / "faults" / name
    step, numbers, size, count = RIGHT[name]
    batch = sample_frames(path, every_seconds=step)
    assert (batch.frame_index.tolist(), batch.data.shape[1:3], batch.problem) == (numbers, size, None)
    every = list(iter_frames(path))
    assert [frame.frame_index for frame in every] == list(range(count))
    for data, number in zip(batch.data, numbers, strict=True):
        np.testing.assert_array_equal(data, every[number].data)
    last = sample_frames(path, timestamps=[float(batch.pts_seconds[-1])])
    np.testing.assert_array_equal(last.data[0], batch.data[-1])


def test_a_video_that_starts_late_lasts_from_its_first_picture(shared_data):
    for name, seconds in (("late1.mkv", 4.0), ("late1.webm", 2.0)):
        assert probe(shared_data / "faults" / name).duration_seconds == pytest.approx(seconds)


def test_a_file_cut_between_fragments_is_cut_off(shared_data):
    batch = sample_frames(shared_data / "faults/cut_at_fragment.mp4", every_seconds=0.5)
    assert batch.frame_index.tolist() == [0, 12, 25, 37]
    assert (batch.problem.reason, batch.num_expected) == ("truncated", 8)
