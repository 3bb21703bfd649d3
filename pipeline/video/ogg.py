"""The pages of an Ogg file: their sequence numbers tell what is missing, their granule positions how much.

RFC 3533, 6: each page has a number, a check sum and the position of the last packet that ends on it; packets may go on
over pages, and the last page of a stream is marked. In Theora (specification, A.2.3) and VP8 (VP8 in Ogg mapping) a
position counts pictures.

    pages       0[1 2]  1[3 4 5]  . . .  3[9 10]      page 2 is overwritten: pictures 6, 7 and 8 are missing
    FFmpeg       1 2     3 4 5            6 7         counts on

RFC 3533, 4, has a stream end with a marked page; yet recordings of live streams, or of programs that were stopped, have
no such mark, and miss nothing. No header says how long a stream is, so a file cut exactly
between two pages is the same as one whose writer stopped there. Such a file is not called damaged, and a note says what
is not known. A cut falls between pages once in some thousand times, a page being that many bytes; any other shows in a
page or packet that does not end, and bytes that are overwritten show behind the last page. If another stream is marked,
the writer did end the file, and a stream without the mark has lost its end.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

_CAPTURE = b"OggS"
_HEAD_BYTES = 27
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_THEORA_HEAD, _VP8_HEAD = b"\x80theora", b"OVP80"
_VP8_SHOWN = 0x10


class _Page(NamedTuple):
    flags: int
    granule: int
    serial: int
    number: int
    segments: bytes  # sizes of the pieces of packets; 255: the packet goes on
    content: bytes
    end: int  # the byte behind it in the file


@dataclass
class _Packet:
    content: bytes
    whole: bool = True
    after_hole: bool = False  # a page is missing before the one that it ends on
    place: int | None = None  # which picture of the stream it is, or is needed for
    is_shown: bool = True


class PageLosses(NamedTuple):
    """What pages tell of the packets that FFmpeg gives, by their numbers in file order."""

    lost: dict[int, int]  # packet -> how many pictures are missing behind it
    spoiled: frozenset[int] = frozenset()  # packets that are not whole
    moved: dict[int, int] = {}  # packet -> its time in pictures, where FFmpeg counted on over a hole
    lacks_beginning: bool = False  # the first are missing
    cut_off: bool | None = None  # whether the last are missing; None: not known
    ends_unmarked: bool = False  # nothing is missing, but the mark of the end: more may have been to come


def page_losses(path: str | os.PathLike, stream: int, pts: Sequence[int | None], sizes: Sequence[int]) -> PageLosses:
    """What the pages of stream number `stream` tell of FFmpeg's packets with these times, in pictures, and sizes.

    Of joined files, and of codecs whose positions are not known, nothing.
    """
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        every, num_bytes = list(_pages(data)), len(data)
    pages = _pages_of(every, stream)
    packets = _packets(pages) if pages else None
    if not packets or [len(packet.content) for packet in packets] != list(sizes) or None in pts:
        return PageLosses({})
    spoiled = frozenset(number for number, packet in enumerate(packets) if not packet.whole)
    lost, moved = {}, {}
    offset = pts[0] - (packets[0].place or 0)
    for number, (before, after) in enumerate(pairwise(packets)):
        known = None not in (before.place, after.place)
        missing = after.place - before.place - before.is_shown if known else 0
        if after.after_hole and missing > 0:
            lost[number] = missing
        if known and after.place + offset != pts[number + 1]:
            moved[number + 1] = after.place + offset
    has_end = bool(pages[-1].flags & _LAST)
    unmarked = not has_end and _stops_between_pages(every, pages[-1], num_bytes)
    return PageLosses(lost, spoiled, moved, packets[0].after_hole, not has_end and not unmarked, unmarked)


def _stops_between_pages(every: list[_Page], last: _Page, num_bytes: int) -> bool:
    """Whether a file without any mark of an end ends with a page, and the `last` of a stream with a packet."""
    is_marked = any(page.flags & _LAST for page in every)
    return not is_marked and every[-1].end == num_bytes and last.segments[-1:] != b"\xff"


def _pages_of(pages: list[_Page], stream: int) -> list[_Page]:
    """The sound pages of one stream; none in files joined from several."""
    first = [page.serial for page in pages if page.flags & _FIRST]
    num_first = next((at for at, page in enumerate(pages) if not page.flags & _FIRST), len(pages))
    if stream >= len(first) or len(first) != num_first:
        return []
    return [page for page in pages if page.serial == first[stream]]


def _pages(data: mmap.mmap) -> Iterator[_Page]:
    position = data.find(_CAPTURE)
    while position >= 0:
        head = bytes(data[position : position + _HEAD_BYTES])
        segments = bytes(data[position + _HEAD_BYTES : position + _HEAD_BYTES + head[-1]])
        begin = position + _HEAD_BYTES + head[-1]
        end = begin + sum(segments)
        page = bytes(data[position:end])
        is_sound = end <= len(data) and check_sum(page[:22] + bytes(4) + page[26:]) == _number(page[22:26])
        if is_sound:
            granule = int.from_bytes(head[6:14], "little", signed=True)
            serial, number, content = _number(head[14:18]), _number(head[18:22]), page[begin - position :]
            yield _Page(head[5], granule, serial, number, segments, content, end)
        position = data.find(_CAPTURE, end if is_sound else position + 1)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def check_sum(page: bytes) -> int:
    """A page's CRC-32 of polynomial 04c11db7 that takes the high bits first and begins with zero.

    >>> hex(check_sum(b"123456789"))
    '0x89a1897f'
    """
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


def _packets(pages: list[_Page]) -> list[_Packet] | None:
    """The packets that FFmpeg gives, without headers and empty ones; None for codecs that are not known."""
    head = pages[0].content
    if not head.startswith((_THEORA_HEAD, _VP8_HEAD)):
        return None
    shift = (head[40] & 3) << 3 | head[41] >> 5 if head.startswith(_THEORA_HEAD) else 32
    packets: list[_Packet] = []
    rest, is_open, is_spoiled, expected, furthest = b"", False, False, pages[0].number, -1
    for page in pages:
        hole, expected = page.number != expected, page.number + 1
        comes_again = hole and 0 <= page.granule <= furthest
        furthest = max(furthest, page.granule)
        is_continued = bool(page.flags & _CONTINUED)
        skips = is_continued and not is_open  # the beginning is missing
        is_spoiled = is_open and hole
        rest = rest if is_continued else b""
        ended: list[_Packet] = []
        position = 0
        for length in page.segments:
            rest += page.content[position : position + length]
            position += length
            if length < 255:
                if not skips:
                    is_whole = not (comes_again or (is_spoiled and is_continued and not ended))
                    is_shown = shift != 32 or bool(rest and rest[0] & _VP8_SHOWN)
                    ended.append(_Packet(rest, is_whole, hole, is_shown=is_shown))
                rest, skips = b"", False
        is_open = bool(page.segments) and page.segments[-1] == 255
        _number_pictures(ended, page.granule, shift)
        packets += [packet for packet in ended if packet.content and not _is_header(packet.content)]
    return packets


def _is_header(content: bytes) -> bool:
    return content.startswith(_VP8_HEAD) or content[1:7] == b"theora"


def _number_pictures(packets: list[_Packet], granule: int, shift: int) -> None:
    """Count back from the last packet that ends on a page; hidden VP8 pictures have the place of the next shown one."""
    place = granule >> 32 if shift == 32 else (granule >> shift) + (granule & ((1 << shift) - 1))
    for packet in reversed(packets if granule >= 0 else ()):
        place -= packet is not packets[-1] and packet.is_shown
        packet.place = place
