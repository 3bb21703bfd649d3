"""Can an H.264 stream hold single fields? Its sequence parameter sets say so (ITU-T H.264, 7.3.2.1.1)."""

from __future__ import annotations

from pipeline.video.bits import Bits

_HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_SEQUENCE_SET = 7  # nal_unit_type


def may_have_fields(extradata: bytes | None) -> bool:
    """Whether a sequence parameter set in a stream's extradata lacks frame_mbs_only_flag; True where none is there."""
    sets = list(_sequence_sets(extradata or b""))
    return not sets or not all(_frames_only(one) for one in sets)


def _sequence_sets(extradata: bytes) -> list[bytes]:
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


def _frames_only(parameters: bytes) -> bool:
    bits = Bits(parameters.replace(b"\0\0\3", b"\0\0"))  # without emulation prevention
    profile = bits.read(8)
    bits.read(16)
    bits.golomb()
    if profile in _HIGH_PROFILES:
        _skip_high_profile(bits)
    bits.golomb()  # log2_max_frame_num
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.read(1)
        bits.signed_golomb()
        bits.signed_golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.signed_golomb()
    bits.golomb()  # num_ref_frames
    bits.read(1)
    bits.golomb()  # width
    bits.golomb()  # height
    return bool(bits.read(1))


def _skip_high_profile(bits: Bits) -> None:
    """Read over chroma format, bit depths and scaling lists."""
    chroma = bits.golomb()
    if chroma == 3:
        bits.read(1)
    bits.golomb()
    bits.golomb()
    bits.read(1)
    if bits.read(1):
        for number in range(12 if chroma == 3 else 8):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last
