"""Dirac and VC-2: the mark of a sequence's end is no picture, and decoding goes on at headers."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.bitstream import packet_reader

END = b"BBCD\x10\x00\x00\x00\x0d\x00\x00\x00\x00"
CLIP = Path(__file__).parent / "clips" / "vc2.drc"
pytestmark = pytest.mark.usefixtures("quiet_decoders")


def test_the_end_of_a_sequence_is_no_picture():
    batch = sample_frames(CLIP)
    with av.open(str(CLIP)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert batch.problem is None and batch.num_expected == 8
    np.testing.assert_array_equal(batch.data, pictures)
    np.testing.assert_allclose(batch.pts_seconds, np.arange(8) / 25)


@pytest.mark.parametrize("name", ["a.mkv", "a.mov", "a.nut"])
def test_nor_is_it_one_in_other_containers(remux, tmp_path, name):
    batch = sample_frames(remux(CLIP, tmp_path / name))
    assert batch.problem is None and batch.num_expected == 8
    np.testing.assert_array_equal(batch.data, sample_frames(CLIP).data)


def test_decoding_goes_on_at_a_sequence_header():
    read = packet_reader("dirac", b"", intra_only=False)
    header, intra = b"BBCD\x00\x00\x00\x00\x0d\x00\x00\x00\x00", b"BBCD\xe8\x00\x00\x00\x00\x00\x00\x00\x0d"
    needs_one = b"BBCD\x09\x00\x00\x00\x00\x00\x00\x00\x0d"
    assert read(memoryview(header + intra)).restart
    assert not read(memoryview(header + needs_one)).restart
    assert not read(memoryview(intra)).restart
    assert not read(memoryview(END)).shown
