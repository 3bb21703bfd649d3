"""Which earlier pictures an H.265 picture needs: its short-term reference picture set (ITU-T H.265, 7.3.7 and 7.4.8).

A set is ((difference of places, used by the picture itself), ...), the nearest first, earlier ones before later ones.
"""

from __future__ import annotations

from tdn_data.pipeline.video.bits import Bits

ReferenceSet = tuple[tuple[int, bool], ...]

_MAX_PICTURES = 16
_MAX_SETS = 64


def read_sets(bits: Bits, sub_layers: int) -> tuple[ReferenceSet, ...] | None:
    """The sets of a sequence parameter set, read from behind log2_max_pic_order_cnt_lsb; None where that is not known.

    `sub_layers` is sps_max_sub_layers_minus1. Streams with scaling lists of their own are not read.
    """
    for _ in range(sub_layers + 1 if bits.read(1) else 1):
        for _ in range(3):
            bits.golomb()
    for _ in range(6):  # sizes of coding and transform blocks
        bits.golomb()
    if bits.read(1) and bits.read(1):
        return None
    bits.read(2)
    if bits.read(1):  # samples as they are
        bits.read(8)
        bits.golomb()
        bits.golomb()
        bits.read(1)
    sets: list[ReferenceSet] = []
    count = bits.golomb()
    for _ in range(count if count <= _MAX_SETS else 0):
        one = read_set(bits, sets, is_last=False)
        if one is None:
            return None
        sets.append(one)
    return tuple(sets) if count <= _MAX_SETS else None


def choose_set(bits: Bits, sets: tuple[ReferenceSet, ...]) -> ReferenceSet | None:
    """The set of a picture, read from behind slice_pic_order_cnt_lsb; None where it makes no sense."""
    if not bits.read(1):
        return read_set(bits, sets, is_last=True)
    number = bits.read((len(sets) - 1).bit_length()) if len(sets) > 1 else 0
    return sets[number] if number < len(sets) else None


def read_set(bits: Bits, sets: list[ReferenceSet] | tuple[ReferenceSet, ...], *, is_last: bool) -> ReferenceSet | None:
    """st_ref_pic_set(), by itself or as a change of an earlier one; `is_last`: it stands in a slice."""
    if sets and bits.read(1):
        return _changed_set(bits, sets, back=bits.golomb() + 1 if is_last else 1)
    num_before, num_after = bits.golomb(), bits.golomb()
    if num_before + num_after > _MAX_PICTURES:
        return None
    found = []
    for count, sign in ((num_before, -1), (num_after, 1)):
        delta = 0
        for _ in range(count):
            delta += sign * (bits.golomb() + 1)
            found.append((delta, bool(bits.read(1))))
    return tuple(found)


def _changed_set(bits: Bits, sets: list[ReferenceSet] | tuple[ReferenceSet, ...], *, back: int) -> ReferenceSet | None:
    if back > len(sets):
        return None
    sign = -1 if bits.read(1) else 1
    step = sign * (bits.golomb() + 1)
    found = []
    for delta, _ in (*sets[-back], (0, True)):
        used = bool(bits.read(1))
        kept = used or bool(bits.read(1))
        if kept and delta + step:
            found.append((delta + step, used))
    return tuple(sorted(found, key=lambda entry: (entry[0] > 0, abs(entry[0]))))
