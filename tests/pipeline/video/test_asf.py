"""WMV files with bytes overwritten or missing: no spoiled picture comes, none comes late, and the loss is noticed."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.asf import read_content
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import encoded

pytestmark = pytest.mark.usefixtures("quiet_decoders")
STREAMS = ("wmv2-gop12", "msmpeg4v3-gop12", "h264-b2-gop12", "mpeg4-b2-gop12", "mjpeg")
FIRST_DATA_PACKET = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
NUM_TRIES = 6


def written(path, name, timing):
    """The stream of that name in a WMV file."""
    stream = encoded(name)
    write(path, stream, CONTAINERS["asf"], TIMINGS[timing], stamp(stream, TIMINGS[timing]))
    return stream


def damaged(data, generator):
    """A copy with some bytes overwritten with zeros or left out, behind the headers."""
    at = generator.randrange(data.index(FIRST_DATA_PACKET) + 50, len(data) - 3000)
    count = generator.choice((200, 1500, 4000, 7000))
    return data[:at] + bytes(count if generator.random() < 0.5 else 0) + data[at + count :]


@pytest.mark.parametrize("timing", ["cfr", "audio"])
@pytest.mark.parametrize("name", STREAMS)
def test_what_is_left_of_a_damaged_file_is_right_and_the_loss_is_noticed(tmp_path, name, timing):
    path = tmp_path / "a.wmv"
    stream = written(path, name, timing)
    whole, generator = path.read_bytes(), random.Random(f"{name} {timing}")
    for _ in range(NUM_TRIES):
        path.write_bytes(damaged(whole, generator))
        try:
            batch = sample_frames(path)
        except VideoError:
            continue  # nothing is left from which decoding can start
        numbers = [read_number(image) for image in batch.data]
        for number, image in zip(numbers, batch.data, strict=True):
            np.testing.assert_array_equal(image, stream.reference[number])
        since_first = (np.array(numbers) - numbers[0]) / 25
        np.testing.assert_allclose(batch.pts_seconds - batch.pts_seconds[0], since_first, atol=2e-3)
        assert batch.problem is not None or numbers == stream.numbers


def test_objects_are_numbered_and_whole(tmp_path):
    stream = written(tmp_path / "a.wmv", "wmv2-gop12", "audio")
    content = read_content((tmp_path / "a.wmv").read_bytes())
    objects = content.objects[1]
    assert [(one.number, one.num_bytes) for one in objects] == [
        (number, len(packet.data)) for number, packet in enumerate(stream.packets, 1)
    ]
    assert all(one.whole and not one.after_tear for one in objects)
    assert (content.num_absent, content.is_torn, content.ended_before_tear) == (0, False, {})
