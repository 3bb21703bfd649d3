"""Streams without a container: their times follow from the stream's own rate and clock, and not from 25 a second."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.video import probe, sample_frames
from tdn_data.pipeline.video.bare import h261_place, h263_place

NUM_PICTURES = 40
CLOCK_SECONDS = 1001 / 30000  # ITU-T H.261, 3.1; an encoder rounds times down to it
KINDS = {
    "m1v": ("mpeg1video", "mpeg1video"),
    "m2v": ("mpeg2video", "mpeg2video"),
    "h264": ("libx264", "h264"),
    "hevc": ("libx265", "hevc"),
    "m4v": ("mpeg4", "m4v"),
}


@pytest.fixture
def make_stream(make_clip):
    """make_stream(name, fps=...) -> Path of a bare stream."""

    def make(name: str, *, fps: int, max_b_frames: int = 0):
        codec, form = KINDS[name]
        options = {"x265-params": "log-level=none:bframes=0"} if codec == "libx265" else {}
        return make_clip(
            f"a.{name}",
            codec=codec,
            container_format=form,
            num_frames=NUM_PICTURES,
            fps=fps,
            options=options | {"g": "12"},
            max_b_frames=max_b_frames,
        )

    return make


@pytest.mark.parametrize("fps", [24, 25, 30])
@pytest.mark.parametrize("name", KINDS)
def test_each_picture_comes_at_its_place_in_the_rate_that_the_stream_names(make_stream, decode_plainly, name, fps):
    path = make_stream(name, fps=fps)
    batch, plain = sample_frames(path), decode_plainly(path, fps=fps)
    np.testing.assert_allclose(batch.pts_seconds, np.arange(NUM_PICTURES) / fps, atol=1e-6)
    np.testing.assert_allclose(probe(path).duration_seconds, NUM_PICTURES / fps, atol=1e-6)
    sparse = sample_frames(path, fps=fps / 7)
    assert sparse.frame_index.tolist() == list(range(0, NUM_PICTURES, 7))
    np.testing.assert_array_equal(sparse.data, [plain.rgb(number) for number in range(0, NUM_PICTURES, 7)])


@pytest.mark.parametrize("name", ["m1v", "m2v"])
def test_so_it_does_where_pictures_are_decoded_in_another_order(make_stream, name):
    path = make_stream(name, fps=30, max_b_frames=2)
    np.testing.assert_allclose(sample_frames(path).pts_seconds, np.arange(NUM_PICTURES) / 30, atol=1e-6)


@pytest.mark.parametrize("codec", ["h261", "h263"])
@pytest.mark.parametrize("fps", [10, 15, 25])
def test_pictures_with_a_clock_come_when_that_says(make_clip, codec, fps):
    path = make_clip(
        f"a.{codec}", codec=codec, container_format=codec, num_frames=NUM_PICTURES, fps=fps, size=(144, 176)
    )
    due = np.floor(np.arange(NUM_PICTURES) / fps / CLOCK_SECONDS + 1e-9) * CLOCK_SECONDS
    np.testing.assert_allclose(sample_frames(path).pts_seconds, due, atol=1e-6)


def test_places_on_the_clock_are_read_behind_the_start_code():
    assert h263_place(memoryview(bytes.fromhex("00008206"))) == 0x81
    assert h261_place(memoryview(bytes.fromhex("00010080"))) == 1
    assert h261_place(memoryview(bytes.fromhex("000080400000"))) == 1  # begins one bit later
    assert h263_place(memoryview(b"\xff" * 8)) is None
    assert h261_place(memoryview(b"\xff" * 8)) is None
