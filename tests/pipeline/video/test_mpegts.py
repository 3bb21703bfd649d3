"""Transport streams that lack a packet inside a picture: the picture does not come, and whole files are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.mpegts import torn_pictures
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import encoded

pytestmark = pytest.mark.usefixtures("quiet_decoders")
PID, LENGTH = 256, 188


def packets_of_pictures(data):
    """Places of packets in which a picture goes on."""
    for at in range(0, len(data), LENGTH):
        pid, begins = (data[at + 1] & 31) << 8 | data[at + 2], data[at + 1] & 0x40
        if pid == PID and not begins:
            yield at


@pytest.mark.parametrize("kind", ["deleted", "zeroed", "out of step"])
def test_a_picture_that_lacks_a_packet_does_not_come(tmp_path, kind):
    path, stream = tmp_path / "a.ts", encoded("hevc-b3-gop12")
    write(path, stream, CONTAINERS["ts"], TIMINGS["audio"], stamp(stream, TIMINGS["audio"]))
    data = path.read_bytes()
    assert not torn_pictures(path, PID, is_end_seen=False)
    assert sample_frames(path).problem is None
    for at in list(packets_of_pictures(data))[3::25]:
        left_out = {"deleted": b"", "zeroed": bytes(LENGTH), "out of step": data[at + 50 : at + LENGTH]}[kind]
        path.write_bytes(data[:at] + left_out + data[at + LENGTH :])
        assert torn_pictures(path, PID, is_end_seen=False)
        batch = sample_frames(path)
        assert batch.problem is not None
        for image in batch.data:
            np.testing.assert_array_equal(image, stream.reference[read_number(image)])


def test_an_hevc_picture_that_lacks_its_end_does_not_come(tmp_path):
    path, stream = tmp_path / "a.ts", encoded("hevc-b3-gop12")
    write(path, stream, CONTAINERS["ts"], TIMINGS["audio"], stamp(stream, TIMINGS["audio"]))
    data = path.read_bytes()
    inside = [at for at in packets_of_pictures(data) if data[at + 3] >> 4 & 3 == 1]  # filled by the picture alone
    for at in inside[20::15]:
        path.write_bytes(data[: at + LENGTH])
        batch = sample_frames(path)
        assert batch.problem is not None
        for image in batch.data:
            np.testing.assert_array_equal(image, stream.reference[read_number(image)])
