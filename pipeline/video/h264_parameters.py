"""What an H.264 stream's sequence parameter sets say of its pictures' numbers (ITU-T H.264, 7.3.2.1.1)."""

from __future__ import annotations

from typing import NamedTuple

from tdn_data.pipeline.video.bits import Bits

_HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_SEQUENCE_SET = 7  # nal_unit_type


class SequenceSet(NamedTuple):
    """What is needed to read a picture's numbers from the head of a slice."""

    frames_only: bool
    has_planes: bool  # three colour planes coded apart
    frame_num_bits: int
    order_bits: int | None  # of pic_order_cnt_lsb; None: something else says the order on screen
    as_decoded: bool  # pictures are shown in the order of decoding, pic_order_cnt_type 2
    may_have_gaps: bool  # in frame_num, on purpose


def may_have_fields(extradata: bytes | None) -> bool:
    """Whether a sequence parameter set in a stream's extradata lacks frame_mbs_only_flag; True where none is there."""
    sets = sequence_sets(extradata or b"")
    return not sets or not all(parse_sequence_set(one).frames_only for one in sets)


def sequence_sets(extradata: bytes) -> list[bytes]:
    """The sequence parameter sets of an avcC record, or of units behind start codes, without their first byte."""
    if extradata[:1] == b"\1":
        return _avcc_sets(extradata)
    units = extradata.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    return [unit[1:] for unit in units if unit and unit[0] & 31 == _SEQUENCE_SET]


def _avcc_sets(extradata: bytes) -> list[bytes]:
    count, position, found = extradata[5] & 31 if len(extradata) > 5 else 0, 6, []
    for _ in range(count):
        length = int.from_bytes(extradata[position : position + 2], "big")
        found.append(extradata[position + 3 : position + 2 + length])
        position += 2 + length
    return found


def parse_sequence_set(parameters: bytes) -> SequenceSet:
    """Read a sequence parameter set without its first byte."""
    bits = Bits(parameters.replace(b"\0\0\3", b"\0\0"))  # without emulation prevention
    profile = bits.read(8)
    bits.read(16)
    bits.golomb()
    has_planes = _skip_high_profile(bits) if profile in _HIGH_PROFILES else False
    frame_num_bits, order, order_bits = bits.golomb() + 4, bits.golomb(), None
    if order == 0:
        order_bits = bits.golomb() + 4
    elif order == 1:
        bits.read(1)
        bits.signed_golomb()
        bits.signed_golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.signed_golomb()
    bits.golomb()  # num_ref_frames
    may_have_gaps = bool(bits.read(1))
    bits.golomb()  # width
    bits.golomb()  # height
    return SequenceSet(bool(bits.read(1)), has_planes, frame_num_bits, order_bits, order == 2, may_have_gaps)


def _skip_high_profile(bits: Bits) -> bool:
    """Read over chroma format, bit depths and scaling lists; whether colour planes are coded apart."""
    chroma = bits.golomb()
    has_planes = chroma == 3 and bool(bits.read(1))
    bits.golomb()
    bits.golomb()
    bits.read(1)
    if bits.read(1):
        for number in range(12 if chroma == 3 else 8):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)
    return has_planes


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last
