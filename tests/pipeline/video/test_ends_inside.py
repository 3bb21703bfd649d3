"""A file that ends inside a picture: what lacks its end does not come, and the cut is reported."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames


def test_a_dv_picture_that_ffmpeg_fills_up_does_not_come(make_clip):
    path = make_clip("a.dv", codec="dvvideo", num_frames=6, size=(576, 720))
    whole = sample_frames(path)
    assert whole.problem is None
    path.write_bytes(path.read_bytes()[: int(144_000 * 4.4)])
    batch = sample_frames(path)
    assert (batch.problem.reason, len(batch)) == ("truncated", 4)
    assert np.array_equal(batch.data, whole.data[:4])


def test_an_ivf_file_that_ends_inside_a_picture_is_cut_off(make_clip):
    path = make_clip("a.ivf", codec="libvpx-vp9", num_frames=30)
    data, places = path.read_bytes(), [32]
    while places[-1] < len(data):
        places.append(places[-1] + 12 + int.from_bytes(data[places[-1] : places[-1] + 4], "little"))
    path.write_bytes(data[: (places[20] + 12 + places[21]) // 2])
    batch = sample_frames(path)
    assert (batch.problem.reason, len(batch)) == ("truncated", 20)


@pytest.mark.parametrize(("options", "length"), [({}, 188), ({"mpegts_m2ts_mode": "1"}, 192)])
def test_a_transport_stream_that_ends_inside_a_packet_is_cut_off(make_clip, options, length):
    clip = {"codec": "mpeg2video", "options": {"g": "1", "qscale": "2"}, "container_format": "mpegts"}
    path = make_clip("a.ts", num_frames=20, container_options=options, **clip)
    data, whole = path.read_bytes(), sample_frames(path)
    assert (whole.problem, len(data) % length) == (None, 0)
    for num_packets in range(len(data) // length // 2, len(data) // length, 7):
        path.write_bytes(data[: num_packets * length + 100])
        batch = sample_frames(path)
        assert batch.problem.reason == "truncated"
        np.testing.assert_array_equal(batch.data, whole.data[: len(batch)])
