"""What a file's own structure says of its length, read from a few bytes: ISO boxes, Matroska, AVI and ASF."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

_HEAD_BYTES = 1 << 16
_MAX_PARTS = 1_000_000  # of one file, looked at from the outside
_MAX_INDEX_BYTES = 16 << 20
MAX_MOVIE_BYTES = 64 << 20  # of the box that describes an ISO file's tracks
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ISO_FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"mdat", b"wide", b"free", b"skip", b"pnot")


class Box(NamedTuple):
    """An outermost box of an ISO file: its kind and where it begins and is to end."""

    kind: bytes
    begin: int
    end: int


def is_shorter_than_its_structure(path: str | os.PathLike) -> bool:
    """Whether a file ends before its structure does; False for formats that do not tell."""
    num_bytes = os.stat(path).st_size
    with Path(path).open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return _riff_end(file, num_bytes) > num_bytes + 1  # the last chunk may lack its padding
        if head[:4] == EBML:
            return segment_end(head) > num_bytes
        if head[:3] == b"FLV":
            return not _ends_with_tag(file, num_bytes)
        if _ASF_FILE_PROPERTIES in head:
            size_at = head.index(_ASF_FILE_PROPERTIES) + 40
            return int.from_bytes(head[size_at : size_at + 8], "little") > num_bytes
        boxes = list(_boxes(file, num_bytes))
        ends = [box.end for box in boxes] + [_index_end(file, box) for box in boxes if box.kind == b"sidx"]
        return max(ends, default=0) > num_bytes


def is_fragmented(path: str | os.PathLike) -> bool:
    """Whether a file is an ISO file in fragments, which no header lists one by one."""
    with Path(path).open("rb") as file:
        return any(box.kind in (b"moof", b"sidx") for box in _boxes(file, os.stat(path).st_size))


class SegmentIndex(NamedTuple):
    """What a `sidx` box (14496-12, 8.16.3) says of its track: the parts that it lists, one behind the other."""

    begin: int  # the first byte of the first part
    scale: int  # ticks in a second
    sizes: tuple[int, ...]  # bytes of each part
    ticks: tuple[int, ...]  # how long each lasts
    lists_indexes: bool  # some are further indexes


def segment_indexes(file: BinaryIO, track: int) -> Iterator[SegmentIndex]:
    """The segment indexes of a track of an ISO file."""
    for box in list(_boxes(file, os.fstat(file.fileno()).st_size)):
        file.seek(box.begin)
        index = file.read(min(box.end - box.begin, _MAX_INDEX_BYTES)) if box.kind == b"sidx" else b""
        if len(index) < 20 or int.from_bytes(index[12:16], "big") != track:
            continue
        first, references = _references(index)
        entries = [references[at : at + 12] for at in range(0, len(references), 12)]
        yield SegmentIndex(
            box.end + first,
            int.from_bytes(index[16:20], "big"),
            tuple(int.from_bytes(entry[:4], "big") & 0x7FFFFFFF for entry in entries),
            tuple(int.from_bytes(entry[4:8], "big") for entry in entries),
            lists_indexes=any(entry[0] & 0x80 for entry in entries),
        )


def is_followed_by_another_movie(path: str | os.PathLike) -> bool:
    """Whether a second file with an index of its own follows in an ISO file; none reads it.

    An index that comes again before fragments is that of the same movie, as segments are written.
    """
    num_bytes = os.stat(path).st_size
    with Path(path).open("rb") as file:
        kinds = [box.kind for box in _boxes(file, num_bytes)]
    begins = [number for number, kind in enumerate(kinds) if kind == b"ftyp" and number > 0]
    if not begins:  # old files have none
        return kinds.count(b"moov") > 1 and kinds.count(b"mdat") > 1 and b"moof" not in kinds
    parts = (kinds[begin:end] for begin, end in pairwise([*begins, len(kinds)]))
    return any(b"moov" in part and b"mdat" in part and b"moof" not in part for part in parts)


def lacks_time_scale(path: str | os.PathLike, stream_tick_seconds: float) -> bool:
    """Whether some track of an ISO file says that its seconds have no parts, mdhd's time scale 0 (14496-12, 8.4.2).

    FFmpeg then counts in whole seconds, so other values of `stream_tick_seconds` settle it without a look.
    """
    if stream_tick_seconds < 1:
        return False
    with Path(path).open("rb") as file:
        movie = next((box for box in _boxes(file, os.stat(path).st_size) if box.kind == b"moov"), None)
        if movie is None:
            return False
        file.seek(movie.begin)
        content = file.read(min(movie.end - movie.begin, _MAX_INDEX_BYTES))
    for header in content.split(b"mdhd")[1:]:
        scale_at = 20 if header[:1] == b"\1" else 12
        if header[scale_at : scale_at + 4] == b"\0\0\0\0":
            return True
    return False


def is_cut_iso(path: str | os.PathLike) -> bool:
    """Whether the outermost boxes of an ISO file (MP4, MOV, 3GP) reach past the end of the file."""
    num_bytes = os.stat(path).st_size
    with Path(path).open("rb") as file:
        return any(box.end > num_bytes for box in _boxes(file, num_bytes))


def inner_boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of the boxes inside a box, as far as they can be followed."""
    position = 0
    while position + 8 <= len(content):
        length, begin = int.from_bytes(content[position : position + 4], "big"), position + 8
        if length == 1:
            length, begin = int.from_bytes(content[begin : begin + 8], "big"), begin + 8
        length = length or len(content) - position  # 0: up to the end
        if position + length < begin:
            return
        yield content[position + 4 : position + 8], content[begin : position + length]
        position += length


