"""The media objects of an ASF file (WMV), which are numbered: they tell which packets are missing or incomplete.

ASF specification (Microsoft, 2004), 3.1, 3.2 and 5.2: data packets of one size hold payloads, each a piece of a media
object with the object's number, its size and the piece's place in it.

    data packets   [1 1 2][2 2 3][. . .][5 6 6]      the third is overwritten
    objects         1 2 3* 5* 6                      3 and 5 are incomplete, 4 is missing

FFmpeg drops an incomplete object, or fills it up with a piece of another one of the same size, and says nothing.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_INDEXES = tuple(
    map(bytes.fromhex, ("90080033b1e5cf1189f400a0c90349cb", "d329e2d6da35d111903400a0c90349be"))
)  # what follows data packets
_DATA_HEAD_BYTES = 50
_CORRECTION = b"\x82\0\0"  # how a data packet begins: two bytes of error correction data, both zero
_MAX_HEADER_BYTES = 1 << 20
_WIDTHS = (0, 1, 2, 4)  # bytes of a field, by two bits of flags
_HOLE_BYTES = 8  # zeros at the end of a data packet before one that is gone
_STREAMS = 128
_NUMBERS = 256  # object numbers begin again: nearly all files keep them in one byte
_FIRST_NUMBER = 1  # at most: where numbers begin
_MAX_JUMPS = 50  # one in so many objects, or two of them, outside damaged places; more are numbers of another meaning


@dataclass
class MediaObject:
    """A picture's bytes as the payloads announce them."""

    number: int
    ticks: int  # milliseconds, with the preroll
    num_bytes: int
    present_bytes: int = 0
    after_tear: bool = False  # data packets are unreadable before it
    before_tear: bool = False  # a piece of it lies where something is overwritten or missing

    @property
    def whole(self) -> bool:
        """Whether all its pieces are there."""
        return self.present_bytes == self.num_bytes and not self.before_tear


class _Payload(NamedTuple):
    stream: int
    number: int
    offset: int
    num_bytes: int
    object_bytes: int
    ticks: int


class ObjectLosses(NamedTuple):
    """What objects tell of the packets that FFmpeg gives, by their numbers in file order."""

    lost: dict[int, int]  # packet -> how many are missing right behind it
    spoiled: frozenset[int] = frozenset()  # packets that are not whole
    lacks_beginning: bool = False
    cut_off: bool | None = None  # whether the last are missing; None: not known


class _Content(NamedTuple):
    objects: dict[int, list[MediaObject]]  # of each stream, in file order
    preroll: int  # milliseconds
    num_absent: int  # how many fewer data packets there are than announced
    is_torn: bool  # something between data packets, or in one, makes no sense
    ended_before_tear: dict[int, bool]  # for each stream of which nothing follows a tear: whether others went on longer


def object_losses(path: str | os.PathLike, stream: int, dts: Sequence[int | None]) -> ObjectLosses:
    """What the objects of a stream tell of FFmpeg's packets with these decoding times in milliseconds."""
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        content = read_content(data)
    objects = content.objects.get(stream, [])
    places = _places(objects, [None if time is None else time + content.preroll for time in dts])
    known = [place for place in places if place is not None]
    is_readable = content.is_torn or len(places) - len(known) <= _few(objects)
    if not known or not is_readable or not _are_numbered(objects):
        spoiled = frozenset(range(len(places)) if content.is_torn else ())
        return ObjectLosses({}, spoiled, cut_off=_is_cut_off(content, stream) or None)
    lost = _lost_between(objects, places)
    begins_late = objects[0].after_tear or (_is_short(content) and objects[0].number > _FIRST_NUMBER)
    return ObjectLosses(
        lost,
        frozenset(at for at, place in enumerate(places) if place is None or not objects[place].whole),
        lacks_beginning=known[0] > 0 or begins_late,
        cut_off=known[-1] + 1 < len(objects) or (_is_cut_off(content, stream) and not begins_late),
    )


