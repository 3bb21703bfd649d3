"""The numbers that pictures carry: they tell the order on screen, and that one is missing, whatever a container says.

H.264 (ITU-T H.264, 7.3.3, 7.4.3 and 8.2.1): frame_num grows by one with each picture that others are predicted from;
pic_order_cnt_lsb is the place on screen, counted from the last IDR picture. H.265 (7.3.6.1, 8.3.1): the latter, and the
places of the pictures that it needs.
MPEG-1/2 (ISO 13818-2, 6.3.9): temporal_reference is the place in its group.

A number on screen here is period * PERIOD + place; a period is what such places are counted in.
"""

from __future__ import annotations

from typing import NamedTuple

from tdn_data.pipeline.video.bits import Bits
from tdn_data.pipeline.video.h264_parameters import SequenceSet, parse_sequence_set, sequence_sets
from tdn_data.pipeline.video.hevc_references import ReferenceSet, choose_set, read_sets

PERIOD = 1 << 40
_HEAD_BYTES = 32  # of a slice, more than its numbers are in
_MAX_TEMPORAL_REFERENCE = 1024
_SMALLEST_PROOF = 8  # steps of one, to believe that an encoder counts at all
_B_PICTURE = 3  # picture_coding_type


def period_of(order: int) -> int:
    """The period of a number on screen; places before its beginning are below zero."""
    return (order + PERIOD // 2) // PERIOD


class Numbers(NamedTuple):
    """What a picture's numbers say: its place on screen, and whether one that it may need is missing before it."""

    order: int | None = None
    after_loss: bool = False
    names_references: bool = False  # the latter is known, by what it says of the pictures that it needs


class H264Numbers:
    """Reads one stream's pictures in decoding order; says nothing where parameter sets differ.

    A field that comes without its pair has no place on screen of its own.
    """

    def __init__(self, extradata: bytes) -> None:
        self._raw = set(sequence_sets(extradata))
        parsed = {parse_sequence_set(one) for one in self._raw}
        self._set: SequenceSet | None = parsed.pop() if len(parsed) == 1 else None
        self._period, self._frame_num, self._place = 0, None, 0
        self._num_steps = 0  # from one such picture to the next
        self._follows_reference = False

    def meet_parameters(self, parameters: bytes) -> None:
        """Take notice of a sequence parameter set among the packets, without its first byte."""
        if parameters.rstrip(b"\0") not in {one.rstrip(b"\0") for one in self._raw}:
            self._set = None

    def __call__(self, head: bytes, last: bytes) -> Numbers:
        """Numbers of the picture whose first slice begins with `head`, its last with `last`, first byte included."""
        known, reference, instantaneous = self._set, head[0] >> 5 & 3, head[0] & 31 == 5
        if known is None:
            return Numbers()
        bits, frame_num, field = self._begin(head)
        if instantaneous:
            bits.golomb()
            self._period, self._place = self._period + 1, 0
        num_missing = 0 if instantaneous else self._num_missing(frame_num, is_frame=field is None)
        lost = num_missing > 0
        self._num_steps += num_missing == 0 and not instantaneous
        self._follows_reference = bool(reference)
        self._frame_num = frame_num if reference or lost else self._frame_num
        order = None
        whole = field is None or self._begin(last)[2] == 1 - field
        if known.order_bits is not None and whole:
            place = _nearest(bits.read(known.order_bits), 1 << known.order_bits, self._place)
            self._place = place if reference else self._place
            order = self._period * PERIOD + place
        elif known.as_decoded and whole:
            self._place += 0 if instantaneous else 1 + num_missing
            order = self._period * PERIOD + self._place
        return Numbers(order, lost and not known.may_have_gaps, names_references=True)

    def _begin(self, head: bytes) -> tuple[Bits, int, int | None]:
        """The bits behind a slice's frame_num and fields, frame_num, and which field it is: 0, 1, None for a frame."""
        bits, field = Bits(head[1:_HEAD_BYTES].replace(b"\0\0\3", b"\0\0")), None
        bits.golomb()  # first_mb_in_slice
        bits.golomb()  # slice_type
        bits.golomb()  # parameter set
        if self._set.has_planes:
            bits.read(2)
        frame_num = bits.read(self._set.frame_num_bits)
        if not self._set.frames_only and bits.read(1):
            field = bits.read(1)
        return bits, frame_num, field

    def _num_missing(self, frame_num: int, *, is_frame: bool) -> int:
        """How many pictures that others are predicted from are missing; -1 for a field, or the same number ever again.

        A frame right behind one that others are predicted from has another number (7.4.3): all of a round are missing.
        """
        before, modulus = self._frame_num, 1 << self._set.frame_num_bits
        if before is None:
            return 0
        has_counted = is_frame and self._follows_reference and self._num_steps >= _SMALLEST_PROOF
        return -1 if frame_num == before and not has_counted else (frame_num - before - 1) % modulus


class HevcNumbers:
    """As `H264Numbers`, for H.265 streams whose parameter sets come before the packets."""

    def __init__(self, extradata: bytes) -> None:
        sets = _hevc_sets(extradata)
        parsed = {_hevc_sequence(unit) for kind, unit in sets if kind == 33}
        pictures = {_hevc_picture(unit) for kind, unit in sets if kind == 34}
        self._known = (*parsed.pop(), *pictures.pop()) if len(parsed) == len(pictures) == 1 else None
        self._raw = {unit.rstrip(b"\0") for _, unit in sets}
        self._period, self._place = 0, 0
        self._held: set[int] = set()  # numbers of the pictures that a decoder still has
        self._skips = True  # the pictures that are shown before the last start and look back past it
        self._lost = False  # some picture since the last start

    def meet_parameters(self, parameters: bytes) -> None:
        """Take notice of a sequence or picture parameter set among the packets."""
        if parameters.rstrip(b"\0") not in self._raw:
            self._known = None

    def __call__(self, head: bytes, last: bytes) -> Numbers:
        """Numbers of the picture whose first slice segment begins with `head`, its two first bytes included."""
        if self._known is None:
            return Numbers()
        has_planes, order_bits, sets, has_output_flag, extra_bits = self._known
        kind, layer = head[0] >> 1 & 63, (head[1] & 7) - 1
        if 16 <= kind <= 20:  # places begin again from 0
            self._period, self._place = self._period + 1, 0
        if kind in (19, 20):
            self._held, self._skips, self._lost = {self._period * PERIOD}, False, False
            return Numbers(self._period * PERIOD, names_references=sets is not None)
        bits = Bits(head[2:_HEAD_BYTES].replace(b"\0\0\3", b"\0\0"))
        bits.read(2 if 16 <= kind <= 23 else 1)
        bits.golomb()
        bits.read(extra_bits)
        bits.golomb()
        bits.read((1 if has_output_flag else 0) + (2 if has_planes else 0))
        place = _nearest(bits.read(order_bits), 1 << order_bits, self._place)
        if layer == 0 and not (6 <= kind <= 9 or (kind <= 14 and kind % 2 == 0)):
            self._place = place
        order = self._period * PERIOD + place
        needed = None if sets is None else choose_set(bits, sets)
        if needed is None:
            return Numbers(order)
        return Numbers(order, self._is_after_loss(kind, order, needed), names_references=True)

    def _is_after_loss(self, kind: int, order: int, needed: ReferenceSet) -> bool:
        """Whether a decoder lacks a picture that is `needed`, and notice of what it has from here on."""
        if kind in (8, 9) and self._skips:
            return False
        starts = 16 <= kind <= 23
        lost = not starts and any(used and order + delta not in self._held for delta, used in needed)
        if starts:  # after a loss, and at the beginning, what looks back past it is not decoded
            self._skips = kind < 21 or not self._held or self._lost
        self._lost = lost or (self._lost and not starts)
        self._held = {order + delta for delta, _ in needed} & self._held | (set() if lost else {order})
        return lost


class Mpeg12Numbers:
    """As `H264Numbers`, for MPEG-1 and MPEG-2 pictures.

    A B picture comes after both pictures that it is predicted from (6.1.1.11): one whose place is behind those of all
    others tells that the later of them is missing.
    """

    def __init__(self) -> None:
        self._period, self._place, self._anchor = 0, 0, None  # the last: place of the last I or P picture

    def __call__(self, packet: bytes) -> Numbers:
        """Numbers of a packet's first picture. A P picture that is not shown after the one before began a new group."""
        picture = packet.find(b"\0\0\1\0")
        if picture < 0 or picture + 5 >= len(packet):
            return Numbers()
        predicted = packet[picture + 5] >> 3 & 7 == 2
        if packet.find(b"\0\0\1\xb8", 0, picture) >= 0:  # a group's header
            self._begin_period()
        low = packet[picture + 4] << 2 | packet[picture + 5] >> 6
        self._place = _nearest(low, _MAX_TEMPORAL_REFERENCE, self._place)
        bidirectional = packet[picture + 5] >> 3 & 7 == _B_PICTURE
        lost = bidirectional and self._anchor is not None and self._place > self._anchor
        if predicted and self._anchor is not None and self._place < self._anchor:
            self._begin_period()  # the group's header and its first picture are gone
            self._place, lost = low, True
        if not bidirectional:
            self._anchor = self._place
        return Numbers(self._period * PERIOD + self._place, lost)

    def _begin_period(self) -> None:
        self._period, self._place, self._anchor = self._period + 1, 0, None


def _nearest(low: int, modulus: int, before: int) -> int:
    """The number that is `low` modulo `modulus` and nearest to `before`."""
    return before + (low - before + modulus // 2) % modulus - modulus // 2


def _hevc_sets(extradata: bytes) -> list[tuple[int, bytes]]:
    """Kind and bytes of each parameter set of an hvcC record, or of units behind start codes."""
    if extradata[:1] != b"\1":
        units = extradata.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
        return [(unit[0] >> 1 & 63, unit) for unit in units if len(unit) > 2]
    found, position = [], 23
    for _ in range(extradata[22] if len(extradata) > 22 else 0):
        kind, count = extradata[position] & 63, int.from_bytes(extradata[position + 1 : position + 3], "big")
        position += 3
        for _ in range(count):
            length = int.from_bytes(extradata[position : position + 2], "big")
            found.append((kind, extradata[position + 2 : position + 2 + length]))
            position += 2 + length
    return found


def _hevc_sequence(unit: bytes) -> tuple[bool, int, tuple[ReferenceSet, ...] | None]:
    """Whether colour planes are coded apart, the bits of slice_pic_order_cnt_lsb, and what can be needed (7.3.2.2)."""
    bits = Bits(unit[2:].replace(b"\0\0\3", b"\0\0"))
    bits.read(4)
    sub_layers = bits.read(3)
    bits.read(1 + 88 + 8)
    present = [(bits.read(1), bits.read(1)) for _ in range(sub_layers)]
    bits.read(2 * (8 - sub_layers) if sub_layers else 0)
    for profile, level in present:
        bits.read(88 * profile + 8 * level)
    bits.golomb()
    has_planes = bits.golomb() == 3 and bool(bits.read(1))
    bits.golomb()
    bits.golomb()
    if bits.read(1):  # conformance window
        for _ in range(4):
            bits.golomb()
    bits.golomb()
    bits.golomb()
    return has_planes, bits.golomb() + 4, read_sets(bits, sub_layers)


def _hevc_picture(unit: bytes) -> tuple[bool, int]:
    """Whether slices carry pic_output_flag, and how many bits of extensions (7.3.2.3.1)."""
    bits = Bits(unit[2:].replace(b"\0\0\3", b"\0\0"))
    bits.golomb()
    bits.golomb()
    bits.read(1)
    return bool(bits.read(1)), bits.read(3)
