"""Ogg files with pages overwritten, missing or cut off: what comes is right and in time, the loss is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.ogg import PageLosses, page_losses
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, make_plan, stamp, write
from tests.pipeline.video.exact.oracle import complaints
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
        if end < len(data):
            yield data[:begin] + data[end:]
        yield data[: begin + 90] + bytes(60) + data[begin + 150 :]
    yield from (data[:-20], data[: (places[0][1] + places[-1][0]) // 2])


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


@pytest.mark.parametrize("page_microseconds", ["1", "1000000"], ids=["a page each", "long pages"])
@pytest.mark.parametrize("timing", ["cfr", "ntsc"])
def test_pictures_behind_hidden_ones_come_when_the_pages_say(tmp_path, timing, page_microseconds):
    stream, timing, path = encoded("vp8-hidden"), TIMINGS[timing], tmp_path / "a.ogv"
    kind = replace(CONTAINERS["ogg"], options={"page_duration": page_microseconds})
    write(path, stream, kind, timing, stamp(stream, timing))
    assert not complaints(path, stream, make_plan(stream, kind, timing), seed="hidden")


def test_a_file_that_stops_between_two_pages_is_ok_with_a_note(tmp_path):
    data, path = THEORA.read_bytes(), tmp_path / "a.ogv"
    *_, (begin, _) = pages(data)
    path.write_bytes(data[:begin])
    stopped, whole = sample_frames(path), sample_frames(THEORA)
    np.testing.assert_array_equal(stopped.data, whole.data[: len(stopped)])
    assert stopped.problem is None
    assert "end is missing" in stopped.note
    assert whole.note is None


def test_a_missing_beginning_is_noticed(tmp_path):
    data, path = THEORA.read_bytes(), tmp_path / "a.ogv"
    begin, end = pages(data)[2]
    path.write_bytes(data[:begin] + data[end:])
    batch = sample_frames(path)
    np.testing.assert_array_equal(batch.data, sample_frames(THEORA).data[-len(batch) :])
    assert "the beginning is missing" in batch.problem.message


def test_a_page_that_comes_twice_gives_no_picture_twice(tmp_path):
    whole, path = sample_frames(THEORA), tmp_path / "a.ogv"
    data = THEORA.read_bytes()
    begin, end = pages(data)[3]
    path.write_bytes(data[:end] + data[begin:])
    batch = sample_frames(path)
    shown = np.rint(batch.pts_seconds * 25).astype(int)
    np.testing.assert_array_equal(batch.data, whole.data[shown])
    assert (np.diff(shown) > 0).all()
    assert batch.problem.reason == "corrupt"


def test_headers_alone_tell_of_no_loss(tmp_path):
    data, path = THEORA.read_bytes(), tmp_path / "a.ogv"
    path.write_bytes(data[: pages(data)[2][0]])
    assert page_losses(path, 0, [], []) == PageLosses({})
