"""What a compressed packet says about itself before it is decoded: can decoding start here, can it be left out?

Each reader looks at a few header bits and nothing else; what a container says of keyframes is not believed, since many
flag every packet. Specifications: H.264 (ITU-T H.264, 7.3.1 and 7.4.1: a picture with nal_ref_idc 0 is never a
reference; 7.3.3: slice types), H.265 (7.4.2.2: sub-layer non-reference pictures may still be used by higher temporal
sub-layers, so only those of the highest can go), MPEG-1/2 (ISO 13818-2, 6.2.3: B pictures are never references;
6.2.3.1: field pictures), MPEG-4 part 2 (ISO 14496-2, 6.2.5), VP8 (RFC 6386, 9.1), VP9 (6.2: frames that are not shown),
AV1 (5.3.2, 5.9.2), Theora (7.1) and Dirac (10.5). The family of H.263 is in `h263_family`, JPEG in `mjpeg`, screen
recorders in `screen_family`. A codec without a reader is decoded from its first packet on, which is always right.

FFmpeg's `skip_frame` NONREF, which leaves out pictures that are never references, does not take the place of
`PacketFacts.droppable`: some of these pictures are asked for, and which they are must be known before decoding, for the
plan and to find what reorders pictures (`stamps`). No reader would go away with it either: the flag stands in headers
that are read for keys and for the pictures' order.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tdn_data.pipeline.video.h263_family import FAMILY_READERS
from tdn_data.pipeline.video.mjpeg import mjpeg_facts
from tdn_data.pipeline.video.numbering import H264Numbers, HevcNumbers, Mpeg12Numbers
from tdn_data.pipeline.video.packet_facts import BROKEN, KEY, PREDICTED, PacketFacts, PacketReader
from tdn_data.pipeline.video.screen_family import SCREEN_READERS

_START_CODE = b"\0\0\1"
_SMALLEST_BLANK_BYTES = 32
_HOLES = {  # bytes of zeros that a codec never writes in a row inside a picture
    # a start code has two, and nothing else has as many
    **dict.fromkeys(("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"), 8),
    **dict.fromkeys(("vp8", "vp9"), 16),
    **dict.fromkeys(("h261", "h263", "h263p", "flv1", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"), 64),
}
_NEVER_PADDED = ("vp8", "vp9", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2")  # no start codes, no stuffing
_SLICE_HEAD_BYTES = 32
_FORBIDDEN = 0x80  # a bit of a NAL unit that is never set
_MPEG4_LAYER = re.compile(rb"\x00\x00\x01[\x20-\x2f].*?(?=\x00\x00\x01|\Z)", re.DOTALL)
_UNIT_HEADER = struct.Struct(">IBB")
_DIRAC_MARK, _DIRAC_HEAD_BYTES = b"BBCD", 13
_VP8_START_CODE = b"\x9d\x01\x2a"
_SMALLEST_CODED_VOP_BYTES = 11  # shorter MPEG-4 packets are placeholders: "nothing new", or the rest of a packed pair


def packet_reader(codec: str, extradata: bytes | None, *, intra_only: bool) -> PacketReader | None:
    """The reader for a codec by FFmpeg's canonical name and the stream's extradata; None where there is none."""
    extradata = extradata or b""
    if codec == "mjpeg":
        return mjpeg_facts
    if codec == "dirac":
        return _dirac_facts
    if intra_only or codec == "png":
        return _intra_facts
    if codec in ("h264", "hevc"):
        facts = _h264_facts if codec == "h264" else _hevc_facts
        numbers = H264Numbers(extradata) if codec == "h264" else HevcNumbers(extradata)
        return _NalReader(facts, _length_size(codec, extradata), numbers)
    if codec in ("mpeg1video", "mpeg2video"):
        return _SetupReader(_Mpeg12Reader(Mpeg12Numbers()), _mpeg12_setup, _mpeg12_setup(extradata))
    if codec == "mpeg4":
        return _SetupReader(_mpeg4_facts, _mpeg4_setup, _mpeg4_setup(extradata))
    readers = {"vp8": _vp8_facts, "vp9": _vp9_facts, "av1": _av1_facts, "theora": _theora_facts}
    readers |= FAMILY_READERS | SCREEN_READERS
    return readers.get(codec)


def is_blank(packet: memoryview) -> bool:
    """Whether a packet of some length holds one byte again and again: no picture that was ever compressed."""
    return len(packet) >= _SMALLEST_BLANK_BYTES and packet[0] in (0, 255) and packet == bytes(packet[:1]) * len(packet)


def has_hole(packet: bytes, codec: str) -> bool:
    """Whether zeros stand in a packet where its codec never writes so many: it was overwritten there.

    Zeros before a start code or at the end may be stuffing where the codec knows any.
    """
    hole = bytes(_HOLES.get(codec, 0))
    position = packet.find(hole) if hole else -1
    if codec in _NEVER_PADDED:
        return position >= 0
    while position >= 0:
        rest = packet[position:].lstrip(b"\0")
        if rest and rest[0] != 1:
            return True
        position = packet.find(hole, len(packet) - len(rest))
    return False


class _Unit(NamedTuple):
    """The first two bytes of a NAL unit, and where it begins and by its length ends in its packet."""

    first: int
    second: int
    position: int
    end: int = 0  # not known behind a start code


@dataclass(frozen=True)
class _NalReader:
    """Applies `facts` to a packet's NAL units; `length_size` is in bytes, 0 for start codes."""

    facts: Callable[[list[_Unit]], PacketFacts]
    length_size: int
    numbers: H264Numbers | HevcNumbers

    def __call__(self, packet: memoryview) -> PacketFacts:
        units = list(_prefixed_units(packet, self.length_size) if self.length_size else _start_code_units(packet))
        facts = self.facts(units)
        if any(unit.first & _FORBIDDEN or unit.end > len(packet) for unit in units):
            facts = facts._replace(broken=True)
        if facts.parameters:
            self._meet_parameters(packet, units)
        if not facts.shown:
            return facts
        slices = [unit.position for unit in units if self._is_slice(unit.first)]
        heads = (bytes(packet[begin : begin + _SLICE_HEAD_BYTES]) for begin in (slices[0], slices[-1]))
        return facts._replace(**self.numbers(*heads)._asdict())

    def _is_slice(self, first: int) -> bool:
        return first >> 1 & 63 < 32 if self._is_hevc else 1 <= first & 31 <= 5

    @property
    def _is_hevc(self) -> bool:
        return self.facts is _hevc_facts

    def _meet_parameters(self, packet: memoryview, units: list[_Unit]) -> None:
        """Show `numbers` the parameter sets on which the reading of numbers depends."""
        ends = [*(unit.position for unit in units[1:]), len(packet) + (self.length_size or 3)]
        for unit, end in zip(units, ends, strict=True):
            content = bytes(packet[unit.position : end - (self.length_size or 3)])
            if self._is_hevc and unit.first >> 1 & 63 in (33, 34):
                self.numbers.meet_parameters(content)
            elif not self._is_hevc and unit.first & 31 == 7:
                self.numbers.meet_parameters(content[1:])