def box_at(content: bytes, *kinds: bytes) -> bytes:
    """The content of the first box of kind `kinds[0]`, in it of the first of `kinds[1]`, ...; empty where one lacks."""
    for kind in kinds:
        content = next((inner for name, inner in inner_boxes(content) if name == kind), b"")
    return content


def track_entry(movie: bytes, track: int) -> bytes:
    """The first sample entry (ISO 14496-12, 8.5.2) of a track, with its kind, by the content of a movie box.

    Empty where the movie has no track of that number.
    """
    for kind, content in inner_boxes(movie):
        header = box_at(content, b"tkhd") if kind == b"trak" else b""
        number_at = 20 if header[:1] == b"\1" else 12
        if header and int.from_bytes(header[number_at : number_at + 4], "big") == track:
            entries = box_at(content, b"mdia", b"minf", b"stbl", b"stsd")[8:]  # behind version, flags and their number
            return entries[4 : max(int.from_bytes(entries[:4], "big"), 8)]
    return b""


def decode_time(fragment: bytes, track: int) -> int | None:
    """When a track's first picture in a fragment is decoded (14496-12, 8.8.12), in ticks; None where nothing says."""
    for kind, content in inner_boxes(fragment):
        if kind == b"traf" and int.from_bytes(box_at(content, b"tfhd")[4:8], "big") == track:
            time = box_at(content, b"tfdt")
            return int.from_bytes(time[4 : 12 if time[:1] == b"\1" else 8], "big") if time else None
    return None


def movies_and_fragments(path: str | os.PathLike) -> Iterator[tuple[bytes, int, bytes]]:
    """(kind, first byte, content) of the `moov` and `moof` boxes of an ISO file with fragments behind several movies.

    Of other files nothing, and of no box more than MAX_MOVIE_BYTES.
    """
    with Path(path).open("rb") as file:
        boxes = [box for box in _boxes(file, os.stat(path).st_size) if box.kind in (b"moov", b"moof")]
        if [box.kind for box in boxes].count(b"moov") < 2 or boxes[-1].kind == b"moov":
            return
        for box in boxes:
            file.seek(box.begin)
            yield box.kind, box.begin, file.read(min(box.end - box.begin, MAX_MOVIE_BYTES))[8:]


def read_boxes(file: BinaryIO, kind: bytes, *, max_bytes: int) -> Iterator[bytes]:
    """The contents of the outermost boxes of one kind, `max_bytes` of each at most."""
    for box in list(_boxes(file, os.fstat(file.fileno()).st_size)):
        if box.kind == kind:
            file.seek(box.begin)
            yield file.read(min(box.end - box.begin, max_bytes))


def _boxes(file: BinaryIO, num_bytes: int) -> Iterator[Box]:
    """The outermost boxes as far as they can be followed; none for a file that is no ISO file."""
    position = 0
    for number in range(_MAX_PARTS):
        file.seek(position)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if len(header) < 8 or (number == 0 and kind not in _ISO_FIRST_BOXES):
            return
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        length = length or num_bytes - position  # 0: up to the end of the file
        if length < 8:
            return
        yield Box(kind, position, position + length)
        position += length


def _index_end(file: BinaryIO, box: Box) -> int:
    """Where the last fragment ends that a segment index lists (ISO 14496-12, 8.16.3)."""
    file.seek(box.begin)
    first, references = _references(file.read(min(box.end - box.begin, _MAX_INDEX_BYTES)))
    sizes = (int.from_bytes(references[i : i + 4], "big") & 0x7FFFFFFF for i in range(0, len(references), 12))
    return box.end + first + sum(sizes)


def _references(index: bytes) -> tuple[int, bytes]:
    """A segment index's offset of the first fragment that it lists, and what it says of each, in 12 bytes."""
    width, position = (8, 28) if index[8:9] == b"\1" else (4, 24)
    first, position = int.from_bytes(index[position : position + width], "big"), position + width
    count = int.from_bytes(index[position + 2 : position + 4], "big")
    return first, index[position + 4 : position + 4 + 12 * count]


def _ends_with_tag(file: BinaryIO, num_bytes: int) -> bool:
    """Whether an FLV file ends with a whole tag, whose size is repeated behind it (FLV specification 10.1, E.3)."""
    file.seek(max(num_bytes - 4, 0))
    length = int.from_bytes(file.read(4), "big")
    if not 11 <= length <= num_bytes - 4:
        return False
    file.seek(num_bytes - 4 - length)
    header = file.read(4)
    return header[0] & 31 in (8, 9, 18) and int.from_bytes(header[1:], "big") + 11 == length


def segment_end(head: bytes) -> int:
    """Where a Matroska file's segment is to end by its header; 0 where that is left open."""
    length, position = ebml_size(head, len(EBML))
    position += length or 0
    if head[position : position + 4] != SEGMENT:
        return 0
    length, position = ebml_size(head, position + 4)
    return 0 if length is None else position + length


def ebml_size(data: bytes, position: int) -> tuple[int | None, int]:
    """Return an EBML element's size (RFC 8794, section 6.2), None for unknown, and where its content begins."""
    first = data[position] if position < len(data) else 0
    length = 9 - first.bit_length()
    unknown = (1 << 7 * length) - 1
    value = int.from_bytes(data[position : position + length], "big") & unknown
    return (None if length > 8 or value == unknown else value), position + length


def _riff_end(file: BinaryIO, num_bytes: int) -> int:
    """Where the last RIFF chunk of an AVI file is to end; large files have several after one another."""
    position = 0
    for _ in range(_MAX_PARTS):
        file.seek(position)
        header = file.read(8)
        length = int.from_bytes(header[4:8], "little")
        if header[:4] != b"RIFF" or not length or position >= num_bytes:
            break
        position += 8 + length
    return position
