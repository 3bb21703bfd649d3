"""The elements of a Matroska file that describe its tracks (RFC 8794 and RFC 9559), read without a library."""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tdn_data.pipeline.video.structure import EBML, SEGMENT, ebml_size, segment_end

CODEC_ID, CODEC_PRIVATE, CONTENT_ENCODINGS = b"\x86", b"\x63\xa2", b"\x6d\x80"
VIDEO, PIXEL_WIDTH, PIXEL_HEIGHT = b"\xe0", b"\xb0", b"\xba"
_TRACKS, _TRACK_ENTRY, _TRACK_TYPE, _TRACK_NUMBER = b"\x16\x54\xae\x6b", b"\xae", b"\x83", b"\xd7"
_DOCUMENT_TYPES = (b"\x42\x82\x88matroska", b"\x42\x82\x84webm")
_VIDEO_TRACK = 1
_CLUSTER, _BLOCK_GROUP, _BLOCK, _SIMPLE_BLOCK = b"\x1f\x43\xb6\x75", b"\xa0", b"\xa1", b"\xa3"
_SILENT_TRACKS, _VOID, _CHECK_SUM = b"\x58\x54", b"\xec", b"\xbf"
_TIME, _PLACE, _SIZE_BEFORE = b"\xe7", b"\xa7", b"\xab"  # a cluster's own, and the size of the one before
_IN_CLUSTER = {
    *(_TIME, _PLACE, _SIZE_BEFORE),
    *(_BLOCK_GROUP, _SIMPLE_BLOCK, b"\xaf"),  # af: encrypted block
    *(_SILENT_TRACKS, _VOID, _CHECK_SUM),
}
_BESIDE_CLUSTERS = {
    *(_CLUSTER, _TRACKS, EBML),
    *(b"\x1c\x53\xbb\x6b", b"\x12\x54\xc3\x67", b"\x11\x4d\x9b\x74"),  # Cues, Tags, SeekHead
    *(b"\x15\x49\xa9\x66", b"\x10\x43\xa7\x70", b"\x19\x41\xa4\x69"),  # Info, Chapters, Attachments
}
_HEAD_BYTES = 12  # of an element: more than an identifier and a size
_HEADER_BYTES = 64  # more than an EBML header has up to its document type
_MAX_ELEMENTS = 100_000  # looked at in one file
_MAX_TRACKS_BYTES = 16 << 20
_MAX_BETWEEN_BYTES = 1 << 16  # looked at behind a packet
_MAX_EARLIER_TICKS = 1 << 15  # by which a block may come before its cluster


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


class _Cluster(NamedTuple):
    """A cluster as far as its elements can be followed."""

    end: int  # the byte at which it ends or tears
    ticks: int
    blocks: list[int]  # where they name their tracks
    is_torn: bool


def ticks_below_zero(path: str | os.PathLike, place: int) -> dict[int, int]:
    """Where blocks of video track number `place` begin -> when they are shown, of those shown before time zero.

    A cluster's time is not below zero, and a block's is relative to it (RFC 9559, 5.1.3.1 and 10.2). FFmpeg gives such
    blocks no time, or one that it makes up.
    """
    times: dict[int, int] = {}
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = data.find(_CLUSTER)
        track = number(next(iter(video_tracks(file)[place:]), {}).get(_TRACK_NUMBER))
        while position >= 0:
            cluster = _follow_cluster(data, position)
            if cluster.ticks >= _MAX_EARLIER_TICKS:
                break
            for block in cluster.blocks:
                own, time_at = ebml_size(data[block : block + _HEAD_BYTES], 0)  # the track, written like a size
                relative = int.from_bytes(data[block + time_at : block + time_at + 2], "big", signed=True)
                if own == track and cluster.ticks + relative < 0:
                    times[block] = cluster.ticks + relative
            position = data.find(_CLUSTER, cluster.end)
    return times


def torn_blocks(path: str | os.PathLike) -> tuple[list[int], bool]:
    """Where blocks name their track behind which no element begins: some of the file is missing there, or overwritten.

    A cluster (RFC 9559, 5.1.3) holds nothing but the elements of its kind, and ends where its last one ends; after a
    tear the next cluster is looked for. What follows on a last cluster whose end is left open is not asked for.

    And whether a cluster has a check sum (RFC 8794, 11.3.1) that is not its own.
    """
    torn: list[int] = []
    has_wrong_sum = False
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = data.find(_CLUSTER)
        while position >= 0:
            cluster = _follow_cluster(data, position)
            torn += cluster.blocks[-1:] if cluster.is_torn else []
            has_wrong_sum |= not _has_own_check_sum(data, position, cluster.end)
            position = data.find(_CLUSTER, cluster.end)
    return torn, has_wrong_sum


def _follow_cluster(data: mmap.mmap, begin: int) -> _Cluster:
    """The cluster at byte `begin`."""
    length, position = ebml_size(data[begin : begin + _HEAD_BYTES], len(_CLUSTER))
    position, ticks, blocks = begin + position, 0, []
    end = len(data) if length is None else position + length
    while position < end:
        head = data[position : position + _HEAD_BYTES]
        if length is None and head[:4] in _BESIDE_CLUSTERS:
            break
        width = 2 if head[:2] == _SILENT_TRACKS else 1
        inner, skipped = ebml_size(head, width)
        if head[:width] not in _IN_CLUSTER or inner is None or position + skipped + inner > end:
            is_end = position + _HEAD_BYTES > len(data) or (length is None and data.find(_CLUSTER, position) < 0)
            return _Cluster(position, ticks, blocks, is_torn=not is_end)
        if head[:1] == _TIME:
            ticks = number(head[skipped : skipped + inner])
        elif head[:1] == _SIMPLE_BLOCK:
            blocks.append(position + skipped)
        elif head[:1] == _BLOCK_GROUP:
            block = _block_of_group(data, position + skipped, position + skipped + inner)
            blocks += [] if block is None else [block]
        position += skipped + inner
    return _Cluster(position, ticks, blocks, is_torn=False)


def _has_own_check_sum(data: mmap.mmap, begin: int, end: int) -> bool:
    """Whether the check sum of a cluster is that of its content up to byte `end`, if it has one and ends there."""
    length, position = ebml_size(data[begin : begin + _HEAD_BYTES], len(_CLUSTER))
    position += begin
    is_whole = length is not None and position + length == end <= len(data)
    if not is_whole or data[position : position + 2] != _CHECK_SUM + b"\x84":
        return True
    return int.from_bytes(data[position + 2 : position + 6], "little") == zlib.crc32(
        memoryview(data)[position + 6 : end]
    )


def _block_of_group(data: mmap.mmap, begin: int, end: int) -> int | None:
    """Where the block of a group names its track."""
    while begin < end:
        head = data[begin : begin + _HEAD_BYTES]
        identifier, width = _identifier(head)
        inner, skipped = ebml_size(head, width)
        if identifier == _BLOCK or inner is None:
            return begin + skipped
        begin += skipped + inner
    return None


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
