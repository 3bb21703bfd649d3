"""Intra or inter? The picture headers of H.263 and of what was made from it.

H.263 (ITU-T H.263, 5.1.3 and 5.1.4), Sorenson's in Flash video (SWF file format, "Sorenson H.263 bitstream format"),
Microsoft's MPEG-4 variants and Windows Media Video 7 and 8, which have no public specification: the bits are those that
FFmpeg's decoders read. Not one of them looks back past an intra picture, and none reorders.
"""

from __future__ import annotations

from tdn_data.pipeline.video.bits import Bits
from tdn_data.pipeline.video.packet_facts import BROKEN, KEY, PREDICTED, PacketFacts

_HEADER_BYTES = 16  # more than any of these headers has up to the picture type
_PLUS = 7  # source format that says: the type is in the extended header


def h263_facts(packet: memoryview) -> PacketFacts:
    """H.263 and H.263+: 22 bits of start code, 8 of time, then PTYPE or, behind format 7, PLUSPTYPE."""
    bits = Bits(packet[:_HEADER_BYTES])
    if bits.read(22) != 0b100000:
        return BROKEN
    bits.read(8 + 2 + 3)
    if bits.read(3) != _PLUS:
        return PREDICTED if bits.read(1) else KEY
    if bits.read(3) == 1:  # an optional part of 18 bits comes first
        bits.read(18)
    return PREDICTED if bits.read(3) else KEY


def flv1_facts(packet: memoryview) -> PacketFacts:
    """Sorenson H.263: 17 bits of start code, version, time, size, then the type."""
    bits = Bits(packet[:_HEADER_BYTES])
    if bits.read(17) != 1:
        return BROKEN
    bits.read(5 + 8)
    sizes = {0: 16, 1: 32}  # bits of a size that is not one of the usual ones
    bits.read(sizes.get(bits.read(3), 0))
    return PREDICTED if bits.read(2) else KEY


def msmpeg4v1_facts(packet: memoryview) -> PacketFacts:
    """Version 1: 32 bits of start code and a frame number of 5 before the type."""
    bits = Bits(packet[:_HEADER_BYTES])
    if bits.read(32) != 0x100:
        return BROKEN
    bits.read(5)
    return PREDICTED if bits.read(2) else KEY


def msmpeg4_facts(packet: memoryview) -> PacketFacts:
    """Versions 2 and 3 and WMV 7: two bits of type first."""
    return PREDICTED if packet[0] >> 6 else KEY


def wmv2_facts(packet: memoryview) -> PacketFacts:
    """WMV 8: one bit of type first."""
    return PREDICTED if packet[0] >> 7 else KEY


FAMILY_READERS = {
    "h263": h263_facts,
    "h263p": h263_facts,
    "flv1": flv1_facts,
    "msmpeg4v1": msmpeg4v1_facts,
    "msmpeg4v2": msmpeg4_facts,
    "msmpeg4v3": msmpeg4_facts,
    "wmv1": msmpeg4_facts,
    "wmv2": wmv2_facts,
}