@dataclass
class _SetupReader:
    """Adds to `facts` where `setup` finds another one than before; empty: the packet has none."""

    facts: PacketReader
    setup: Callable[[bytes], bytes]
    before: bytes

    def __call__(self, packet: memoryview) -> PacketFacts:
        setup, before = self.setup(bytes(packet)), self.before
        self.before = setup or before
        return self.facts(packet)._replace(new_setup=bool(before) and self.before != before)


def _mpeg12_setup(packet: bytes) -> bytes:
    """Size, shape and rate of the sequence header (6.2.2.1), behind its start code."""
    position = packet.find(b"\0\0\1\xb3")
    return packet[position + 4 : position + 8] if position >= 0 else b""


def _mpeg4_setup(packet: bytes) -> bytes:
    """The video object layer (ISO 14496-2, 6.2.3), start code 20 to 2F, up to the next start code."""
    found = _MPEG4_LAYER.search(packet)
    return found.group() if found else b""


@dataclass(frozen=True)
class _Mpeg12Reader:
    numbers: Mpeg12Numbers

    def __call__(self, packet: memoryview) -> PacketFacts:
        return _mpeg12_facts(packet)._replace(**self.numbers(bytes(packet))._asdict())


def _length_size(codec: str, extradata: bytes) -> int:
    """Bytes of the length before each NAL unit, from avcC (byte 4) or hvcC (byte 21); 0 for start codes."""
    position = 4 if codec == "h264" else 21
    if len(extradata) <= position or extradata[:3] == _START_CODE or extradata[:4] == b"\0" + _START_CODE:
        return 0
    return (extradata[position] & 3) + 1


