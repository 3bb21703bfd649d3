"""What the boxes of a fragmented ISO file tell of pictures that are missing or not whole (ISO 14496-12, 8.8).

    moof 1 | mdat | moof 2 | mdat | ??? | mdat | moof 4 | mdat | moof 5 | md        number 3 is lost, 5 is cut off

Each fragment (moof) has a number, says at which time its first picture is decoded, and lists the first byte, size and
duration of every picture in the box (mdat) behind it. FFmpeg passes over boxes that it does not know, and what it then
lacks is nowhere announced: the next fragment begins later. Where it cannot follow the boxes it takes the place for the
end of the file, unless an index at the end shows it the next fragment.
"""

from __future__ import annotations

import mmap
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tdn_data.pipeline.video.structure import MAX_MOVIE_BYTES, Box, box_at, inner_boxes, segment_indexes

_KINDS = frozenset(
    (
        b"ftyp",
        b"styp",
        b"moov",
        b"moof",
        b"mdat",
        b"sidx",
        b"ssix",
        b"mfra",
        b"free",
        b"skip",
        b"wide",
        b"pnot",
        b"pdin",
    )
    + (b"emsg", b"prft", b"uuid", b"meta", b"udta", b"imda")
)
_HOLDING = (b"mdat", b"imda")
_LISTING = (b"moov", b"moof")
_LAST_BOX = b"mfro"  # inside that of the index which files of some writers end with (8.8.11)
_FRAGMENT = re.compile(rb".{4}moof.{4}mfhd", re.DOTALL)
_HEAD_BYTES = 8  # of a box
_OWN_BASE, _DEFAULT_DURATION, _DEFAULT_SIZE = 0x1, 0x8, 0x10  # flags of tfhd
_BASE_IS_FRAGMENT = 0x020000
_SKIPPED_FIELDS = 0x2  # of tfhd, before the defaults: the sample description's number
_HAS_OFFSET, _HAS_FLAGS, _HAS_DURATION, _HAS_SIZE = 0x1, 0x4, 0x100, 0x200  # of trun
_SAMPLE_FIELDS = (0x100, 0x200, 0x400, 0x800)
_MAX_STEP = 1 << 20  # between the numbers of two fragments


@dataclass(frozen=True)
class Fragment:
    """One moof, and in it what belongs to one track."""

    begin: int
    number: int | None  # from mfhd
    ticks: int | None  # when its first picture is decoded
    places: tuple[tuple[int, int], ...]  # first byte and size of each picture
    duration: int  # ticks of all pictures
    spoiled: bool  # its lists contradict themselves, or its bytes were moved


class FragmentLosses(NamedTuple):
    """Packets by their numbers in file order, as in `container_losses.ContainerLosses`."""

    lost: dict[int, int]
    spoiled: frozenset[int]
    moved: dict[int, int | None]
    apart: frozenset[int]
    is_torn: bool
    lacks_beginning: bool
    lacks_end: bool


@dataclass
class _Outline:
    """The outermost boxes, and the first bytes of what is none."""

    boxes: list[Box] = field(default_factory=list)
    tears: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)  # boxes of other kinds, right behind which there is a known one
    moved: set[int] = field(default_factory=set)  # first bytes of boxes whose content may have been pushed apart
    is_cut: bool = False


def fragment_losses(path: str | os.PathLike, track: int, places: Sequence[tuple[int, int]]) -> FragmentLosses:
    """What the fragments tell of the packets of a track at these `places` (first bytes and sizes), in file order."""
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        outline = _follow(data)
        fragments = list(_fragments(data, outline, track))
    begins = sorted(begin for begin, _ in places)
    last = begins[-1] if begins else -1
    before = {tear: bisect_left(begins, tear) - 1 for tear in outline.tears}
    in_order = _without_repeated(_mark_misplaced(fragments))
    spoiled_begins = {begin for fragment in in_order if fragment.spoiled for begin, _ in fragment.places}
    lost: dict[int, int] = {}
    for at, count in [*_absent(in_order, begins), *_skipped(in_order, outline, begins)]:
        lost[at] = lost.get(at, 0) + count
    lacks_beginning = lost.pop(-1, 0) > 0 or (bool(fragments) and -1 in before.values())
    spoiled = frozenset(number for number, (begin, _) in enumerate(places) if begin in spoiled_begins)
    return FragmentLosses(
        lost,
        spoiled,
        dict.fromkeys(spoiled),
        frozenset(number for number in before.values() if -1 < number < len(places) - 1),
        is_torn=bool(outline.tears),
        lacks_beginning=lacks_beginning,
        lacks_end=outline.is_cut or any(tear > last for tear in outline.tears),
    )


