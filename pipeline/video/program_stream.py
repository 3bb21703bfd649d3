"""What the packets of an MPEG program stream (MPG, VOB) tell of pictures that are not whole (ISO 13818-1, 2.5.3).

    pack | system header | video 2030 | audio 800 | video 1200 | ??? | pack | video 2030 | vid        torn, and cut off

Every part begins with a start code and says how long it is, so that the next one begins right behind it. FFmpeg looks
for the next start code that it knows and says nothing of what it passed over; pictures come in pieces, and one that
lacks a piece comes as if it were whole. A few zeros between the parts are padding, more may stand for lost ones.
"""

from __future__ import annotations

import mmap
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

_START = re.compile(rb"\x00\x00\x01[\xb9-\xff]")
_START_BYTES = 4
_ZEROS, _END, _PACK, _FIRST_WITH_LENGTH = 0, 0xB9, 0xBA, 0xBB
_LENGTH_END = 6
_PACK_BYTES = {0b01: 14, 0b00: 12}  # by the two bits behind the start code: MPEG-2, MPEG-1
_MAX_PADDING_BYTES = 2352  # a sector of any disc
_SPOILED_BYTES = 32  # zeros in front of other zeros that no part of a stream ends with
_MAX_TEARS, _MAX_TORN_SHARE = 8, 50  # more, or one in so many parts, are a file that has more between its parts


class _Part(NamedTuple):
    begin: int
    end: int
    code: int


class ProgramLosses(NamedTuple):
    """Packets by their numbers in file order, as in `container_losses.ContainerLosses`."""

    spoiled: frozenset[int] = frozenset()
    is_torn: bool = False
    lacks_beginning: bool = False
    lacks_end: bool = False


def program_losses(path: str | os.PathLike, stream_id: int, places: Sequence[tuple[int, int]]) -> ProgramLosses:
    """What the parts tell of a stream's pictures, which begin in the parts at these `places`, in file order.

    A part with other bytes behind it than the next part may have been shortened or pushed apart itself.
    """
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        own, tears, num_parts, torn_own = [], [], 0, set()
        last, has_gap = None, False
        for part in _parts(data):
            if part is not None and part.code == _ZEROS:
                has_gap |= part.end - part.begin > _MAX_PADDING_BYTES
                continue
            if part is None:
                tears.append(0 if last is None else last.end)
                torn_own |= {last.begin} if last is not None and last.code == stream_id & 0xFF else set()
                continue
            num_parts, last = num_parts + 1, part
            own += [part.begin] if part.code == stream_id & 0xFF else []
        is_cut = last is not None and last.end > len(data)
    if len(tears) > max(_MAX_TEARS, num_parts // _MAX_TORN_SHARE) or not own or not places:
        return ProgramLosses()
    begins = list(accumulate((begin for begin, _ in places), max))  # of a part's further pictures FFmpeg says 0
    hit = set().union(*(_in_part(begins, begin) for begin in torn_own), *(_before(begins, tear) for tear in tears))
    hit |= {len(begins) - 1} if is_cut and last.begin == own[-1] else set()
    return ProgramLosses(
        frozenset(hit),
        is_torn=bool(tears) or has_gap,
        lacks_beginning=any(tear <= begins[0] for tear in tears),
        lacks_end=is_cut,
    )


def _in_part(begins: Sequence[int], part: int) -> set[int]:
    """The pictures of which something is in the part that begins at byte `part`; each reaches into that of the next."""
    first = max(bisect_left(begins, part) - 1, 0)
    return set(range(first, bisect_right(begins, part)))


def _before(begins: Sequence[int], tear: int) -> set[int]:
    """The picture that a tear is in, or that ends there."""
    return {bisect_left(begins, tear) - 1} - {-1}


def _parts(data: mmap.mmap) -> Iterator[_Part | None]:
    """Each part, the last one perhaps with its end behind that of the file, and zeros; None for a tear."""
    position = 0
    while position < len(data):
        part = _part(data, position)
        is_followed = part is not None and (part.end >= len(data) or _part(data, part.end) is not None)
        if part is not None:
            yield part
            position = part.end
        if is_followed:
            continue
        following = _next_part(data, position if part is None else part.begin + _START_BYTES)
        before = data[max(position - _SPOILED_BYTES, 0) : position] or b"\1"
        if following < position or data[position:following].strip(b"\0") or not before.strip(b"\0"):
            yield None
        else:
            yield _Part(position, following, _ZEROS)
        position = following


def _next_part(data: mmap.mmap, position: int) -> int:
    """Where the next part begins that is right in front of another; the end of the file for none."""
    for found in _START.finditer(data, position):
        part = _part(data, found.start())
        if part is not None and (part.end >= len(data) or _START.match(data, part.end)):
            return found.start()
    return len(data)


def _part(data: mmap.mmap, begin: int) -> _Part | None:
    """The part at byte `begin`; None where none begins. A length of 0 means up to the next start code."""
    head = data[begin : begin + _PACK_BYTES[0b01]]
    if not _START.match(head):
        return None
    code, end = head[3], begin + _START_BYTES
    if code == _PACK:
        length = _PACK_BYTES.get(head[4] >> 6 if len(head) > 4 else 0)
        if length is None or (length == 12 and head[4:5] and head[4] >> 4 != 0b0010):
            return None
        stuffing = head[13] & 7 if length == 14 and len(head) == 14 else 0
        end = begin + length + stuffing
    elif code >= _FIRST_WITH_LENGTH:
        length = int.from_bytes(head[4:6], "big")
        following = None if length else _START.search(data, begin + _LENGTH_END)
        end = begin + _LENGTH_END + length if length else following.start() if following else len(data)
    return _Part(begin, end, code)