def _prefixed_units(packet: memoryview, length_size: int) -> Iterator[_Unit]:
    position, end = 0, len(packet) - length_size - 2
    while position <= end:
        if length_size == 4:
            length, first, second = _UNIT_HEADER.unpack_from(packet, position)
        else:
            length = int.from_bytes(packet[position : position + length_size], "big")
            first, second = packet[position + length_size : position + length_size + 2]
        begin = position + length_size
        position = begin + length
        yield _Unit(first, second, begin, position)


def _start_code_units(packet: memoryview) -> Iterator[_Unit]:
    data = bytes(packet)
    position = data.find(_START_CODE)
    while position >= 0 and position + 5 <= len(data):
        yield _Unit(data[position + 3], data[position + 4], position + 3)
        position = data.find(_START_CODE, position + 3)


def _h264_facts(units: list[_Unit]) -> PacketFacts:
    slices = instantaneous = parameters = bidirectional = restart = known = False
    reference = 0
    for first, second, *_ in units:
        kind = first & 31
        known = known or (1 <= kind <= 23 and first < 128)
        restart = restart or (kind == 6 and second == 6)  # supplemental information that begins with a recovery point
        if 1 <= kind <= 5:
            slices = True
            instantaneous = instantaneous or kind == 5
            bidirectional = bidirectional or _begins_b_slices(second)
            reference |= first >> 5 & 3
        parameters = parameters or kind in (7, 8)
    droppable = slices and not reference and not parameters
    said = {"bidirectional": bidirectional, "restart": restart, "broken": not known}
    return PacketFacts(instantaneous, droppable, slices, parameters, **said)


def _begins_b_slices(header: int) -> bool:
    """Whether a slice header's first byte is that of a picture's first slice (first_mb_in_slice 0) of type B.

    Exp-Golomb: 1 for the 0, then 010 for slice_type 1 or 00111 for 6.
    """
    return header >> 4 == 0b1010 or header >> 2 == 0b100111


def _hevc_facts(units: list[_Unit]) -> PacketFacts:
    slices = random_access = parameters = known = False
    droppable, layer = True, 0
    for first, second, *_ in units:
        kind = first >> 1 & 63
        known = known or (kind <= 40 and first < 128 and second & 7 > 0)
        if kind < 32 and not first & 1 and second >> 3 == 0:  # a slice of the base layer
            slices = True
            random_access = random_access or 16 <= kind <= 21
            droppable = droppable and kind <= 14 and kind % 2 == 0
            layer = (second & 7) - 1
        parameters = parameters or kind in (32, 33, 34)
    droppable = droppable and slices and not parameters
    said = {"parameters": parameters, "layer": layer, "broken": not known}
    return PacketFacts(random_access, droppable, shown=slices, **said)


def _mpeg12_facts(packet: memoryview) -> PacketFacts:
    data = bytes(packet)
    kinds = [data[i + 5] >> 3 & 7 for i in _find_all(data, b"\0\0\1\0") if i + 5 < len(data)]
    sequence_header = b"\0\0\1\xb3" in data
    return PacketFacts(
        start=sequence_header and kinds[:1] == [1],
        droppable=set(kinds) == {3},
        shown=bool(kinds),
        parameters=sequence_header,
        suspect=_is_no_single_picture(data),
        bidirectional=set(kinds) == {3},
        broken=_START_CODE not in data,
    )


def _is_no_single_picture(data: bytes) -> bool:
    """Whether MPEG-2 picture coding extensions (identifier 8) tell of a lone field, or of more than a pair of them."""
    extensions = (data[i + 4 : i + 7] for i in _find_all(data, b"\0\0\1\xb5"))
    structures = [bits[2] & 3 for bits in extensions if len(bits) == 3 and bits[0] >> 4 == 8]
    return set(structures) != {3} and sorted(structures) not in ([], [1, 2])