def index_seconds(path: str | os.PathLike, track: int, *, tick_seconds: float) -> float | None:
    """How long a track lasts by the segment indexes (14496-12, 8.16.3) of an ISO file; None where these do not tell.

    Of a part that begins before time zero FFmpeg lists when it ends, which may be below zero, in a number without a
    sign; so the first parts are asked for their own lengths, in ticks of `tick_seconds`, until one is listed as it is.
    """
    seconds, is_listed = 0.0, False
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for index in segment_indexes(file, track):
            if not index.scale or index.lists_indexes:
                return None
            parts = _ticks_of_parts(data, index.begin, index.sizes, track)
            for ticks in index.ticks:
                listed = ticks / index.scale
                own = 0 if is_listed else next(parts) * tick_seconds
                is_listed |= not own or abs(own - listed) < 1 / index.scale + tick_seconds
                seconds += own or listed
    return seconds or None


def _ticks_of_parts(data: mmap.mmap, begin: int, sizes: Sequence[int], track: int) -> Iterator[int]:
    """How long a track's pictures last in each of the parts of so many bytes that lie behind each other at `begin`."""
    end, position, ticks, defaults = begin, 0, 0, {}
    for num_bytes in sizes:
        end += num_bytes
        while position < end and (box := _box(data, position)) is not None:
            content = data[box.begin + 8 : min(box.end, box.begin + MAX_MOVIE_BYTES)] if box.kind in _LISTING else b""
            if box.kind == b"moov":
                defaults |= _track_defaults(content)
            if box.kind == b"moof" and position >= begin:
                fragment = (
                    _read_part(inner, 0, 0, defaults) for kind, inner in inner_boxes(content) if kind == b"traf"
                )
                ticks += sum(part.duration for part in fragment if part.track == track)
            position = box.end
        yield ticks
        ticks = 0


def _follow(data: mmap.mmap) -> _Outline:
    """The boxes from the first to the last; behind a tear they go on at the next fragment."""
    outline, position = _Outline(), 0
    while position < len(data):
        box = _box(data, position)
        if box is not None and box.end <= len(data):
            outline.boxes.append(box)
            position = box.end
            continue
        if box is None and _is_printable(data[position + 4 : position + 8]) and _is_renamed(data, position):
            outline.unknown.append(position)
            position += int.from_bytes(data[position : position + 4], "big")
            continue
        behind = outline.boxes[-1].begin if outline.boxes and box is None else position
        following = _FRAGMENT.search(data, behind + 8)
        is_cut_head = len(data) - position < _HEAD_BYTES
        if is_cut_head or (box is not None and following is None):  # the end of the file comes before its own
            outline.boxes += [] if box is None else [box]
            outline.is_cut = box is None or box.kind in (b"moof", *_HOLDING)  # the others have no picture
            if data[-12:-8] == _LAST_BOX:  # bytes are missing before it
                outline.moved.add(box.begin)
            break
        outline.tears.append(position)
        if outline.boxes and not _is_renamed(data, position):
            outline.moved.add(outline.boxes[-1].begin)
        position = following.start() if following else len(data)
    outline.tears += _without_fragment(outline)
    return outline


def _is_printable(kind: bytes) -> bool:
    return all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in kind)


def _without_fragment(outline: _Outline) -> list[int]:
    """The first bytes of boxes of pictures that no fragment comes before, though one does before others."""
    kinds = [box.kind for box in outline.boxes]
    first = kinds.index(b"moof") if b"moof" in kinds else len(kinds)
    lone = [at for at in range(first + 1, len(kinds)) if kinds[at] == b"mdat" and b"moof" not in kinds[at - 2 : at]]
    return [outline.boxes[at].begin for at in lone if b"mdat" not in kinds[at - 2 : at]]


