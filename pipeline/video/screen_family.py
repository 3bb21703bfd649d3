"""Whole or a change? The packet heads of screen recorders and of some older codecs, as FFmpeg's decoders read them.

Zip Motion Blocks Video (bit 0 of the first byte), Flash Screen Video (SWF file format, "Screen video bitstream format":
a picture of which every block is sent), Sorenson Vector Quantizer 1 (two bits of type behind code and time), Snow (the
range coder's first bit, as in FFV1).

Cinepak, QuickTime Animation and Microsoft Video 1 mark no key pictures. A packet may show that it leaves nothing of the
picture as it was: one can go on there after damage, or where the beginning is gone. A sound file is decoded from its
first packet on all the same.
"""

from __future__ import annotations

from functools import partial

from tdn_data.pipeline.video.bits import Bits
from tdn_data.pipeline.video.packet_facts import KEY, PREDICTED, PacketFacts, PacketReader

_WHOLE = PacketFacts(restart=True)
_V4_BOOKS, _V1_BOOKS = (0x20, 0x24), (0x22, 0x26)  # Cinepak: new ones, for blocks of four vectors and of one
_ALL_VECTORS, _V1_VECTORS = 0x30, 0x32  # for every block; there are others that leave blocks as they were
_QTRLE_UNITS = {2: (4, 16), 4: (4, 8), 8: (4, 4), 16: (2, 1), 24: (3, 1), 32: (4, 1)}  # depth: bytes, pixels
_STRIP_HEAD_BYTES, _CHUNK_HEAD_BYTES = 12, 4
_KEY_STATE = 0x7F80  # the range coder's first bit in state 128 is set from here on


def zmbv_facts(packet: memoryview) -> PacketFacts:
    """ZMBV: a key packet sets up its decoder again."""
    return KEY if packet[0] & 1 else PREDICTED


def flashsv_facts(packet: memoryview) -> PacketFacts:
    """Flash Screen Video: blocks of 16 n x 16 m pixels, each with its number of bytes, 0 for "as before"."""
    bits = Bits(packet[:4])
    block_width, width, block_height, height = (bits.read(4) + 1) * 16, bits.read(12), bits.read(4), bits.read(12)
    block_height = (block_height + 1) * 16
    position = 4
    for _ in range(-(-width // block_width) * -(-height // block_height)):
        length = int.from_bytes(packet[position : position + 2], "big")
        if not length:
            return PREDICTED
        position += 2 + length
    return KEY


def svq1_facts(packet: memoryview) -> PacketFacts:
    """SVQ1: 22 bits of code, 8 of time, then the type; 0 is intra."""
    bits = Bits(packet[:8])
    bits.read(22 + 8)
    return PREDICTED if bits.read(2) else KEY


def range_coded_facts(packet: memoryview) -> PacketFacts:
    """FFV1 (RFC 9043, 4.4 and 3.8.1) and Snow: the range coder's first bit, in state 128, tells a key picture."""
    return KEY if len(packet) > 1 and (packet[0] << 8 | packet[1]) >= _KEY_STATE else PREDICTED


def qtrle_facts(packet: memoryview, *, bits_per_pixel: int, width: int) -> PacketFacts:
    """QuickTime Animation: bit 3 behind the size says that only some lines come; of a whole one none skips a pixel."""
    depth = bits_per_pixel & 31 or 32  # 32 more for grey
    if len(packet) < 8 or packet[5] & 8 or depth not in _QTRLE_UNITS:
        return PREDICTED
    (num_bytes, num_pixels), data, position = _QTRLE_UNITS[depth], bytes(packet), 6
    while position + 1 < len(data):
        position, num_units = _follow_qtrle_line(data, position, num_bytes)
        if num_units < -(-width // num_pixels):
            return PREDICTED
    return _WHOLE


def _follow_qtrle_line(data: bytes, position: int, num_bytes: int) -> tuple[int, int]:
    """Where a line ends, and how many units of so many bytes it has up to there or to the first that it skips."""
    if data[position] != 1:
        return position, 0
    num_units, position = 0, position + 1
    while position < len(data) and (code := data[position]) not in (0, 0xFF):
        num_units += code if code < 0x80 else 0x100 - code
        position += 1 + num_bytes * (code if code < 0x80 else 1)
    return position + 1, num_units


def cinepak_facts(packet: memoryview) -> PacketFacts:
    """Cinepak: strips with vectors for all blocks, and codebooks that are new or those of the strip before."""
    keeps_none, num_strips, position = packet[0] & 1, int.from_bytes(packet[8:10], "big"), 10
    for strip in range(num_strips):
        length = int.from_bytes(packet[position + 2 : position + 4], "big")
        kinds = _cinepak_chunks(packet[position : position + length])
        inherits = strip > 0 and not keeps_none
        has_v1, has_v4 = (inherits or not kinds.isdisjoint(books) for books in (_V1_BOOKS, _V4_BOOKS))
        if not has_v1 or not (_V1_VECTORS in kinds or (_ALL_VECTORS in kinds and has_v4)):
            return PREDICTED
        position += length
    return _WHOLE if num_strips else PREDICTED


def _cinepak_chunks(strip: memoryview) -> set[int]:
    """The kinds of the chunks in a strip."""
    kinds, position = set(), _STRIP_HEAD_BYTES
    while position + _CHUNK_HEAD_BYTES <= len(strip):
        kinds.add(strip[position])
        position += max(int.from_bytes(strip[position + 2 : position + 4], "big"), _CHUNK_HEAD_BYTES)
    return kinds


def msvideo1_facts(packet: memoryview, *, bits_per_pixel: int) -> PacketFacts:
    """Microsoft Video 1: blocks of one, two or eight colours, none skipped."""
    data, position = bytes(packet), 0
    while position + 1 < len(data):
        kind = data[position + 1]
        position += 2
        if kind & 0xFC == 0x84:
            return PREDICTED
        if bits_per_pixel == 8:
            position += 2 if kind < 0x80 else 8 if kind >= 0x90 else 0
        elif kind < 0x80:  # the first colour of two tells whether there are eight
            position += 16 if data[position + 1 : position + 2] >= b"\x80" else 4
    return _WHOLE if data else PREDICTED


def whole_reader(codec: str, *, bits_per_pixel: int, width: int) -> PacketReader | None:
    """What sees that a packet of a codec without marks of key pictures is a whole one; None for all other codecs."""
    readers: dict[str, PacketReader] = {
        "cinepak": cinepak_facts,
        "qtrle": partial(qtrle_facts, bits_per_pixel=bits_per_pixel, width=width),
        "msvideo1": partial(msvideo1_facts, bits_per_pixel=bits_per_pixel),
    }
    return readers.get(codec)


SCREEN_READERS = {
    "zmbv": zmbv_facts,
    "flashsv": flashsv_facts,
    "svq1": svq1_facts,
    "snow": range_coded_facts,
    "ffv1": range_coded_facts,
}
