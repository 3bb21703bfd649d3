"""Ogg files with pages overwritten, missing or cut off: what comes is right and in time, the loss is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.streams import encoded

pytestmark = pytest.mark.usefixtures("quiet_decoders")
THEORA = Path(__file__).parent / "clips" / "theora.ogv"


def vp8(folder):
    """A VP8 file with pages of 20 pictures."""
    path, stream = folder / "whole.ogv", encoded("vp8-gop20")
    write(path, stream, CONTAINERS["ogg"], TIMINGS["cfr"], stamp(stream, TIMINGS["cfr"]))
    return path


def pages(data):
    """(first byte, byte after the last) of each page."""
    found, at = [], data.find(b"OggS")
    while at >= 0:
        end = at + 27 + data[at + 26]
        found.append((at, end + sum(data[at + 27 : end])))
        at = data.find(b"OggS", found[-1][1])
    return found


def damages(data):
    """Copies of a file with bytes overwritten or missing, in pages and between them."""
    places = pages(data)[3:]
    for begin, end in places[:: max(len(places) // 4, 1)]:
        yield data[:begin] + bytes(end - begin) + data[end:]
        yield data[:begin] + data[end:]
        yield data[: begin + 90] + bytes(60) + data[begin + 150 :]
    yield from (data[:-20], data[: places[-1][0]], data[: (places[0][1] + places[-1][0]) // 2])


@pytest.mark.parametrize("kind", ["theora", "vp8"])
def test_what_is_left_is_right_and_the_loss_is_noticed(tmp_path, kind):
    source = THEORA if kind == "theora" else vp8(tmp_path)
    whole, path = sample_frames(source), tmp_path / "damaged.ogv"
    assert whole.problem is None
    for data in damages(source.read_bytes()):
        path.write_bytes(data)
        batch = sample_frames(path)
        assert batch.problem is not None
        assert len(batch) < len(whole)
        shown = np.rint(batch.pts_seconds * 25).astype(int)
        np.testing.assert_allclose(batch.pts_seconds, shown / 25, atol=1e-6)
        np.testing.assert_array_equal(batch.data, whole.data[shown])