def _box(data: mmap.mmap, begin: int) -> Box | None:
    """The box at byte `begin`; None for one of no known kind."""
    head = data[begin : begin + 16]
    length, kind = int.from_bytes(head[:4], "big"), head[4:8]
    length = int.from_bytes(head[8:16], "big") if length == 1 else length or len(data) - begin
    return Box(kind, begin, begin + length) if kind in _KINDS and length >= 8 else None


def _is_renamed(data: mmap.mmap, begin: int) -> bool:
    """Whether a known box follows where the unknown one at byte `begin` ends: then its kind alone was overwritten."""
    length = int.from_bytes(data[begin : begin + 4], "big")
    return length >= 8 and (begin + length == len(data) or _box(data, begin + length) is not None)


def _fragments(data: mmap.mmap, outline: _Outline, track: int) -> Iterator[Fragment]:
    defaults: dict[int, tuple[int, int]] = {}
    for number, box in enumerate(outline.boxes):
        if box.kind == b"moov":
            defaults |= _track_defaults(data[box.begin + 8 : min(box.end, box.begin + MAX_MOVIE_BYTES)])
        if box.kind == b"moof":
            following = [other for other in outline.boxes[number + 1 : number + 3] if other.kind == b"mdat"]
            yield _read_fragment(data, box, following[0] if following else None, outline, track, defaults)


def _track_defaults(movie: bytes) -> dict[int, tuple[int, int]]:
    """Track -> duration and size of its pictures where fragments do not say them (8.8.3)."""
    entries = [content for kind, content in inner_boxes(box_at(movie, b"mvex")) if kind == b"trex"]
    numbers = ([int.from_bytes(entry[at : at + 4], "big") for at in (4, 12, 16)] for entry in entries)
    return {track: (duration, size) for track, duration, size in numbers}


def _read_fragment(
    data: mmap.mmap, box: Box, mdat: Box | None, outline: _Outline, track: int, defaults: dict[int, tuple[int, int]]
) -> Fragment:
    content = data[box.begin + 8 : min(box.end, box.begin + MAX_MOVIE_BYTES)]
    header, parts, follows = box_at(content, b"mfhd"), [], box.begin
    for kind, inner in inner_boxes(content):
        if kind == b"traf":
            parts.append(_read_part(inner, box.begin, follows, defaults))
            follows = sum(parts[-1].places[-1]) if parts[-1].places else follows
    own = [part for part in parts if part.track == track]
    places = tuple(place for part in own for place in part.places)
    is_moved = box.begin in outline.moved or (mdat is not None and mdat.begin in outline.moved)
    is_inside = all(_is_held(outline, begin, begin + size) for begin, size in places)
    return Fragment(
        box.begin,
        number=int.from_bytes(header[4:8], "big") if len(header) == 8 else None,
        ticks=own[0].ticks if own else None,
        places=places,
        duration=sum(part.duration for part in own),
        spoiled=is_moved or not is_inside or not _is_tiled(content) or not all(part.is_whole for part in parts),
    )


def _is_held(outline: _Outline, begin: int, end: int) -> bool:
    """Whether bytes lie in one of the boxes that hold pictures."""
    boxes = outline.boxes
    box = boxes[max(bisect_right(boxes, begin, key=lambda other: other.begin) - 1, 0)]
    return box.kind in _HOLDING and box.begin + 8 <= begin and end <= box.end


class _Part(NamedTuple):
    """What a fragment has of one track (traf)."""

    track: int
    ticks: int | None
    places: tuple[tuple[int, int], ...]
    duration: int
    is_whole: bool


