"""Is a JPEG picture of a video whole? (ITU-T T.81, annex B)

A decoder takes zeros in the place of the coded picture for grey or smeared blocks and reports nothing. No coder writes
so many zero bytes in a row.
"""

from __future__ import annotations

from tdn_data.pipeline.video.packet_facts import BROKEN, KEY, PacketFacts

_HOLE = bytes(64)
_SCAN, _END = 0xDA, b"\xff\xd9"
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length


def mjpeg_facts(packet: memoryview) -> PacketFacts:
    """Every picture stands alone; one with a hole of zeros between its head and its end is broken."""
    data = bytes(packet)
    begin, end = _scan_begins(data), data.rfind(_END)
    return BROKEN if data.find(_HOLE, begin, end if end > begin else len(data)) >= 0 else KEY


def _scan_begins(data: bytes) -> int:
    """Where the coded picture begins, behind the segments with tables and comments; 0 where they cannot be followed."""
    position = 0
    while data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        kind = data[position + 1]
        if kind == _SCAN:
            return position
        position += (
            2 if kind in _ALONE else 1 if kind == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        )
    return 0
