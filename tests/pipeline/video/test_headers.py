"""Small readers of bits, against bits written out by hand."""

from __future__ import annotations

import pytest

from tdn_data.pipeline.video.bits import Bits
from tdn_data.pipeline.video.bitstream import has_hole, is_blank, packet_reader
from tdn_data.pipeline.video.hevc_references import choose_set, read_set
from tdn_data.pipeline.video.matroska import has_empty_block
from tdn_data.pipeline.video.screen_family import flashsv_facts, range_coded_facts, svq1_facts, zmbv_facts

BOTH_SIDES = ((-1, True), (1, False))


def bits(text):
    """A reader of the bits in `text`, spaces left out."""
    text = text.replace(" ", "")
    return Bits(int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big"))


def test_a_reference_set_lists_distances_and_which_of_them_are_used():
    # one before, one after; a distance of 1, used; a distance of 1, not used
    assert read_set(bits("010 010  1 1  1 0"), [], is_last=False) == BOTH_SIDES
    assert read_set(bits("011 1  1 1  010 0"), [], is_last=False) == ((-1, True), (-3, False))
    assert read_set(bits("00001 0010  1"), [], is_last=False) is None  # more pictures than a decoder may hold


def test_a_reference_set_may_be_a_change_of_an_earlier_one():
    # all one earlier: -1 is used as -2, 1 is dropped (it would be the picture itself), the other picture as -1
    assert read_set(bits("1  1 1  1  00  1"), [BOTH_SIDES], is_last=False) == ((-1, True), (-2, True))
    assert read_set(bits("1  011  1 1"), [BOTH_SIDES], is_last=True) is None  # of three sets before, and there is one


def test_a_slice_chooses_a_set_by_number_or_brings_its_own():
    sets = (BOTH_SIDES, ((-4, True),))
    assert choose_set(bits("1 1"), sets) == ((-4, True),)
    assert choose_set(bits("0  0  1 010  1 1"), sets) == ((1, True),)
    assert choose_set(bits("1 11"), (*sets, BOTH_SIDES)) is None


@pytest.mark.parametrize(
    ("facts", "key", "change"),
    [
        (zmbv_facts, b"\x01", b"\x02"),
        (flashsv_facts, b"\0\x20\0\x10" + b"\0\1a\0\1b", b"\0\x20\0\x10" + b"\0\1a\0\0"),  # two blocks
        (svq1_facts, bytes(8), b"\0\0\0\1" + bytes(4)),
        (range_coded_facts, b"\x7f\x80", b"\x7f\x7f"),
    ],
)
def test_screen_recorders_tell_whole_pictures_from_changes(facts, key, change):
    assert facts(memoryview(key)).start
    assert not facts(memoryview(change)).start


def test_one_byte_again_and_again_is_no_picture():
    assert is_blank(memoryview(bytes(32))) and is_blank(memoryview(b"\xff" * 40))
    assert not any(is_blank(memoryview(data)) for data in (bytes(31), b"\x7f" * 40, bytes(39) + b"\1", b""))


def test_zeros_inside_a_packet_are_a_hole_and_stuffing_is_none():
    assert has_hole(b"a" + bytes(8) + b"b", "h264") and has_hole(b"a" + bytes(500) + b"b", "h264")
    assert has_hole(b"a" + bytes(300) + b"\1" + bytes(8) + b"b", "mpeg4")
    for count, rest in ((7, b"b"), (500, b""), (300, b"\1\xb3")):
        assert not has_hole(b"a" + bytes(count) + rest, "h264")


def test_zeros_at_the_end_are_a_hole_where_the_codec_knows_no_stuffing():
    assert has_hole(b"a" + bytes(64), "wmv2")
    assert has_hole(b"a" + bytes(16), "vp9")
    assert not has_hole(b"a" + bytes(60), "wmv2")


@pytest.mark.parametrize(("spoil", "broken"), [(lambda unit: unit, False), (lambda unit: b"\xc1" + unit[1:], True)])
def test_a_unit_with_the_forbidden_bit_or_too_long_is_broken(spoil, broken):
    reader = packet_reader("h264", b"\1\x64\0\x1f\xff\xe0", intra_only=False)
    unit = spoil(b"\x41\x9a\x24\x6c")
    assert reader(memoryview(b"\0\0\0\4" + unit)).broken is broken
    assert reader(memoryview(b"\0\0\0\5" + unit)).broken


def test_an_empty_block_of_the_same_track_behind_a_packet_is_found(tmp_path):
    path = tmp_path / "a.mkv"
    for track, expected in ((b"\x81", True), (b"\x82", False)):
        path.write_bytes(b"--" + b"\x81\0\0\x80picture" + b"\xa3\x84" + track + b"\0\0\x80" + b"\xa3\x8b\x81")
        assert has_empty_block(path, (2, 11), 21) is expected
