"""Fragmented MP4 with a fragment lost, cut or overwritten: the loss is reported, and whole files are left alone."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest

from tdn_data.pipeline.video import probe, sample_frames
from tdn_data.pipeline.video.fragments import fragment_losses
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, Timing, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import NUM_PICTURES, encoded

pytestmark = pytest.mark.usefixtures("quiet_decoders")
NAME, PER_FRAGMENT = "h264-b0-gop12", 12
OPTIONS = (
    "frag_keyframe+empty_moov+default_base_moof",
    "frag_keyframe",
    "frag_every_frame+empty_moov",
    "frag_keyframe+dash+global_sidx",
    "cmaf",
    "frag_keyframe+empty_moov+omit_tfhd_offset",
    "frag_keyframe+empty_moov+skip_trailer",
)


def fragmented(folder, name=NAME, *, options=OPTIONS[0], timing=TIMINGS["cfr"]):
    """Write a stream as fragmented MP4; return its path, its stream and its bytes."""
    path, stream, container = folder / "a.mp4", encoded(name), CONTAINERS["frag"]
    container = container.__class__(**{**container.__dict__, "options": {"movflags": options}})
    write(path, stream, container, timing, stamp(stream, timing))
    return path, stream, path.read_bytes()


def fragments(data):
    """First byte of each fragment, and behind the last of them that of what follows."""
    begins = [found.start() for found in re.finditer(rb".{4}moof", data, re.DOTALL)]
    return [*begins, data.rindex(b"mfra") - 4]


def decoded(path, stream):
    """The pictures that come, each to the last bit the one whose number it shows, and what is said of the others."""
    batch = sample_frames(path)
    numbers = [read_number(image) for image in batch.data]
    for number, image in zip(numbers, batch.data, strict=True):
        np.testing.assert_array_equal(image, stream.reference[number])
    return numbers, batch.problem


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", [NAME, "h264-b2-gop12-open", "hevc-b3-gop12", "vp9-gop20", "mpeg4-b0-gop12"])
def test_whole_files_lack_nothing(tmp_path, options, name):
    path, *_ = fragmented(tmp_path, name, options=options)
    batch = sample_frames(path)
    assert (len(batch), batch.problem, batch.note, batch.decoding) == (NUM_PICTURES, None, None, "sparse")


@pytest.mark.parametrize("begin", [Fraction(-7, 25), Fraction(-1), Fraction(1, 2)])
@pytest.mark.parametrize("options", ["frag_keyframe+dash+global_sidx", "frag_keyframe+dash"])
def test_what_an_index_counts_from_time_zero_is_no_length(tmp_path, options, begin):
    shifted = Timing("shifted", TIMINGS["cfr"].moment, Fraction(1, 25), regular=False, shift=begin)
    path, *_ = fragmented(tmp_path, "h264-b2-gop12", options=options, timing=shifted)
    batch = sample_frames(path, fps=5)
    assert (len(batch), batch.num_expected, batch.problem) == (NUM_PICTURES // 5, NUM_PICTURES // 5, None)
    assert probe(path).duration_seconds == pytest.approx(NUM_PICTURES / 25)
    path.write_bytes(path.read_bytes()[: fragments(path.read_bytes())[-2]])
    assert sample_frames(path).problem.reason == "truncated"


def test_sound_beside_the_pictures_and_boxes_of_unknown_kinds_are_no_loss(tmp_path):
    path, _, data = fragmented(tmp_path, timing=TIMINGS["vfr"])
    second = fragments(data)[1]
    path.write_bytes(data[:second] + b"\0\0\0\x0cabcdefgh" + data[second:])
    batch = sample_frames(path)
    assert (len(batch), batch.problem, batch.note) == (NUM_PICTURES, None, None)


def test_a_fragment_that_is_gone_is_counted(tmp_path):
    path, stream, data = fragmented(tmp_path)
    _, second, third, *_ = fragments(data)
    path.write_bytes(data[:second] + data[third:])
    numbers, problem = decoded(path, stream)
    assert numbers == [number for number in range(NUM_PICTURES) if number // PER_FRAGMENT != 1]
    assert problem.reason == "corrupt"
    assert f"{NUM_PICTURES - PER_FRAGMENT} of {NUM_PICTURES} frames" in problem.message


@pytest.mark.parametrize(
    "spoil", [lambda data, at: (at + 4, b"\xff\1\2\3"), lambda data, at: (data.index(b"traf", at) - 4, b"\xff" * 24)]
)
def test_a_fragment_whose_head_is_overwritten_is_counted(tmp_path, spoil):
    path, stream, data = fragmented(tmp_path)
    at, other = spoil(data, fragments(data)[1])
    path.write_bytes(data[:at] + other + data[at + len(other) :])
    numbers, problem = decoded(path, stream)
    assert problem is not None
    assert set(range(NUM_PICTURES)) - set(numbers) == set(range(PER_FRAGMENT, 2 * PER_FRAGMENT))


@pytest.mark.parametrize("after", [4, 60, 180, 400, 2000])
def test_a_file_cut_inside_a_fragment_is_truncated(tmp_path, after):
    path, stream, data = fragmented(tmp_path)
    path.write_bytes(data[: fragments(data)[2] + after])
    numbers, problem = decoded(path, stream)
    assert problem.reason == "truncated"
    assert set(range(2 * PER_FRAGMENT)) <= set(numbers) < set(range(3 * PER_FRAGMENT))


@pytest.mark.parametrize("tail", [bytes(3000), b"\xff" * 3000])
def test_other_bytes_in_the_place_of_the_last_fragments_are_reported(tmp_path, tail):
    path, stream, data = fragmented(tmp_path)
    path.write_bytes(data[: fragments(data)[2]] + tail)
    numbers, problem = decoded(path, stream)
    assert problem.reason == "truncated"
    assert set(range(PER_FRAGMENT)) <= set(numbers) <= set(range(2 * PER_FRAGMENT))  # the last may be spoiled itself


@pytest.mark.parametrize("num_bytes", [1, 50, 700])
@pytest.mark.parametrize("name", ["hevc-b3-gop12", "vp9-gop20"])
def test_bytes_pushed_in_or_taken_out_give_no_wrong_picture(tmp_path, name, num_bytes):
    path, stream, data = fragmented(tmp_path, name)
    middle = sum(fragments(data)[1:3]) // 2
    for changed in (data[:middle] + bytes(num_bytes) + data[middle:], data[:middle] + data[middle + num_bytes :]):
        path.write_bytes(changed)
        _, problem = decoded(path, stream)
        assert problem is not None


def test_a_fragment_with_another_time_than_its_neighbours_agree_on_is_spoiled(tmp_path):
    path, stream, data = fragmented(tmp_path)
    at = data.index(b"tfdt", fragments(data)[1]) + 4 + 4 + 4  # the low half of a time of eight bytes
    path.write_bytes(data[:at] + (1 << 20).to_bytes(4, "big") + data[at + 4 :])
    numbers, problem = decoded(path, stream)
    assert problem is not None
    assert not set(numbers) & set(range(PER_FRAGMENT, 2 * PER_FRAGMENT))


def test_a_missing_first_fragment_is_a_missing_beginning_where_something_else_is_in_its_place(tmp_path):
    path, _, data = fragmented(tmp_path)
    first, second, *_ = fragments(data)
    path.write_bytes(data[:first] + b"\xff" * (second - first) + data[second:])
    assert fragment_losses(path, 1, [(second + 200, 10)]).lacks_beginning


def test_a_file_cut_inside_its_last_index_lacks_no_picture(tmp_path):
    path, stream, data = fragmented(tmp_path)
    path.write_bytes(data[:-20])
    assert decoded(path, stream) == (list(range(NUM_PICTURES)), None)
