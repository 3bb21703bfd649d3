"""WMV files with bytes overwritten or missing: no spoiled picture comes, none comes late, and the loss is noticed."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.asf import _data_packets, read_content
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import encoded

pytestmark = pytest.mark.usefixtures("quiet_decoders")
STREAMS = ("wmv2-gop12", "msmpeg4v3-gop12", "h264-b2-gop12", "mpeg4-b2-gop12", "mjpeg")
FIRST_DATA_PACKET = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
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


def test_a_file_written_into_a_pipe_is_judged_as_any_other(tmp_path):
    """Its header has no number of data packets and its data object no size."""
    path = tmp_path / "a.wmv"
    stream = written(path, "wmv2-gop12", "cfr")
    data = bytearray(path.read_bytes())
    begin = data.index(FIRST_DATA_PACKET)
    data[begin + 16 : begin + 24] = (50).to_bytes(8, "little")
    data[data.index(FILE_PROPERTIES) + 88] |= 1  # broadcast
    path.write_bytes(data)
    whole = sample_frames(path)
    assert whole.problem is None and len(whole) == len(stream.packets)
    at = (begin + len(data)) // 2
    path.write_bytes(data[:at] + data[at + 4000 :])
    batch = sample_frames(path)
    assert batch.problem is not None
    for image in batch.data:
        np.testing.assert_array_equal(image, stream.reference[read_number(image)])


def test_what_follows_the_readable_part_of_a_data_packet_is_torn():
    head = bytes.fromhex("820000 095d 00 000000000000 82")  # two payloads, no padding
    payload = bytes.fromhex("81 01 00000000 08 0500000000000000 0500") + b"abcde"
    packets = list(_data_packets(bytes(50) + (head + payload).ljust(100, b"\0"), 50, 100))
    assert [None if payloads is None else len(payloads) for payloads, _ in packets] == [1, None]