def _read_part(content: bytes, begin: int, follows: int, defaults: dict[int, tuple[int, int]]) -> _Part:
    """The part of a fragment that begins at byte `begin`; `follows` is the byte behind the part before it."""
    header, time = box_at(content, b"tfhd"), box_at(content, b"tfdt")
    flags, values = int.from_bytes(header[1:4], "big"), header[8:]
    base = begin if flags & _BASE_IS_FRAGMENT else follows
    if flags & _OWN_BASE:
        base, values = int.from_bytes(values[:8], "big"), values[8:]
    values = values[4:] if flags & _SKIPPED_FIELDS else values
    track = int.from_bytes(header[4:8], "big")
    given = list(defaults.get(track, (0, 0)))
    for place, flag in enumerate((_DEFAULT_DURATION, _DEFAULT_SIZE)):
        if flags & flag:
            given[place], values = int.from_bytes(values[:4], "big"), values[4:]
    places, duration, is_whole, position = [], 0, track in defaults and _is_tiled(content), base
    for run in (inner for kind, inner in inner_boxes(content) if kind == b"trun"):
        run_flags, count = int.from_bytes(run[1:4], "big"), int.from_bytes(run[4:8], "big")
        fields = [flag for flag in _SAMPLE_FIELDS if run_flags & flag]
        table = run[8 + 4 * bool(run_flags & _HAS_OFFSET) + 4 * bool(run_flags & _HAS_FLAGS) :]
        if len(table) != 4 * count * len(fields):
            is_whole = False
            continue
        position = base + int.from_bytes(run[8:12], "big", signed=True) if run_flags & _HAS_OFFSET else position
        columns = np.frombuffer(table, dtype=">u4").astype(np.int64).reshape(count, len(fields))
        sizes, durations = (
            columns[:, fields.index(flag)] if flag in fields else np.full(count, usual, dtype=np.int64)
            for flag, usual in ((_HAS_SIZE, given[1]), (_HAS_DURATION, given[0]))
        )
        ends = position + np.cumsum(sizes)
        places += zip((ends - sizes).tolist(), sizes.tolist(), strict=True)
        duration, position = duration + int(durations.sum()), int(ends[-1]) if count else position
    ticks = int.from_bytes(time[4 : 12 if time[:1] == b"\1" else 8], "big") if time else None
    return _Part(track, ticks, tuple(places), duration, is_whole)


def _is_tiled(content: bytes) -> bool:
    """Whether boxes fill a box from its first byte to its last."""
    position = 0
    while position + 8 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        if length < 8:
            return False
        position += length
    return position == len(content)


def _mark_misplaced(fragments: Sequence[Fragment]) -> list[Fragment]:
    """The fragments; one that begins neither where the one before ends nor ends where the next begins is spoiled."""
    marked = list(fragments)
    for at, (before, fragment, after) in enumerate(zip(fragments, fragments[1:], fragments[2:], strict=False), start=1):
        if None in (before.ticks, fragment.ticks, after.ticks):
            continue
        due = before.ticks + before.duration
        if fragment.duration and due == after.ticks - fragment.duration != fragment.ticks:
            marked[at] = replace(fragment, ticks=due, spoiled=True)
    return marked


def _without_repeated(fragments: Sequence[Fragment]) -> list[Fragment]:
    """Those that do not go back in time, as where files were joined; FFmpeg leaves the others out."""
    kept: list[Fragment] = []
    for fragment in fragments:
        if fragment.ticks is None or not kept or kept[-1].ticks is None or fragment.ticks > kept[-1].ticks:
            kept.append(fragment)
    return kept


def _absent(fragments: Sequence[Fragment], begins: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(packet, how many are missing behind it) of the pictures that fragments list and that did not come."""
    came = set(begins)
    for fragment in fragments:
        for begin, size in fragment.places:
            if size and begin not in came:
                yield bisect_left(begins, begin) - 1, 1


def _skipped(fragments: Sequence[Fragment], outline: _Outline, begins: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(packet, how many are missing behind it) where a fragment is lost: by its number, or a tear in its place."""
    own = [fragment for fragment in fragments if fragment.places]
    number_of = {fragment.begin: place for place, fragment in enumerate(fragments)}
    for before, after in pairwise(own):
        if None in (before.ticks, after.ticks, before.number, after.number) or before.duration <= 0:
            continue
        first, end = number_of[before.begin], number_of[after.begin]  # with those of other tracks between them
        is_skipped = end - first < after.number - before.number < _MAX_STEP
        is_skipped |= any(fragment.spoiled for fragment in fragments[first + 1 : end])
        if is_skipped or any(before.begin < at < after.begin for at in outline.tears + outline.unknown):
            usual = before.duration / len(before.places)
            count = round((after.ticks - before.ticks - before.duration) / usual)
            if 0 < count < _MAX_STEP:
                yield bisect_left(begins, after.begin) - 1, count
