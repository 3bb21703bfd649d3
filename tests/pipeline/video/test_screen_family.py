"""Codecs without marks of key pictures, in files whose container takes every packet for one."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.screen_family import whole_reader
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import NUM_PICTURES, encoded

pytestmark = pytest.mark.usefixtures("quiet_decoders")
CASES = [("qtrle-gop12", "mov", 24), ("cinepak-gop12", "mov", 24), ("msvideo1-gop12", "nut", 16)]


@pytest.mark.parametrize(("name", "container", "bits_per_pixel"), CASES)
def test_whole_pictures_are_those_that_the_encoder_takes_for_keys(name, container, bits_per_pixel):
    stream = encoded(name)
    read = whole_reader(stream.codec, bits_per_pixel=bits_per_pixel, width=stream.reference[0].shape[1])
    assert [read(memoryview(packet.data)).restart for packet in stream.packets] == [p.key for p in stream.packets]


@pytest.mark.parametrize("num_gone", [1, 13])
@pytest.mark.parametrize(("name", "container", "_"), CASES)
def test_without_its_beginning_a_file_begins_at_the_next_whole_picture(tmp_path, name, container, _, num_gone):
    stream, kind, timing = encoded(name), CONTAINERS[container], TIMINGS["cfr"]
    path = tmp_path / f"a{kind.suffix}"
    write(path, stream, kind, timing, stamp(stream, timing)[num_gone:], flags="all")
    batch = sample_frames(path)
    first = next(packet.number for packet in stream.packets[num_gone:] if packet.key)
    assert [read_number(image) for image in batch.data] == list(range(first, NUM_PICTURES))
    np.testing.assert_array_equal(batch.data, [stream.reference[number] for number in range(first, NUM_PICTURES)])
    assert batch.note or batch.problem


@pytest.mark.parametrize(("name", "container", "_"), CASES)
def test_a_whole_file_gives_all_its_pictures_without_a_word(tmp_path, name, container, _):
    stream, kind, timing = encoded(name), CONTAINERS[container], TIMINGS["cfr"]
    path = tmp_path / f"a{kind.suffix}"
    write(path, stream, kind, timing, stamp(stream, timing), flags="all")
    batch = sample_frames(path)
    assert [read_number(image) for image in batch.data] == list(range(NUM_PICTURES))
    assert (batch.note, batch.problem) == (None, None)
