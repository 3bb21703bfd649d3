"""What a file's own bytes say of its length and its time scale."""

from __future__ import annotations

import pytest

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.video import iter_frames, probe, sample_frames
from tdn_data.pipeline.video.structure import is_fragmented, is_shorter_than_its_structure, lacks_time_scale


@pytest.mark.parametrize("names", [("mdhd",), ("mdhd", "mvhd")])
def test_an_mp4_without_a_time_scale_gives_all_its_pictures(make_clip, names):
    path = make_clip("a.mp4", codec="mpeg4", fps=10, num_frames=3)
    assert not lacks_time_scale(path, 1.0)
    content = bytearray(path.read_bytes())
    for name in names:
        at = content.index(name.encode()) + 16
        content[at : at + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    assert lacks_time_scale(path, 1.0)
    assert [frame.frame_index for frame in iter_frames(path)] == [0, 1, 2]
    batch = sample_frames(path, every_seconds=0.04)
    assert (batch.frame_index.tolist(), batch.problem) == ([0, 1, 2], None)
    assert probe(path).duration_seconds == pytest.approx(0.12)


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mp4"])
def test_a_cut_file_is_shorter_than_its_structure(make_clip, name):
    path = make_clip(name, codec="mpeg4", fps=10, num_frames=30)
    content = path.read_bytes()
    assert not is_shorter_than_its_structure(path)
    assert not is_fragmented(path)
    path.write_bytes(content[: len(content) * 3 // 4])
    assert is_shorter_than_its_structure(path)


@pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
def test_pictures_that_a_cut_took_are_missed_though_half_a_second_is_not(make_clip, name):
    path = make_clip(name, codec="mpeg4", fps=10, num_frames=30)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])
    with pytest.raises(VideoError, match="of 30 frames, the file is cut off"):
        list(iter_frames(path))
