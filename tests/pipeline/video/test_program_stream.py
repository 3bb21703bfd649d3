"""Program streams (MPG, VOB) with bytes missing or overwritten: no wrong picture is ok, whole files are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.program_stream import ProgramLosses, program_losses
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import NUM_PICTURES, encoded

pytestmark = pytest.mark.usefixtures("quiet_decoders")
PACK, SECTOR_BYTES = b"\0\0\1\xba", 2048
ID = 0x1E0


def program_stream(folder, name="mpeg2-b0-gop12", container="mpg"):
    """Write a stream as a program stream; return its path, its stream and its bytes."""
    path, stream = folder / f"a.{container}", encoded(name)
    write(path, stream, CONTAINERS[container], TIMINGS["cfr"], stamp(stream, TIMINGS["cfr"]))
    return path, stream, path.read_bytes()


def decoded(path, stream):
    """The numbers of the pictures that come, each to the last bit the one that it shows, and the whole answer."""
    batch = sample_frames(path)
    numbers = [read_number(image) for image in batch.data]
    for number, image in zip(numbers, batch.data, strict=True):
        np.testing.assert_array_equal(image, stream.reference[number])
    return numbers, batch


@pytest.mark.parametrize("container", ["mpg", "vob"])
@pytest.mark.parametrize("name", ["mpeg2-b0-gop12", "mpeg2-b2-gop12", "mpeg2-intra"])
@pytest.mark.parametrize("padding", [b"", bytes(SECTOR_BYTES // 2), b"\0\0\1\xb9"])
def test_whole_files_lack_nothing(tmp_path, name, container, padding):
    path, stream, data = program_stream(tmp_path, name, container)
    path.write_bytes(data + padding)
    numbers, batch = decoded(path, stream)
    assert (numbers, batch.problem, batch.note) == (list(range(NUM_PICTURES)), None, None)


def test_zeros_between_packs_are_padding(tmp_path):
    path, stream, data = program_stream(tmp_path)
    packs = data.split(PACK)
    path.write_bytes((bytes(30) + PACK).join(packs))
    numbers, batch = decoded(path, stream)
    assert (numbers, batch.problem, batch.note) == (list(range(NUM_PICTURES)), None, None)


@pytest.mark.parametrize("place", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("kind", ["overwritten", "pushed in", "taken out", "zeros"])
def test_other_bytes_give_no_wrong_picture(tmp_path, kind, place):
    path, stream, data = program_stream(tmp_path)
    at = data.index(PACK, int(len(data) * place)) - 300
    spoiled = {"overwritten": b"\xff" * 600, "pushed in": b"\xff" * 100 + data[at : at + 600], "taken out": b""}
    path.write_bytes(data[:at] + spoiled.get(kind, bytes(600)) + data[at + 600 :])
    numbers, batch = decoded(path, stream)
    assert batch.problem is not None
    assert len(numbers) < NUM_PICTURES
    assert program_losses(path, ID, [(at, 1)]).is_torn


def test_a_first_picture_that_does_not_decode_is_a_missing_beginning(tmp_path):
    path, stream, data = program_stream(tmp_path)
    begin = data.index(b"\0\0\1\x01") + 8  # inside the first slice
    path.write_bytes(data[:begin] + b"\xff" * 200 + data[begin + 200 :])
    numbers, batch = decoded(path, stream)
    assert 0 not in numbers
    assert batch.problem is not None


def test_a_file_that_stops_inside_a_part_is_cut_off(tmp_path):
    path, stream, data = program_stream(tmp_path)
    path.write_bytes(data[: len(data) // 2 + 500])
    numbers, batch = decoded(path, stream)
    assert batch.problem.reason == "truncated"
    assert numbers == list(range(len(numbers)))


def test_many_zeros_in_the_place_of_parts_are_reported(tmp_path):
    path, _, data = program_stream(tmp_path)
    path.write_bytes(data + bytes(2 * SECTOR_BYTES))
    assert "pictures may be missing" in sample_frames(path).note


def test_a_recording_that_begins_between_key_pictures_says_so(tmp_path):
    path, _, data = program_stream(tmp_path)
    path.write_bytes(data[data.index(PACK, 2 * SECTOR_BYTES) :])
    batch = sample_frames(path)
    assert batch.problem is None
    assert "begins between two key pictures" in batch.note


def test_a_file_with_more_between_its_parts_is_not_judged(tmp_path):
    path, _, data = program_stream(tmp_path)
    path.write_bytes((b"\xaa" * 24 + PACK).join(data.split(PACK)) * 4)  # sectors of a Video CD have heads of their own
    assert program_losses(path, ID, [(0, 1)]) == ProgramLosses()
