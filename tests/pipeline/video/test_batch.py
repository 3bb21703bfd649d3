"""A batch of frames in the hands of somebody who explores it."""

from dataclasses import replace

import numpy as np
import pytest

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.video import Frame, FrameBatch, sample_frames, write_video


@pytest.fixture
def batch(tmp_path):
    """Frames of a clip of 12 at 10 a second, one for each 0.3 s."""
    frames = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.full((1, 32, 48, 3), 20, np.uint8)
    write_video(tmp_path / "a.mp4", frames, fps=10)
    return sample_frames(tmp_path / "a.mp4", every_seconds=0.3)


def test_it_shows_shapes_and_times_in_place_of_pixels(batch):
    batch = replace(batch, decoding="sparse")
    assert repr(batch) == "FrameBatch(data=uint8 (4, 32, 48, 3), pts_seconds=0 to 0.9, num_expected=4)"
    words = "Frame(data=uint8 (32, 48, 3), pts_seconds=0.3, duration_seconds=0.1, frame_index=3)"
    assert repr(batch[1]) == words


def test_a_number_gives_a_frame_and_a_slice_a_batch(batch):
    last = batch[-1]
    assert isinstance(last, Frame) and (last.frame_index, last.pts_seconds) == (9, pytest.approx(0.9))
    part = batch[1:3]
    assert isinstance(part, FrameBatch) and part.frame_index.tolist() == [3, 6]
    assert batch[np.array([True, False, False, True])].frame_index.tolist() == [0, 9]
    assert [frame.frame_index for frame in batch] == [0, 3, 6, 9]
    with pytest.raises(IndexError):
        batch[4]


def test_each_frame_has_the_time_it_stays_on_screen(batch):
    assert batch.duration_seconds == pytest.approx([0.1] * 4)


def test_a_problem_is_shown():
    arrays = (np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1), np.zeros(1, np.int64), np.ones(1))
    batch = FrameBatch(*arrays, 2, VideoError("truncated", "a.mp4: 1 of 2 frames, the file is cut off"), "full")
    assert repr(batch).endswith("decoding='full', problem='a.mp4: 1 of 2 frames, the file is cut off')")


def test_arrays_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="differ in length: 2, 1, 2, 2"):
        FrameBatch(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(1), np.zeros(2, np.int64), np.zeros(2), 2)
