"""GIF and YUV4MPEG2: files that say nowhere how long they are, and show where they were cut off."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.video import iter_frames, sample_frames
from tdn_data.pipeline.video.unannounced import lacks_its_end

LAYOUTS = {"": 1.5, " C420jpeg": 1.5, " C420p10": 3, " C422": 2, " C411": 1.5, " C444": 3, " C444alpha": 4, " Cmono": 1}


def write_y4m(path, *, layout="", num_frames=4, height=8, width=16):
    size = round(LAYOUTS[layout] * height * width)
    pictures = np.random.default_rng(0).integers(0, 200, (num_frames, size), dtype=np.uint8)
    head = f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1{layout}\n".encode()
    path.write_bytes(head + b"".join(b"FRAME\n" + picture.tobytes() for picture in pictures))
    return len(head), size + len(b"FRAME\n")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_picture_of_any_layout_that_breaks_off_shows(tmp_path, layout):
    path = tmp_path / "a.y4m"
    head_bytes, frame_bytes = write_y4m(path, layout=layout)
    content = path.read_bytes()
    for num_bytes in range(head_bytes, len(content) + 1):
        path.write_bytes(content[:num_bytes])
        assert lacks_its_end(path) == bool((num_bytes - head_bytes) % frame_bytes)


def test_frames_with_parameters_odd_sizes_and_unknown_layouts(tmp_path):
    path = tmp_path / "a.y4m"
    picture = bytes(5 * 3 + 2 * 3 * 2)  # chroma is rounded up
    path.write_bytes(b"YUV4MPEG2 W5 H3 F10:1\nFRAME Ixyz\n" + picture)
    assert not lacks_its_end(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert lacks_its_end(path)
    path.write_bytes(path.read_bytes().replace(b"F10:1", b"F10:1 Cstrange"))
    assert not lacks_its_end(path)


def test_a_gif_is_whole_with_its_trailer_and_only_then(make_clip):
    path = make_clip("a.gif", codec="gif", pixel_format="rgb8", num_frames=5, size=(16, 24))
    content = path.read_bytes()
    assert content.endswith(b"\x3b")
    for num_bytes in range(13, len(content)):
        path.write_bytes(content[:num_bytes])
        assert lacks_its_end(path), num_bytes
    path.write_bytes(content[:-40] + b"\x77" * 40)
    assert lacks_its_end(path)
    for behind in (b"", b"\0" * 50, b";"):
        path.write_bytes(content + behind)
        assert not lacks_its_end(path)


@pytest.mark.parametrize("name", ["a.gif", "a.y4m"])
@pytest.mark.parametrize("every_seconds", [None, 0.1, 0.5])
def test_what_was_cut_off_is_partial_at_any_rate(make_clip, tmp_path, name, every_seconds):
    if name == "a.gif":
        path = make_clip(name, codec="gif", pixel_format="rgb8", num_frames=20, fps=10)
    else:
        path = tmp_path / name
        write_y4m(path, num_frames=20)
    assert sample_frames(path, every_seconds=every_seconds).problem is None
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 7 // 10 + 3])
    batch = sample_frames(path, every_seconds=every_seconds)
    assert batch.problem.reason == "truncated"
    assert f"{len(batch)} frames, the file is cut off; how many it had is not known" in batch.problem.message
    with pytest.raises(VideoError, match="the file is cut off"):
        list(iter_frames(path, every_seconds=every_seconds))
