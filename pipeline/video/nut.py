"""Which packets of a NUT file can be believed? Those between two landmarks that they fill from one to the other.

    landmark | frame | frame | frame | landmark | frame | ??? | landmark

A NUT file (specification of 2008, "syncpoint" and "frame") has landmarks of eight bytes that nothing else begins with,
and frames with heads of a few bytes between them. A frame's head is so short that nearly any bytes can be one: FFmpeg
takes what is behind missing or inserted bytes for frames for a while, and goes on at the next landmark.
"""

from __future__ import annotations

import mmap
import os
import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av

_LANDMARK = re.compile(
    rb"N(?:M\x7a\x56\x1f\x5f\x04\xad|S\x11\x40\x5b\xf2\xf9\xdb|K\xe4\xad\xee\xca\x45\x69|X\xdd\x67\x2f\x23\xe6\x4e"
    rb"|I\xab\x68\xb5\x96\xba\x78)"
)
_INDEX = b"NX\xdd\x67\x2f\x23\xe6\x4e"
_MARK_BYTES = 8
_MAX_UNCHECKED_BYTES = 4096  # longer landmarks have a check sum behind their length
_MAX_HEAD_BYTES = 32  # of a frame
_MAX_MISREAD = 16  # frames that FFmpeg reads out of other bytes before it stumbles
_MAX_ELIDED_BYTES = 8  # of a packet, that frames like it begin with and that the file does not repeat


def torn_stretches(path: str | os.PathLike) -> list[tuple[int, int]]:
    """The first byte, and the byte behind the last, of what frames do not fill.

    A file ends with an index; the last frame of one without is taken for shortened, which FFmpeg does not tell.
    """
    frames = sorted(_frames(path))
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        torn_from = ((_torn_from(*stretch, frames, len(data)), stretch[1]) for stretch in _stretches(data))
        torn = [(begin, end) for begin, end in torn_from if begin is not None]
        is_cut = data.find(_INDEX) < 0
    return torn + ([(frames[-1][0], sum(frames[-1]))] if is_cut and frames else [])


def _frames(path: str | os.PathLike) -> Iterator[tuple[int, int]]:
    """First byte and size of every packet of all streams that FFmpeg finds."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        try:
            for packet in container.demux():
                if packet.size and packet.pos is not None:
                    yield packet.pos, packet.size
        except (av.FFmpegError, IndexError):
            return


def _stretches(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """From behind each landmark to the next one or the end of the file."""
    begins = [found.start() for found in _LANDMARK.finditer(data)]
    for begin, following in pairwise([*begins, len(data)]):
        yield min(_landmark_end(data, begin), following), following


def _landmark_end(data: mmap.mmap, begin: int) -> int:
    """The byte behind a landmark, whose length comes seven bits a byte, high ones first."""
    position, length = begin + _MARK_BYTES, 0
    for byte in data[position : position + _MARK_BYTES]:
        position, length = position + 1, length << 7 | byte & 127
        if byte < 128:
            break
    return position + length + (4 if length > _MAX_UNCHECKED_BYTES else 0)


def _torn_from(begin: int, end: int, frames: list[tuple[int, int]], num_bytes: int) -> int | None:
    """From where on frames cannot be believed; None where they follow one another from `begin` to `end`.

    One that is not there at the end of the file is cut off, and what comes before it was not misread.
    """
    inside = frames[bisect_left(frames, (begin, 0)) : bisect_left(frames, (end, 0))]
    position = begin
    for number, (first, size) in enumerate([*inside, (end, 0)]):
        if not -_MAX_ELIDED_BYTES <= first - position <= (_MAX_HEAD_BYTES if first < end else 0):
            num_misread = 1 if first == num_bytes else _MAX_MISREAD
            return inside[max(number - num_misread, 0)][0] if number else begin
        position = first + size
    return None
