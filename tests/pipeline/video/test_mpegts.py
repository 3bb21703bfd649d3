"""Transport streams that lack a packet inside a picture: the picture does not come, and whole files are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.mpegts import TransportLosses, transport_losses
from tests.pipeline.video.exact.cases import Case, make
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.oracle import complaints
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import encoded

pytestmark = pytest.mark.usefixtures("quiet_decoders")
PID, LENGTH = 256, 188


def transport_stream(folder, name, *, timing="audio"):
    """Write a stream as a transport stream; return its path and what it was made of."""
    path, stream = folder / "a.ts", encoded(name)
    write(path, stream, CONTAINERS["ts"], TIMINGS[timing], stamp(stream, TIMINGS[timing]))
    return path, stream


def assert_own_pictures(batch, stream):
    """Each picture is, to the last bit, the one whose number it shows."""
    for image in batch.data:
        np.testing.assert_array_equal(image, stream.reference[read_number(image)])


def beginnings(data):
    """Places of packets in which a picture begins."""
    return [at for at in range(0, len(data), LENGTH) if data[at + 1 : at + 3] == b"\x41\x00"]


def packets_of_pictures(data):
    """Places of packets in which a picture goes on."""
    for at in range(0, len(data), LENGTH):
        pid, begins = (data[at + 1] & 31) << 8 | data[at + 2], data[at + 1] & 0x40
        if pid == PID and not begins:
            yield at


@pytest.mark.parametrize("kind", ["deleted", "zeroed", "out of step", "pushed apart"])
def test_a_picture_that_lacks_a_packet_does_not_come(tmp_path, kind):
    path, stream = transport_stream(tmp_path, "hevc-b3-gop12")
    data = path.read_bytes()
    assert transport_losses(path, PID, is_end_seen=False)._replace(begun=frozenset()) == TransportLosses()
    assert sample_frames(path).problem is None
    for at in list(packets_of_pictures(data))[3::25]:
        packet = data[at : at + LENGTH]
        others = {"deleted": b"", "zeroed": bytes(LENGTH), "out of step": packet[50:]}
        others["pushed apart"] = packet[:60] + bytes(LENGTH) + packet[60:]
        path.write_bytes(data[:at] + others[kind] + data[at + LENGTH :])
        assert transport_losses(path, PID, is_end_seen=False).torn
        batch = sample_frames(path)
        assert batch.problem is not None
        assert_own_pictures(batch, stream)


def test_an_hevc_picture_that_lacks_its_end_does_not_come(tmp_path):
    path, stream = transport_stream(tmp_path, "hevc-b3-gop12")
    data = path.read_bytes()
    inside = [at for at in packets_of_pictures(data) if data[at + 3] >> 4 & 3 == 1]  # filled by the picture alone
    for at in inside[20::15]:
        path.write_bytes(data[: at + LENGTH])
        batch = sample_frames(path)
        assert batch.problem is not None
        assert_own_pictures(batch, stream)


@pytest.mark.parametrize("name", ["hevc-b3-gop12", "h264-b2-gop12", "mpeg4-b0-long"])
def test_packets_that_come_twice_give_no_picture_twice(tmp_path, name):
    path, stream = transport_stream(tmp_path, name)
    data = path.read_bytes()
    begins = beginnings(data)
    begin, end = begins[13], begins[19]
    path.write_bytes(data[:end] + data[begin:end] + data[end:])
    batch = sample_frames(path)
    numbers = [read_number(image) for image in batch.data]
    assert numbers == sorted(set(numbers)) and len(numbers) >= 19
    for image, number, seconds in zip(batch.data, numbers, batch.pts_seconds, strict=True):
        np.testing.assert_array_equal(image, stream.reference[number])
        assert seconds == pytest.approx(number / 25)
    assert "make no sense" in batch.note


@pytest.mark.parametrize("name", ["hevc-b3-long", "h264-b0-long", "mpeg2-intra"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_a_stream_of_zeros_to_its_end_is_reported_and_so_is_a_last_picture_of_zeros(tmp_path, name, share):
    path, stream = transport_stream(tmp_path, name)
    data = path.read_bytes()
    begins = beginnings(data)
    begin = begins[int(share * len(begins))]
    path.write_bytes(data[:begin] + bytes(len(data) - begin))
    batch = sample_frames(path)
    assert batch.problem is not None or batch.note is not None
    assert_own_pictures(batch, stream)


def test_sixteen_pictures_that_are_gone_are_missed_though_the_numbers_begin_again(tmp_path):
    path, stream = transport_stream(tmp_path, "h264-b0-long", timing="vfr")
    data = path.read_bytes()
    begins = beginnings(data)
    path.write_bytes(data[: begins[4]] + data[begins[20] :])
    batch = sample_frames(path)
    assert [read_number(image) for image in batch.data] == [0, 1, 2, 3]
    assert batch.problem is not None


@pytest.mark.parametrize("timing", ["jitter", "cfr"])
@pytest.mark.parametrize(("name", "kept"), [("mpeg4-b0-gop12", 0), ("h264-intra", 6)])  # 6: a delimiter
def test_a_picture_whose_bytes_are_all_overwritten_is_missed_by_the_head_of_its_packets(tmp_path, timing, name, kept):
    path, stream = transport_stream(tmp_path, name, timing=timing)
    data = bytearray(path.read_bytes())
    begins = beginnings(bytes(data))
    assert transport_losses(path, PID, is_end_seen=True).headless == frozenset()
    at = begins[len(begins) * 4 // 5]
    head = at + 5 + data[at + 4] + 9  # behind the field of the transport packet, up to the length of the PES header
    first = head + data[head - 1] + kept
    data[first : at + LENGTH] = b"\xff" * (at + LENGTH - first)
    path.write_bytes(data)
    assert transport_losses(path, PID, is_end_seen=True).headless == {at}
    batch = sample_frames(path)
    assert batch.problem.reason == "corrupt"
    assert_own_pictures(batch, stream)


@pytest.mark.parametrize(
    ("name", "container", "damage"),
    [
        ("mpeg4-b0-gop12", "ts", "fill0.3"),
        ("h264-intra", "m2ts", "fill0.3"),
        ("h264-slices", "m2ts", "fill0.52"),
        ("hevc-b3-gop12", "ts", "zero0.97"),
    ],
)
def test_a_picture_joined_with_headers_of_a_lost_one_does_not_come(tmp_path, name, container, damage):
    """FFmpeg gives both as one packet, with the time of the first."""
    path, stream, plan = make(Case(name, container, damage=damage), tmp_path)
    moments = dict(zip(plan.numbers, map(float, plan.moments), strict=True))
    batch = sample_frames(path)
    assert batch.problem is not None
    assert_own_pictures(batch, stream)
    numbers = [read_number(image) for image in batch.data]
    np.testing.assert_allclose(batch.pts_seconds, [moments[number] for number in numbers], atol=1e-3)
    held = sample_frames(path, timestamps=[moments[number] + 0.01 for number in plan.numbers])
    assert [read_number(image) for image in held.data] == numbers  # none stays for one that is gone


@pytest.mark.parametrize("name", ["mpeg2-b0-gop12", "h264-b2-gop12", "hevc-layers-gop20"])
def test_a_picture_whose_packets_come_twice_is_not_lost(tmp_path, name):
    case = Case(name, "ts", damage="dup0.52")
    assert not complaints(*make(case, tmp_path), seed=str(case))
