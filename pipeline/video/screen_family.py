"""Whole or a change? The packet heads of screen recorders and of two older codecs, as FFmpeg's decoders read them.

Zip Motion Blocks Video (bit 0 of the first byte), Flash Screen Video (SWF file format, "Screen video bitstream format":
a picture of which every block is sent), Sorenson Vector Quantizer 1 (two bits of type behind code and time), Snow (the
range coder's first bit, as in FFV1).
"""

from __future__ import annotations

from tdn_data.pipeline.video.bits import Bits
from tdn_data.pipeline.video.packet_facts import KEY, PREDICTED, PacketFacts

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


SCREEN_READERS = {
    "zmbv": zmbv_facts,
    "flashsv": flashsv_facts,
    "svq1": svq1_facts,
    "snow": range_coded_facts,
    "ffv1": range_coded_facts,
}