def _few(objects: list[MediaObject]) -> int:
    return max(2, len(objects) // _MAX_JUMPS)


def _lost_between(objects: list[MediaObject], places: Sequence[int | None]) -> dict[int, int]:
    """Packet -> how many objects are missing behind it, no more than their times have room for."""
    usual = _usual_step(objects)
    lost: dict[int, int] = {}
    known = [packet for packet, place in enumerate(places) if place is not None]
    for packet, following in pairwise(known):
        before, after = objects[places[packet]], objects[places[following]]
        missing = (after.number - before.number - 1) % _NUMBERS - (following - packet - 1)
        room = round((after.ticks - before.ticks) / usual) - 1 if usual else missing
        if missing > 0:
            lost[packet] = max(min(missing, room), 1)
    return lost


def _usual_step(objects: list[MediaObject]) -> float:
    """Milliseconds between two objects with numbers that follow one another."""
    steps = [b.ticks - a.ticks for a, b in pairwise(objects) if (b.number - a.number) % _NUMBERS == 1]
    return sum(steps) / len(steps) if steps else 0.0


def _is_cut_off(content: _Content, stream: int) -> bool:
    """Whether data packets are missing at the end, and some of the stream in them: others did not go on longer."""
    if stream in content.ended_before_tear:
        return not content.ended_before_tear[stream]
    return _is_short(content) and not _others_go_on(content.objects, stream)


def _others_go_on(objects: dict[int, list[MediaObject]], stream: int) -> bool:
    """Whether another stream has objects plainly later than the last of this one."""
    own = objects.get(stream, [])
    ends = (others[-1].ticks for others in objects.values())
    return bool(own) and max(ends) > own[-1].ticks + 2 * _usual_step(own)


def _is_short(content: _Content) -> bool:
    """Whether there are fewer data packets than announced and no stream has a hole: the first or last are missing."""
    return content.num_absent > 0 and all(map(_are_consecutive, content.objects.values()))


def play_seconds(path: str | os.PathLike) -> float:
    """How long a file plays by its header, 0 where that says nothing."""
    with Path(path).open("rb") as file:
        head = file.read(_MAX_HEADER_BYTES)
    at = head.find(_FILE_PROPERTIES)
    duration, preroll = (int.from_bytes(head[at + place : at + place + 8], "little") for place in (64, 80))
    return max(duration / 1e7 - preroll / 1e3, 0.0) if at >= 0 else 0.0


def read_content(data: mmap.mmap | bytes) -> _Content:
    """The media objects of all streams, as far as data packets can be read."""
    begin, num_bytes, count, preroll = _layout(data)
    objects: dict[int, list[MediaObject]] = {}
    num_read, is_torn, torn, ended = 0, False, set(), {}
    for payloads, is_sound in _data_packets(data, begin, num_bytes):
        num_read += payloads is not None
        is_torn |= payloads is None or not is_sound
        for payload in payloads or ():
            of_stream = objects.setdefault(payload.stream, [])
            _add(of_stream, payload, after_tear=payload.stream in torn)
            of_stream[-1].before_tear |= not is_sound
            torn.discard(payload.stream)
            ended.pop(payload.stream, None)
        if payloads is None:
            torn = set(range(_STREAMS))
            ended |= {stream: _others_go_on(objects, stream) for stream in objects if stream not in ended}
    return _Content(objects, preroll, count - num_read, is_torn, ended)


def _layout(data: mmap.mmap | bytes) -> tuple[int, int, int, int]:
    """Where data packets begin, bytes of each, their number (0 for unknown) and the preroll."""
    head = bytes(data[:_MAX_HEADER_BYTES])
    at, begin = head.find(_FILE_PROPERTIES), head.find(_DATA)
    if at < 0 or begin < 0:
        return 0, 0, 0, 0
    count, preroll, flags, num_bytes = (
        int.from_bytes(head[at + place : at + place + width], "little")
        for place, width in ((56, 8), (80, 8), (88, 4), (92, 4))
    )
    is_broadcast = flags & 1  # then the number means nothing
    return begin + _DATA_HEAD_BYTES, num_bytes, 0 if is_broadcast else count, preroll


def _data_packets(
    data: mmap.mmap | bytes, position: int, num_bytes: int
) -> Iterator[tuple[list[_Payload] | None, bool]]:
    """The payloads of each data packet and whether it ends sound; None for a place where there is none to be read.

    One before such a place may be overwritten or missing in part: that shows in zeros at its end, or in a next data
    packet that is not where it must be.
    """
    end = _end_of_data(data, position)
    corrected = data.find(_CORRECTION, position, end) >= 0
    following = _next_packet(data, position, end) if corrected else position
    if following != position:
        yield None, True
    while num_bytes and following + num_bytes <= end:
        position, due = following, following + num_bytes
        following = _next_packet(data, due, end) if corrected else due
        misplaced = (following - due) % num_bytes and following < len(data)
        overwritten = following > due and data[due - _HOLE_BYTES : due] == bytes(_HOLE_BYTES)
        payloads, makes_sense = _payloads(bytes(data[position:due]), num_bytes)
        yield payloads, makes_sense and not (misplaced or overwritten)
        if following != due or not makes_sense:
            yield None, True
    if num_bytes and following < end:
        payloads, makes_sense = _payloads(bytes(data[following:end]), num_bytes)
        yield payloads, makes_sense or end == len(data)
        if not makes_sense:
            yield None, True


def _next_packet(data: mmap.mmap | bytes, position: int, end: int) -> int:
    """Where the next data packet begins, from `position` on; `end` for none."""
    found = data.find(_CORRECTION, position, end)
    return end if found < 0 else found


def _end_of_data(data: mmap.mmap | bytes, begin: int) -> int:
    """Where data packets end by their object's size, or where an index begins before that.

    A writer that cannot go back, as into a pipe, leaves a size of nothing but the head, or none.
    """
    size = int.from_bytes(data[begin - _DATA_HEAD_BYTES + 16 : begin - _DATA_HEAD_BYTES + 24], "little")
    ends = [data.find(kind, begin) for kind in _INDEXES]
    ends = [end for end in ends if end >= 0] or [len(data)]
    announced = begin - _DATA_HEAD_BYTES + size if size > _DATA_HEAD_BYTES else len(data)
    return min(*ends, announced, len(data))


def _payloads(packet: bytes, num_bytes: int) -> tuple[list[_Payload], bool]:
    """The payloads of a data packet (5.2.2 and 5.2.3) of `num_bytes`, some of which may be cut off.

    And whether they make sense and are whole to the last.
    """
    position = 1 + (packet[0] & 15) if packet[0] & 0x80 else 0
    kinds, fields = (packet[position : position + 2] + bytes(2))[:2]
    reader = _Fields(packet, position + 2)
    length = reader.read(kinds >> 5) or num_bytes
    reader.read(kinds >> 1)
    padding = reader.read(kinds >> 3)
    reader.position += 6  # send time and duration
    end = min(length, num_bytes) - padding
    count, width = 1, 0
    if kinds & 1:
        first = reader.byte()
        count, width = first & 63, first >> 6
    found: list[_Payload] = []
    for _ in range(count):
        stream, number = reader.byte() & 127, reader.read(fields >> 4)
        offset, said = reader.read(fields >> 2), reader.bytes(reader.read(fields))
        num_payload = reader.read(width) if kinds & 1 else end - reader.position
        if not stream or num_payload < 0 or reader.position + num_payload > end:
            return found, False
        is_whole = reader.position + num_payload <= len(packet)
        content = reader.bytes(num_payload)
        if len(said) == 1:  # small objects one behind another; `offset` is the time of the first
            found += _packed(content, stream, number, offset, said[0])
        elif len(said) >= 8:
            size, ticks = int.from_bytes(said[:4], "little"), int.from_bytes(said[4:8], "little")
            found.append(_Payload(stream, number, offset, len(content), size, ticks))
        if not is_whole:
            return found, False
    return found, True


def _packed(content: bytes, stream: int, number: int, ticks: int, step: int) -> Iterator[_Payload]:
    position, at = 0, 0
    while position < len(content):
        length = content[position]
        present = min(length, len(content) - position - 1)
        yield _Payload(stream, (number + at) % _NUMBERS, 0, present, length, ticks + at * step)
        position, at = position + 1 + length, at + 1


@dataclass
class _Fields:
    packet: bytes
    position: int

    def byte(self) -> int:
        return int.from_bytes(self.bytes(1), "little")

    def read(self, kind: int) -> int:
        """A field as long as the two low bits of `kind` say."""
        return int.from_bytes(self.bytes(_WIDTHS[kind & 3]), "little")

    def bytes(self, count: int) -> bytes:
        self.position += count
        return self.packet[self.position - count : self.position]


def _add(objects: list[MediaObject], payload: _Payload, *, after_tear: bool) -> None:
    last = objects[-1] if objects else None
    if last is None or (last.number, last.ticks) != (payload.number, payload.ticks) or payload.offset == 0:
        last = MediaObject(payload.number, payload.ticks, payload.object_bytes, after_tear=after_tear)
        objects.append(last)
    if payload.offset == last.present_bytes:
        last.present_bytes += payload.num_bytes


def _places(objects: list[MediaObject], ticks: Sequence[int | None]) -> list[int | None]:
    """Each packet's object, the next one of its time; None where there is none."""
    of_time: dict[int, list[int]] = {}
    for place, one in enumerate(objects):
        of_time.setdefault(one.ticks, []).append(place)
    places: list[int | None] = []
    last = -1
    for time in ticks:
        place = next((place for place in of_time.get(time, ()) if place > last), None)
        places.append(place)
        last = last if place is None else place
    return places


def _are_numbered(objects: list[MediaObject]) -> bool:
    """Whether the numbers grow by one but for a few places and those where data packets are missing."""
    jumps = sum((b.number - a.number) % _NUMBERS != 1 and not b.after_tear for a, b in pairwise(objects))
    return jumps <= _few(objects)


def _are_consecutive(objects: list[MediaObject]) -> bool:
    return all((after.number - before.number) % _NUMBERS == 1 for before, after in pairwise(objects))
