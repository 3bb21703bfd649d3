"""The elements of a Matroska file that describe its tracks (RFC 8794 and RFC 9559), read without a library."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tdn_data.pipeline.video.structure import EBML, SEGMENT, ebml_size, segment_end

CODEC_ID, CODEC_PRIVATE, CONTENT_ENCODINGS = b"\x86", b"\x63\xa2", b"\x6d\x80"
VIDEO, PIXEL_WIDTH, PIXEL_HEIGHT = b"\xe0", b"\xb0", b"\xba"
_TRACKS, _TRACK_ENTRY, _TRACK_TYPE = b"\x16\x54\xae\x6b", b"\xae", b"\x83"
_DOCUMENT_TYPES = (b"\x42\x82\x88matroska", b"\x42\x82\x84webm")
_VIDEO_TRACK = 1
_HEADER_BYTES = 64  # more than an EBML header has up to its document type
_MAX_ELEMENTS = 100_000  # looked at in one file
_MAX_TRACKS_BYTES = 16 << 20
_MAX_BETWEEN_BYTES = 1 << 16  # looked at behind a packet


def video_tracks(file: BinaryIO, begin: int = 0) -> list[dict[bytes, bytes]]:
    """The elements of each video track, by the Tracks element of the file that begins at byte `begin`."""
    content = _tracks(file, begin, os.fstat(file.fileno()).st_size)
    tracks = (dict(elements(entry)) for identifier, entry in elements(content) if identifier == _TRACK_ENTRY)
    return [track for track in tracks if number(track.get(_TRACK_TYPE)) == _VIDEO_TRACK and CODEC_ID in track]


def following_headers(file: BinaryIO) -> Iterator[int]:
    """Where further Matroska files begin behind the first one of a file; inside it only where its end is left open."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = 0
        while position >= 0:
            head = data[position : position + _HEADER_BYTES]
            if position and any(kind in head for kind in _DOCUMENT_TYPES):
                yield position
            position = data.find(EBML, position + max(segment_end(head), 1))


def has_empty_block(path: str | os.PathLike, packet: tuple[int, int], end: int) -> bool:
    """Whether an empty SimpleBlock, which no reader gives, stands behind a packet: the picture before stays on.

    `packet` is where a packet's block names its track and the packet's size, `end` the former of the next packet.
    """
    begin, num_bytes = packet
    with Path(path).open("rb") as file:
        file.seek(begin)
        track = file.read(1)
        file.seek(begin + num_bytes)
        between = file.read(min(max(end - begin - num_bytes, 0), _MAX_BETWEEN_BYTES))
    return b"\xa3\x84" + track in between


def number(content: bytes | None) -> int:
    """An unsigned integer element's value, 0 where it is absent."""
    return int.from_bytes(content or b"", "big")


def elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(identifier, content) of the elements in `data`, one after another."""
    position = 0
    while position < len(data):
        identifier, begin = _identifier(data, position)
        length, begin = ebml_size(data, begin)
        if not identifier or length is None:
            return
        yield identifier, data[begin : begin + length]
        position = begin + length


def _tracks(file: BinaryIO, begin: int, end: int) -> bytes:
    """The content of the Tracks element; nothing where it cannot be found from `begin`."""
    position = begin
    for _ in range(_MAX_ELEMENTS):
        if position >= end:
            break
        file.seek(position)
        head = file.read(12)
        identifier, begin = _identifier(head)
        length, begin = ebml_size(head, begin)
        if identifier == SEGMENT:
            position += begin
        elif identifier == _TRACKS and length is not None:
            file.seek(position + begin)
            return file.read(min(length, _MAX_TRACKS_BYTES))
        elif length is None or not identifier:
            break
        else:
            position += begin + length
    return b""


def _identifier(data: bytes, position: int = 0) -> tuple[bytes, int]:
    """An EBML element's identifier, with its length marker, and where its size begins."""
    first = data[position] if position < len(data) else 0
    length = 9 - first.bit_length()
    return (data[position : position + length] if length <= 4 else b""), position + length
