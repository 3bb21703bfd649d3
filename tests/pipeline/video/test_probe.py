"""What a header says, and what is counted where it says nothing."""

from __future__ import annotations

import pytest

from tdn_data.pipeline.video import expected_times, probe


@pytest.mark.parametrize(
    ("name", "codec", "size", "fps", "seconds", "num_frames"),
    [
        ("bikes.mp4", "h264", (272, 640), 25, 10, 250),
        ("h265_10bits.mp4", "hevc", (200, 200), 30, 1, 30),
        ("av1_video.mkv", "av1", (360, 640), 25, 5, None),
        ("transparent.webm", "vp9", (200, 200), 30, 5, None),
        ("v_SoccerJuggling_g23_c01.avi", "mpeg4", (240, 320), 29.97, 8.008, 240),
        ("nasa_13013.mp4", "h264", (270, 480), 29.97, 13.013, 390),
        ("demo.mp4", "h264", (256, 427), 28, 10, 280),
        ("video_90.mov", "h264", (568, 320), 30, 0.1, 3),
        ("no_duration.webm", "vp9", (720, 1280), 14.986, 4.938, 74),  # no header says so: counted
        ("fixture.mpg", "mpeg1video", (120, 160), 15, 19 / 15, 19),  # a bare stream: counted
    ],
)
def test_probe_tells_size_rate_and_length(shared_data, name, codec, size, fps, seconds, num_frames):
    info = probe(shared_data / "clips" / name)
    assert (info.codec, (info.height, info.width), info.num_frames) == (codec, size, num_frames)
    assert info.fps == pytest.approx(fps, abs=1e-3)
    assert info.duration_seconds == pytest.approx(seconds, abs=1e-3)


def test_expected_times_follow_the_announced_duration(make_clip):
    info = probe(make_clip("a.mp4", fps=10, num_frames=30))
    assert expected_times(info, every_seconds=1).tolist() == [0, 1, 2]
    assert len(expected_times(info, fps=10)) == 30
    assert info.path.endswith("a.mp4")
    assert (info.container.split(",")[0], info.pixel_format, info.rotation, info.pixel_aspect) == (
        "mov",
        "yuv420p",
        0,
        1.0,
    )
