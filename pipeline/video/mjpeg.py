"""Is a JPEG picture of a video whole? (ITU-T T.81, annex B)

A decoder takes zeros in the place of the coded picture for grey or smeared blocks and reports nothing. A coder writes
so many zero bytes in a row only where zero bits are its code for blocks without any change, as in flat pictures with
Huffman tables of their own (F.1.2: codes of zeros stand for a table's first symbol).
"""

from __future__ import annotations

import re

from tdn_data.pipeline.video.packet_facts import BROKEN, KEY, PacketFacts

_HOLE = bytes(64)
_SCAN, _TABLES, _END = 0xDA, 0xC4, b"\xff\xd9"
_TABLE_HEAD_BYTES = 17  # class and number, and how many codes there are of each length
_NEVER_IN_SCAN = re.compile(  # restarts, scans, tables and comments may stand between coded data, a stuffed 0 in it
    rb"\xff(?:[\x01-\xbf\xc0-\xc3\xc5-\xcf\xd8\xde\xdf\xf0-\xfd]|\xff{16})"
)
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length


def mjpeg_facts(packet: memoryview) -> PacketFacts:
    """Every picture stands alone; a hole of zeros or a marker that cannot be there, between head and end, breaks it."""
    data = bytes(packet)
    begin, tables = _head(data)
    end = data.rfind(_END)
    limit = end if end > begin else len(data)
    first_end = data.find(_END, begin, limit)  # two fields may come one behind the other
    if begin and _NEVER_IN_SCAN.search(data, begin + 2, first_end if first_end > 0 else limit):
        return BROKEN
    has_hole = data.find(_HOLE, begin, limit) >= 0
    return BROKEN if has_hole and not _zeros_are_plain(tables) else KEY


def _head(data: bytes) -> tuple[int, list[bytes]]:
    """Where the coded picture begins, 0 where the segments before it cannot be followed, and its Huffman tables."""
    position, tables = 0, []
    while data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        kind = data[position + 1]
        if kind == _SCAN:
            return position, tables
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if kind == _TABLES:
            tables += _split_tables(data[position + 4 : position + 2 + length])
        position += 2 if kind in _ALONE else 1 if kind == 0xFF else 2 + length
    return 0, tables


def _split_tables(content: bytes) -> list[bytes]:
    tables, position = [], 0
    while position + _TABLE_HEAD_BYTES < len(content):
        end = position + _TABLE_HEAD_BYTES + sum(content[position + 1 : position + _TABLE_HEAD_BYTES])
        tables.append(content[position:end])
        position = end
    return tables


def _zeros_are_plain(tables: list[bytes]) -> bool:
    """Whether zero bits mean "no change, end of block": 0 is the first symbol of all tables of both classes."""
    return bool(tables) and all(table[_TABLE_HEAD_BYTES : _TABLE_HEAD_BYTES + 1] == b"\0" for table in tables)
