"""Pictures that an encoder leaves out of a steady rate, as screen recorders and video calls do, are no loss."""

from fractions import Fraction

import av
import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames

LEFT_OUT = (17, 30)
SHOWN = [number for number in range(40) if number not in LEFT_OUT]
PALE = 6  # grey levels from one picture to the next


@pytest.fixture(
    params=[
        "libvpx-vp9:webm",
        "libvpx:webm",
        "mpeg4:mkv",
        "flv:flv",
        "mjpeg:mkv",
        "mpeg4:nut",
        "libx264:mkv",
        "mpeg4:mp4",
    ]
)
def clip(request, tmp_path):
    """A clip of 40 pictures at 25 a second, two of which are left out."""
    codec, _, suffix = request.param.partition(":")
    path = tmp_path / f"a.{suffix}"
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.time_base = 96, 64, Fraction(1, 25)
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size, stream.bit_rate = 20, 4_000_000
        for number in SHOWN:
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), PALE * number, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shown(batch):
    return np.rint(batch.data.mean(axis=(1, 2, 3)) / PALE).astype(int).tolist()


def test_all_pictures_come_and_the_pause_is_noted_where_it_could_be_a_loss(clip):
    batch = sample_frames(clip)
    assert (shown(batch), batch.problem) == (SHOWN, None)
    assert batch.pts_seconds == pytest.approx([number / 25 for number in SHOWN], abs=1e-3)
    says = clip.suffix == ".mp4" or b"x264" in clip.read_bytes()  # stored durations, or numbers in the pictures
    assert (batch.note is None) == says
    if batch.note:
        assert batch.note.startswith("after 0.64 s and at 1 more place a picture is missing from a steady rate")


def test_the_picture_before_stays_on_screen(clip):
    batch = sample_frames(clip, fps=25)
    assert shown(batch) == [max(other for other in SHOWN if other <= number) for number in range(40)]