def _mpeg4_facts(packet: memoryview) -> PacketFacts:
    data = bytes(packet)
    kinds = [data[i + 4] >> 6 for i in _find_all(data, b"\0\0\1\xb6") if i + 4 < len(data)]
    if len(data) >= _SMALLEST_CODED_VOP_BYTES and _START_CODE not in data:
        return BROKEN
    suspect = len(kinds) != 1 or len(data) < _SMALLEST_CODED_VOP_BYTES
    return PacketFacts(kinds == [0], kinds == [2], suspect=suspect, bidirectional=kinds == [2])


def _vp8_facts(packet: memoryview) -> PacketFacts:
    if not packet[0] & 1 and packet[3:6] != _VP8_START_CODE:
        return BROKEN
    return PacketFacts(start=not packet[0] & 1, shown=bool(packet[0] & 0x10))


def _vp9_facts(packet: memoryview) -> PacketFacts:
    """A superframe holds hidden frames and the shown one together; its first frame decides whether it is a start."""
    first = packet[0]
    if first >> 6 != 0b10:
        return BROKEN
    profile = (first >> 5 & 1) | (first >> 3 & 2)  # the low bit comes first
    bits = first << 1 if profile == 3 else first  # profile 3 has one reserved bit more
    show_existing, inter, show = bits >> 3 & 1, bits >> 2 & 1, bits >> 1 & 1
    superframe = packet[-1] & 0xE0 == 0xC0
    return PacketFacts(start=not (show_existing or inter), shown=bool(superframe or show_existing or show))


def _av1_facts(packet: memoryview) -> PacketFacts:
    """A temporal unit shows one picture. It is a start where its first frame is a shown key frame (5.9.2)."""
    position = 0
    while position < len(packet):
        header = packet[position]
        kind, extension, has_size = header >> 3 & 15, header >> 2 & 1, header >> 1 & 1
        if header >> 7 or kind == 0:
            return BROKEN
        position += 1 + extension
        length, position = _leb128(packet, position) if has_size else (len(packet) - position, position)
        if kind in (3, 6) and position < len(packet):  # OBU_FRAME_HEADER, OBU_FRAME
            return PacketFacts(start=packet[position] >> 4 == 0b0001)  # not existing, key frame, shown
        position += length
    return PREDICTED


def _leb128(data: memoryview, position: int) -> tuple[int, int]:
    """The number that starts at `position`, seven bits a byte, low ones first, and where it ends."""
    value = 0
    for shift in range(0, 56, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
    return value, position


def _theora_facts(packet: memoryview) -> PacketFacts:
    """Theora (specification, 7.1): a bit that is set in headers alone, then that of predicted pictures."""
    if packet[0] & 0x80 or not any(packet):
        return BROKEN
    return PREDICTED if packet[0] & 0x40 else KEY


def _dirac_facts(packet: memoryview) -> PacketFacts:
    """Dirac and VC-2 (SMPTE ST 2042-1, 10.5): units, each with "BBCD", a kind and the bytes to the next one.

    Pictures have bit 3 of the kind set, and how many others they need in the two lowest; one that needs none, behind a
    sequence header (kind 0), is where decoding can go on. The mark of a sequence's end comes as a packet of its own.
    """
    position, kinds = max(bytes(packet).find(_DIRAC_MARK), 0), []
    while bytes(packet[position : position + 4]) == _DIRAC_MARK and position + _DIRAC_HEAD_BYTES <= len(packet):
        kinds.append(packet[position + 4])
        to_next = int.from_bytes(packet[position + 5 : position + 9], "big")
        position = position + to_next if to_next else len(packet)
    pictures = [kind for kind in kinds if kind & 8]
    if not kinds:
        return PREDICTED
    restart = 0 in kinds and any(not kind & 3 for kind in pictures[:1])
    return PacketFacts(shown=bool(pictures), suspect=len(pictures) > 1, restart=restart)


def _intra_facts(packet: memoryview) -> PacketFacts:
    return KEY


def _find_all(data: bytes, pattern: bytes) -> Iterator[int]:
    position = data.find(pattern)
    while position >= 0:
        yield position
        position = data.find(pattern, position + len(pattern))
