"""Is a file made of pieces as its container has them, one right behind another, from its first byte to its last?

    tag 9 ... 21 | tag 8 ... 13 | tag 9 ..   0 0 0 ... | tag 8 ... 17        a tear behind the third tag

FLV repeats each tag's size behind it, frames of IVF have times that rise, chunks of AVI have names. FFmpeg looks for
the next piece that it knows and says nothing of what it passed over. A piece with other bytes behind it than the next
one may have been shortened or pushed apart itself.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from av.container import InputContainer

from tdn_data.pipeline.video.container import format_names

_FLV_HEAD = re.compile(rb"[\x08\x09\x12\x28\x29\x32].{7}\0\0\0", re.DOTALL)
_FLV_HEAD_BYTES, _FLV_SIZE_BYTES = 11, 4
_IVF_FILE, _IVF_HEAD_BYTES = b"DKIF", 12
_MAX_IVF_STEP = 1 << 20  # ticks between two pictures
_AVI_CHUNK = re.compile(rb"(?:\d\d(?:dc|db|wb|pc|tx|iv|sb)|ix\d\d|LIST|RIFF|idx1|JUNK).{4}", re.DOTALL)
_AVI_PACKETS = re.compile(rb"LIST.{4}movi", re.DOTALL)
_ANY_CHUNK = re.compile(rb"[ -~]{4}.{4}", re.DOTALL)
_AVI_HEAD_BYTES, _AVI_LIST_BYTES = 8, 12


class Piece(NamedTuple):
    """The first byte of a piece, as FFmpeg counts it, and the byte behind it."""

    begin: int
    end: int
    is_proven: bool = False  # whole, whatever comes behind it


class Pieces(NamedTuple):
    """What can be followed of a file."""

    sound: frozenset[int]  # the first bytes of pieces right behind which there is one, was one by an index, or the end
    begun: frozenset[int]  # and of all others whose heads are right
    tears: tuple[int, ...]  # where something else begins


def follow(path: str | os.PathLike, container: InputContainer) -> Pieces | None:
    """The pieces of a file; None for containers that are not followed here."""
    reader = next((_READERS[name] for name in _READERS if name in format_names(container)), None)
    if reader is None:
        return None
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        listed = _listed(container) if reader is _avi_chunks else set()
        sound, begun, tears, last = set(), set(), [], None
        for piece in reader(data):
            if piece is not None:
                sound.add(piece.begin)
                begun.add(piece.begin)
            elif last is not None:
                tears.append(last.end)
                if not last.is_proven and last.end not in listed:
                    sound.discard(last.begin)
            last = piece or last
        return Pieces(frozenset(sound), frozenset(begun), tuple(tears))


def _listed(container: InputContainer) -> set[int]:
    """Where chunks begin by an AVI file's index."""
    streams = (*container.streams.video, *container.streams.audio)
    return {entry.pos for stream in streams for entry in stream.index_entries}


def _flv_tags(data: mmap.mmap) -> Iterator[Piece | None]:
    """Each tag (FLV specification 10.1, E.3 and E.4.1); None for a tear."""
    position = int.from_bytes(data[5:9], "big") + _FLV_SIZE_BYTES
    while position < len(data):
        end = _flv_end(data, position)
        if end is None:
            yield None
            heads = (found.start() for found in _FLV_HEAD.finditer(data, position))
            position = next((begin for begin in heads if _flv_end(data, begin)), len(data))
        else:
            yield Piece(position, end, is_proven=True)
            position = end


def _flv_end(data: mmap.mmap, begin: int) -> int | None:
    """Where the tag at byte `begin` ends, with its size repeated; None for no whole tag."""
    if not _FLV_HEAD.match(data, begin):
        return None
    end = begin + _FLV_HEAD_BYTES + int.from_bytes(data[begin + 1 : begin + 4], "big") + _FLV_SIZE_BYTES
    size = int.from_bytes(data[end - _FLV_SIZE_BYTES : end], "big")
    return end if end <= len(data) and size == end - begin - _FLV_SIZE_BYTES else None


def _ivf_frames(data: mmap.mmap) -> Iterator[Piece | None]:
    """Each frame up to the end or to a joined file; FFmpeg does not find its way again behind a tear."""
    position, before = int.from_bytes(data[6:8], "little"), None
    while position < len(data) and data[position : position + 4] != _IVF_FILE:
        size, time = (
            int.from_bytes(data[position + at : position + at + width], "little") for at, width in ((0, 4), (4, 8))
        )
        end = position + _IVF_HEAD_BYTES + size
        is_frame = size > 0 and 0 <= time - (time if before is None else before) < _MAX_IVF_STEP
        if is_frame:
            yield Piece(position, min(end, len(data)))
        if not is_frame or end > len(data):
            yield None
            return
        position, before = end, time


def _avi_chunks(data: mmap.mmap) -> Iterator[Piece | None]:
    """Each chunk of the lists of packets; FFmpeg counts from behind its head. What follows on an index is let be."""
    lists = _AVI_PACKETS.search(data)
    position, is_index = lists.end() if lists else len(data), False
    while position + _AVI_HEAD_BYTES <= len(data):
        end = _avi_end(data, position)
        if end is None and is_index:
            return
        is_index = data[position : position + 4] == b"idx1"
        if end is None:
            if _AVI_CHUNK.match(data, position):  # the end of the file comes before its own
                yield Piece(position + _AVI_HEAD_BYTES, len(data))
            yield None
            heads = (found.start() for found in _AVI_CHUNK.finditer(data, position))
            position = next((at for at in heads if _avi_end(data, _avi_end(data, at) or len(data))), len(data))
        else:
            yield Piece(position + _AVI_HEAD_BYTES, end)
            position = end


def _avi_end(data: mmap.mmap, begin: int) -> int | None:
    """Where the chunk at byte `begin` ends, a list behind its kind; None for no whole chunk.

    Chunks of an odd length are padded, though not by every writer.
    """
    if not _ANY_CHUNK.match(data, begin):
        return None
    if data[begin : begin + 4] in (b"LIST", b"RIFF"):
        return begin + _AVI_LIST_BYTES
    length = int.from_bytes(data[begin + 4 : begin + 8], "little")
    end = begin + _AVI_HEAD_BYTES + length
    padding = 0 if _AVI_CHUNK.match(data, end) else length % 2
    return min(end + padding, len(data)) if end <= len(data) else None


_READERS: dict[str, Callable[[mmap.mmap], Iterator[Piece | None]]] = {
    "flv": _flv_tags,
    "ivf": _ivf_frames,
    "avi": _avi_chunks,
}
