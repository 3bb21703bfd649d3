"""A Matroska file with bytes missing or overwritten in the middle: no spoiled picture comes, the loss is reported."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.matroska import torn_blocks
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import encoded


def written(path, name, timing="cfr"):
    """The stream of that name in Matroska or WebM, with its clusters of 0.3 s."""
    stream = encoded(name)
    container = CONTAINERS["mkv" if name.startswith(("h264", "hevc")) else "webm"]
    container = container.__class__(**{**container.__dict__, "options": {"cluster_time_limit": "300"}})
    write(path, stream, container, TIMINGS[timing], stamp(stream, TIMINGS[timing]))
    return stream


@pytest.mark.parametrize("name", ["h264-b2-gop12", "hevc-b3-gop12-open", "vp8-gop20", "vp9-gop20", "av1-gop16"])
@pytest.mark.parametrize("timing", ["cfr", "audio", "vfr"])
def test_whole_files_have_no_tear(tmp_path, name, timing):
    written(tmp_path / "a.mkv", name, timing if not (timing == "audio" and "264" not in name) else "cfr")
    assert torn_blocks(tmp_path / "a.mkv") == ([], False)


@pytest.mark.parametrize("name", ["h264-b2-gop12", "hevc-b3-gop12-open", "vp8-gop20", "vp9-gop20", "av1-gop16"])
@pytest.mark.parametrize("overwritten", [True, False])
@pytest.mark.parametrize("place", [0.35, 0.45, 0.55, 0.7])
def test_a_tear_spoils_no_picture_that_comes(tmp_path, name, overwritten, place):
    stream = written(tmp_path / "a.mkv", name)
    data = (tmp_path / "a.mkv").read_bytes()
    begin = int(len(data) * place)
    end = begin + max(max(len(packet.data) for packet in stream.packets), len(data) // 20)
    (tmp_path / "a.mkv").write_bytes(data[:begin] + bytes(end - begin if overwritten else 0) + data[end:])
    batch = sample_frames(tmp_path / "a.mkv")
    assert batch.problem is not None
    for image in batch.data:
        number = read_number(image)
        assert number is not None
        assert np.array_equal(image, stream.reference[number]), number
