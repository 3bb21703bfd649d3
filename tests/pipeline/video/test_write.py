"""Frames written as MP4."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.errors import StorageError
from tdn_data.pipeline.video import probe, sample_frames, write_video


def slide(num_frames: int, height: int, width: int) -> np.ndarray:
    """A smooth picture that slides to the left, uint8 (T, H, W, 3)."""
    x = np.arange(width)[None, None, :, None] + 2 * np.arange(num_frames)[:, None, None, None]
    y = np.arange(height)[None, :, None, None]
    phase = np.array([0.0, 1.0, 2.0])
    return (127.5 + 100 * np.sin(x / 25 + y / 20 + phase)).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (63, 97), (1, 1)])
def test_frames_come_back_nearly_as_they_were(tmp_path, height, width):
    frames = slide(12, height, width)
    write_video(tmp_path / "a.mp4", frames, fps=25)
    batch = sample_frames(tmp_path / "a.mp4")
    assert batch.data.shape == frames.shape
    np.testing.assert_allclose(batch.pts_seconds, np.arange(12) / 25)
    assert np.abs(batch.data.astype(int) - frames).mean() < 4
    info = probe(tmp_path / "a.mp4")
    assert (info.codec, info.num_frames, info.fps) == ("h264", 12, 25.0)


def test_the_same_frames_give_the_same_bytes(tmp_path):
    frames = slide(30, 48, 64)
    written = set()
    for name in ("a.mp4", "b c.mp4", "d.mp4", "e.mp4", "f.mp4"):
        write_video(tmp_path / name, frames, fps=29.97)
        written.add((tmp_path / name).read_bytes())
    assert len(written) == 1


def test_a_lower_crf_is_closer(tmp_path):
    frames = slide(5, 48, 64)
    errors = []
    for crf in (1, 40):
        write_video(tmp_path / "a.mp4", frames, fps=10, crf=crf)
        errors.append(np.abs(sample_frames(tmp_path / "a.mp4").data.astype(int) - frames).mean())
    assert errors[0] < errors[1]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, slide(3, 16, 16), fps=5)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="no such file or directory"):
        write_video(tmp_path / "no such folder" / "a.mp4", slide(3, 16, 16), fps=5)
    with pytest.raises(ValueError, match="crf is 99"):
        write_video(path, slide(3, 16, 16), fps=5, crf=99)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), 5, r"frames is float32 \(2, 8, 8, 3\); it must be uint8 \(T, H, W, 3\)"),
        (np.zeros((2, 8, 8), np.uint8), 5, "must be uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), 5, "T, H, W >= 1"),
        (np.zeros((2, 8, 8, 3), np.uint8), 0, "fps is 0"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, frames, fps, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", frames, fps=fps)
