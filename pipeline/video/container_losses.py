"""What a container itself knows of packets that are missing or not whole, whatever their codec says.

An AVI file has an index, ASF numbers its media objects, Ogg its pages and MP4 its fragments, a Matroska cluster holds
nothing but elements of its own, the packets of a transport stream have one size, and those of a program stream tell
theirs.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import NamedTuple

from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.video.asf import object_losses
from tdn_data.pipeline.video.avi import lost_by_index
from tdn_data.pipeline.video.container import format_names
from tdn_data.pipeline.video.fragments import fragment_losses
from tdn_data.pipeline.video.matroska import torn_blocks
from tdn_data.pipeline.video.mpegts import are_few, torn_end, transport_losses
from tdn_data.pipeline.video.nut import torn_stretches
from tdn_data.pipeline.video.ogg import page_losses
from tdn_data.pipeline.video.pieces import Pieces, follow
from tdn_data.pipeline.video.program_stream import program_losses
from tdn_data.pipeline.video.structure import is_fragmented

_END_UNSEEN = ("hevc",)  # whose decoder gives a picture without its end as if it were whole


class ContainerLosses(NamedTuple):
    """Packets by their numbers in file order."""

    lost: dict[int, int]  # packet -> how many are missing right behind it
    spoiled: frozenset[int] = frozenset()  # packets that are not whole
    moved: dict[int, int | None] = {}  # packet -> its right time in ticks, None: not known
    lacks_beginning: bool = False  # the first are missing
    cut_off: bool | None = None  # whether the last are missing; None: not known
    ends_unmarked: bool = False  # nothing shows that they are, nor that they are not
    apart: frozenset[int] = frozenset()  # whole packets right behind which something is missing or makes no sense
    is_torn: bool = False  # something does, there or at the end
    has_wrong_sum: bool = False  # bytes are others than were written, nobody knows which
    lacks_end: bool = False  # the last are missing, and nothing says how many


def find_losses(
    path: str | os.PathLike,
    container: InputContainer,
    stream: VideoStream,
    pts: Sequence[int | None],
    dts: Sequence[int | None],
    places: Sequence[tuple[int, int]],
) -> ContainerLosses:
    """What the container tells of the packets with these times, first bytes and sizes; of most, nothing."""
    names = format_names(container)
    if (pieces := follow(path, container)) is not None:
        return _of_pieces(pieces, places, lost_by_index(path, container, stream, dts) if "avi" in names else {})
    if "asf" in names:
        lost, spoiled, *ends = object_losses(path, stream.id, dts)
        return ContainerLosses(lost, spoiled, {}, *ends)
    if "ogg" in names:
        return ContainerLosses(*page_losses(path, stream.index, pts, [size for _, size in places]))
    if "mpegts" in names:
        return _of_transport(path, stream, places)
    if "mpeg" in names:
        return ContainerLosses({}, **program_losses(path, stream.id, places)._asdict())
    if "mov" in names and is_fragmented(path):
        return ContainerLosses(**fragment_losses(path, stream.id, places)._asdict())
    if "nut" in names:
        return _in_stretches(places, torn_stretches(path))
    if "matroska" in names:
        torn, has_wrong_sum = torn_blocks(path)
        return _torn_at(places, torn)._replace(has_wrong_sum=has_wrong_sum)
    return ContainerLosses({})


def _of_pieces(pieces: Pieces, places: Sequence[tuple[int, int]], lost: dict[int, int]) -> ContainerLosses:
    begins = [begin for begin, _ in places]
    spoiled = frozenset(number for number, begin in enumerate(begins) if begin not in pieces.sound)
    before = {bisect_left(begins, tear) - 1 for tear in pieces.tears}
    return ContainerLosses(
        lost,
        spoiled,
        dict.fromkeys(number for number in spoiled if begins[number] not in pieces.begun),
        apart=frozenset(before - spoiled - {-1, len(places) - 1}),
        is_torn=bool(pieces.tears),
    )


def _of_transport(path: str | os.PathLike, stream: VideoStream, places: Sequence[tuple[int, int]]) -> ContainerLosses:
    """A picture that lost its head comes as the rest of the one before it, or not at all."""
    is_end_seen = stream.codec_context.codec.canonical_name not in _END_UNSEEN
    is_cut, found = torn_end(path, stream.id), transport_losses(path, stream.id, is_end_seen=is_end_seen)
    begins = [begin for begin, _ in places]
    spoiled, is_spoiled = set(), False
    for number, begin in enumerate(begins):
        goes_on = number > 0 and begin <= begins[number - 1]
        is_spoiled = begin in found.torn or (goes_on and is_spoiled)
        spoiled |= {number} if is_spoiled else set()
    spoiled |= {len(places) - 1} if is_cut and places else set()
    unseen = _torn_at(places, found.torn)
    apart, is_torn = _numbers(places, found.apart) | unseen.apart, found.stray is not None or bool(found.apart)
    cut_off = is_cut is not None or None
    reached = list(accumulate(begins, max))  # a packet that goes on with one before it has no place of its own
    headless = Counter(bisect_left(reached, place) - 1 for place in found.headless)
    for number in _before_joined(reached, found.begun - found.headless):
        headless[number] = max(headless[number], 1)
    headless.pop(-1, None)
    misplaced = {number + 1 for number in headless if number + 1 < len(places)}  # FFmpeg gives them the lost one's time
    return ContainerLosses(
        dict(headless),
        frozenset(spoiled | misplaced),
        dict.fromkeys(misplaced),
        cut_off=cut_off,
        apart=apart,
        is_torn=is_torn or unseen.is_torn,
    )


def _before_joined(reached: Sequence[int], begun: Collection[int]) -> list[int]:
    """The packets right before those that hold two pictures in one, of the first of which only headers are left.

    `reached` are the packets' first bytes, rising, `begun` the pictures'. None in a stream of several parts a picture.
    """
    joined = set(begun) - {begin + shift for begin in reached for shift in (0, -4)}
    if not are_few(len(joined), len(begun)):
        return []
    return sorted({bisect_right(reached, place) - 2 for place in joined if place > reached[0]})


def _in_stretches(places: Sequence[tuple[int, int]], stretches: Sequence[tuple[int, int]]) -> ContainerLosses:
    """Of what lies in such stretches, and of those where nothing does."""
    begins = [begin for begin, _ in places]
    torn: set[int] = set()
    for first, end in stretches:
        inside = {begin for begin in begins if first <= begin < end}
        torn |= inside or {first}
    return _torn_at(places, torn)._replace(is_torn=bool(stretches))


def _torn_at(places: Sequence[tuple[int, int]], torn: Collection[int]) -> ContainerLosses:
    """Of what is torn, by first bytes: packets, and those before what did not come or is of another stream."""
    begins = [begin for begin, _ in places]
    unseen = {sum(1 for begin in begins if begin < place) - 1 for place in set(torn) - set(begins)}
    return ContainerLosses({}, _numbers(places, torn), apart=frozenset(unseen - {-1}), is_torn=bool(unseen))


def _numbers(places: Sequence[tuple[int, int]], begins: Collection[int]) -> frozenset[int]:
    """The packets that begin at one of these bytes."""
    return frozenset(number for number, (begin, _) in enumerate(places) if begin in begins)
