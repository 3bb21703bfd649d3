"""What a compressed packet says about itself before it is decoded: can decoding start here, can it be left out?

Each reader looks at a few header bits and nothing else. Specifications: H.264 (ITU-T H.264, 7.3.1 and 7.4.1: a
picture with nal_ref_idc 0 is never a reference), H.265 (7.4.2.2: sub-layer non-reference pictures may still be used by
higher temporal sub-layers, so only those of the highest can go), MPEG-1/2 (ISO 13818-2, 6.2.3: B pictures are never
references), MPEG-4 part 2 (ISO 14496-2, 6.2.5), VP8 (RFC 6386, 9.1) and VP9 (6.2: frames that are not shown).
A codec without a reader here is decoded from its first packet on, which is always right.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class PacketFacts(NamedTuple):
    """One packet: see the field comments. The default is what is safe to assume of an inter-coded picture."""

    start: bool = False  # decoding can begin here, given that the container marks it as a keyframe as well
    droppable: bool = False  # no other picture is predicted from it (within `layer`, see `droppable_layer`)
    shown: bool = True  # gives a picture on screen
    parameters: bool = False  # carries parameter sets that later packets need
    suspect: bool = False  # pictures and packets do not correspond one to one
    layer: int = 0  # H.265 temporal sub-layer


PacketReader = Callable[[memoryview], PacketFacts]

_PREDICTED = PacketFacts()
_KEY = PacketFacts(start=True)
_START_CODE = b"\0\0\1"
_UNIT_HEADER = struct.Struct(">IBB")
_SMALLEST_CODED_VOP_BYTES = 11  # shorter MPEG-4 packets are placeholders: "nothing new", or the rest of a packed pair

# Codecs whose inter pictures never look back past a keyframe, and where nothing can be left out with certainty.
_KEYFRAME_CODECS = (
    "av1", "dnxhd", "ffv1", "ffvhuff", "flv1", "h263", "huffyuv", "mjpeg", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3",
    "png", "prores", "rawvideo", "vc1", "wmv1", "wmv2", "wmv3",
)  # fmt: skip


def packet_reader(codec: str, extradata: bytes | None) -> PacketReader | None:
    """The reader for a codec by FFmpeg's canonical name and the stream's extradata; None where there is none."""
    extradata = extradata or b""
    if codec in ("h264", "hevc"):
        facts = _h264_facts if codec == "h264" else _hevc_facts
        return _NalReader(facts, _length_size(codec, extradata))
    readers = {"mpeg1video": _mpeg12_facts, "mpeg2video": _mpeg12_facts, "mpeg4": _mpeg4_facts}
    readers |= {"vp8": _vp8_facts, "vp9": _vp9_facts}
    readers |= dict.fromkeys(_KEYFRAME_CODECS, _keyframe_facts)
    return readers.get(codec)


def is_reordered(codec: str, facts: Sequence[PacketFacts]) -> bool:
    """Whether pictures may be shown in another order than their packets come in."""
    if codec == "mpeg4":
        return any(fact.droppable for fact in facts)  # B pictures
    return codec not in ("vp8", "vp9", *_KEYFRAME_CODECS) or codec in ("av1", "vc1", "wmv3")


@dataclass(frozen=True)
class _NalReader:
    """Applies `facts` to the first two bytes of each NAL unit; `length_size` is in bytes, 0 for start codes."""

    facts: Callable[[Iterator[tuple[int, int]]], PacketFacts]
    length_size: int

    def __call__(self, packet: memoryview) -> PacketFacts:
        if self.length_size:
            return self.facts(_prefixed_units(packet, self.length_size))
        return self.facts(_start_code_units(packet))


def _length_size(codec: str, extradata: bytes) -> int:
    """Bytes of the length before each NAL unit, from avcC (byte 4) or hvcC (byte 21); 0 for start codes."""
    position = 4 if codec == "h264" else 21
    if len(extradata) <= position or extradata[:3] == _START_CODE or extradata[:4] == b"\0" + _START_CODE:
        return 0
    return (extradata[position] & 3) + 1


def _prefixed_units(packet: memoryview, length_size: int) -> Iterator[tuple[int, int]]:
    position, end = 0, len(packet) - length_size - 2
    while position <= end:
        if length_size == 4:
            length, first, second = _UNIT_HEADER.unpack_from(packet, position)
        else:
            length = int.from_bytes(packet[position : position + length_size], "big")
            first, second = packet[position + length_size : position + length_size + 2]
        yield first, second
        position += length_size + length


def _start_code_units(packet: memoryview) -> Iterator[tuple[int, int]]:
    data = bytes(packet)
    position = data.find(_START_CODE)
    while position >= 0 and position + 5 <= len(data):
        yield data[position + 3], data[position + 4]
        position = data.find(_START_CODE, position + 3)


def _h264_facts(units: Iterator[tuple[int, int]]) -> PacketFacts:
    slices = instantaneous = parameters = False
    reference = 0
    for first, _ in units:
        kind = first & 31
        if 1 <= kind <= 5:
            slices = True
            instantaneous = instantaneous or kind == 5
            reference |= first >> 5 & 3
        parameters = parameters or kind in (7, 8)
    droppable = slices and not reference and not parameters
    return PacketFacts(start=instantaneous, droppable=droppable, shown=slices, parameters=parameters)


def _hevc_facts(units: Iterator[tuple[int, int]]) -> PacketFacts:
    slices = random_access = parameters = False
    droppable, layer = True, 0
    for first, second in units:
        kind = first >> 1 & 63
        if kind < 32 and not first & 1 and second >> 3 == 0:  # a slice of the base layer
            slices = True
            random_access = random_access or 16 <= kind <= 21
            droppable = droppable and kind <= 14 and kind % 2 == 0
            layer = (second & 7) - 1
        parameters = parameters or kind in (32, 33, 34)
    droppable = droppable and slices and not parameters
    return PacketFacts(random_access, droppable, shown=slices, parameters=parameters, layer=layer)


def _mpeg12_facts(packet: memoryview) -> PacketFacts:
    data = bytes(packet)
    kinds = {data[i + 5] >> 3 & 7 for i in _find_all(data, b"\0\0\1\0") if i + 5 < len(data)}
    sequence_header = b"\0\0\1\xb3" in data
    return PacketFacts(start=sequence_header, droppable=kinds == {3}, shown=bool(kinds), parameters=sequence_header)


def _mpeg4_facts(packet: memoryview) -> PacketFacts:
    data = bytes(packet)
    kinds = [data[i + 4] >> 6 for i in _find_all(data, b"\0\0\1\xb6") if i + 4 < len(data)]
    suspect = len(kinds) != 1 or len(data) < _SMALLEST_CODED_VOP_BYTES
    return PacketFacts(start=kinds == [0], droppable=kinds == [2], suspect=suspect)


def _vp8_facts(packet: memoryview) -> PacketFacts:
    return PacketFacts(start=not packet[0] & 1, shown=bool(packet[0] & 0x10))


def _vp9_facts(packet: memoryview) -> PacketFacts:
    if packet[-1] & 0xE0 == 0xC0:  # a superframe: hidden frames and the shown one together
        return _KEY
    first = packet[0]
    profile = (first >> 5 & 1) | (first >> 3 & 2)  # the low bit comes first
    bits = first << 1 if profile == 3 else first  # profile 3 has one reserved bit more
    show_existing, show = bits >> 3 & 1, bits >> 1 & 1
    return PacketFacts(start=True, shown=bool(show_existing or show))


def _keyframe_facts(packet: memoryview) -> PacketFacts:
    return _KEY


def _find_all(data: bytes, pattern: bytes) -> Iterator[int]:
    position = data.find(pattern)
    while position >= 0:
        yield position
        position = data.find(pattern, position + len(pattern))
