"""Which packet's picture comes onto the screen when, and which of them did not come out of a full decode?

    decoded   I0  P3  b1  b2  P6  b4  b5        stamped as shown:    0  3  1  2  6  4  5
    shown     I0  b1  b2  P3  b4  b5  P6        stamped as decoded:  0  1  2  3  4  5  6

Either way the pictures come at the stamps in rising order. Their own numbers or types tell which comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import av
import numpy as np

from tdn_data.pipeline.video.continuity import usual_step
from tdn_data.pipeline.video.numbering import PERIOD, period_of
from tdn_data.pipeline.video.packet_facts import PacketFacts
from tdn_data.pipeline.video.packet_rows import PacketRows
from tdn_data.pipeline.video.proof import Output
from tdn_data.pipeline.video.stamps import MAX_REORDER, TYPED_CODECS, can_reorder, typed_order


class Placed(NamedTuple):
    """The pictures that came, N of them in the order on screen, and what was due beside them."""

    ticks: np.ndarray  # int64 (N,), rising: when each comes onto the screen
    outputs: np.ndarray  # int64 (N,): place of each among all that came out
    lost: np.ndarray  # int64 (N,): how many are missing after each
    lost_ticks: np.ndarray  # float64 (N,): when the next packet's picture was due, NaN where that is not known
    num_before: int  # packets before the first
    lacks_start: bool  # one of those is a start that is decoded later, as where files of the same times were joined
    due: np.ndarray  # int64: when each packet's picture was due, rising


def screen_order(context: av.VideoCodecContext, rows: PacketRows) -> np.ndarray | None:
    """Packets with a picture, spoiled ones too, in the order in which it comes onto the screen; None: nothing tells.

    Stamps that do not rise from packet to packet are those of the screen: nobody would have reordered them else. Where
    they rise, the pictures' own numbers or types tell; a spoiled packet then stays where it is decoded.
    """
    packets = rows.due_packets
    if not len(packets):
        return None
    stamps = [rows.pts[packet] for packet in packets]
    if None in stamps or len(set(stamps)) < len(stamps):
        return None
    by_stamps = packets[np.argsort(stamps, kind="stable")]
    if not can_reorder(context) or not all(later > earlier for earlier, later in pairwise(stamps)):
        return by_stamps
    sound = [packet for packet in packets.tolist() if not rows.facts[packet].broken]
    edges = [0, *np.flatnonzero(rows.breaks).tolist(), len(rows.pts)]
    shown: list[int] = []
    for begin, end in pairwise(edges):  # where a picture is missing the decoder begins again
        part = [packet for packet in sound if begin <= packet < end]
        ordered = _known_order(context, part, [rows.facts[packet] for packet in part])
        if ordered is None:
            return None
        shown += ordered
    if not shown:
        return None
    return np.array(_with_spoiled(shown, packets.tolist(), set(sound)), dtype=np.int64)


def _known_order(
    context: av.VideoCodecContext, packets: Sequence[int], facts: Sequence[PacketFacts]
) -> list[int] | None:
    orders = [fact.order for fact in facts]
    if None not in orders and len(set(orders)) == len(orders):
        return [packets[at] for at in np.argsort(orders, kind="stable").tolist()]
    if context.codec.canonical_name in TYPED_CODECS:
        return [packets[at] for at in typed_order(facts).tolist()]
    return None


def _with_spoiled(shown: Sequence[int], packets: Sequence[int], known: set[int]) -> list[int]:
    """`shown` with each packet that is not `known` at the place at which it is decoded."""
    following = iter(shown)
    return [next(following) if packet in known else packet for packet in packets]


def place_pictures(
    outputs: Sequence[Output | None], proven: np.ndarray, order: np.ndarray, rows: PacketRows
) -> Placed | None:
    """The pictures `proven` by the packets in their `order` on screen; None where packets and pictures do not agree."""
    due = np.sort(np.array([rows.pts[packet] for packet in order.tolist()], dtype=np.int64))
    rank_of = {packet: rank for rank, packet in enumerate(order.tolist())}
    pictures = [output for output in outputs if output is not None]
    good = proven[[output is not None for output in outputs]]
    unsure = _unsure(order, rows)
    if any(picture.packet is None for picture in pictures):
        return None
    came = [
        (rank_of[picture.packet], place)
        for place, picture in enumerate(pictures)
        if good[place] and picture.packet in rank_of.keys() - unsure
    ]
    ranks, places = (np.array(column, dtype=np.int64) for column in zip(*came, strict=True)) if came else ([], [])
    if not len(ranks) or (np.diff(ranks) <= 0).any():
        return None
    following = np.append(ranks[1:], len(order))
    lost, absent = following - ranks - 1, _absent_after(ranks, rank_of, rows)
    is_next = (lost > 0) & (absent == 0) & ~_are_behind_breaks(ranks, following, order, rows)
    lost_ticks = np.where(is_next, due[np.minimum(ranks + 1, len(due) - 1)], np.nan)
    earlier, first = order[: ranks[0]].tolist(), int(order[ranks[0]])
    lacks_start = any(rows.facts[packet].start and packet > first for packet in earlier)
    return Placed(due[ranks], places, lost + absent, lost_ticks, int(ranks[0]), lacks_start, due)


def _unsure(order: np.ndarray, rows: PacketRows) -> set[int]:
    """Packets whose pictures may be due later than their stamps say: those held back where others are missing.

    Stamped in the order of decoding, a picture shown behind others that are gone would take the time of the first.
    """
    as_decoded = not np.array_equal(order, np.sort(order)) and all(b > a for a, b in pairwise(rows.due_pts))
    if not as_decoded:
        return set()
    ends = {*rows.holes, *(number - 1 for number, fact in enumerate(rows.facts) if fact.broken)}
    ends |= {len(rows.pts) - 1} if rows.cut_off or rows.lacks_end else set()
    return set().union(*(_unsure_before(end, order, rows) for end in ends))


def _unsure_before(end: int, order: np.ndarray, rows: PacketRows) -> set[int]:
    """Those among the packets up to number `end`, behind which others are missing."""
    last = [packet for packet in order.tolist() if packet <= end and not rows.facts[packet].broken][-MAX_REORDER:]
    orders = [rows.facts[packet].order for packet in last]
    if None in orders:
        return {packet for packet in last[-1:] if not rows.facts[packet].bidirectional}
    usual = usual_step(fact.order for fact in rows.facts if fact.shown and fact.order is not None)
    holes = [at for at, (before, after) in enumerate(pairwise(orders), start=1) if not _follows(before, after, usual)]
    return set(last[holes[0] :]) if usual and holes else set()


def _follows(before: int, after: int, usual: int) -> bool:
    """Whether nothing is missing between two pictures by their numbers; a period begins with place 0."""
    if period_of(before) == period_of(after):
        return after - before == usual
    return after <= period_of(after) * PERIOD


def _are_behind_breaks(ranks: np.ndarray, following: np.ndarray, order: np.ndarray, rows: PacketRows) -> np.ndarray:
    """After which of the pictures some have no packet, how many no one knows, bool (N,)."""
    breaks = rows.breaks[order]
    return np.array([breaks[rank + 1 : end].any() for rank, end in zip(ranks, following, strict=True)], dtype=bool)


def _absent_after(ranks: np.ndarray, rank_of: dict[int, int], rows: PacketRows) -> np.ndarray:
    """How many pictures have no packet after each of those at `ranks`, by what the packets tell, int64 (N,)."""
    absent = np.zeros(len(ranks), dtype=np.int64)
    for packet, count in rows.lost.items():
        place = np.searchsorted(ranks, rank_of.get(packet, -1), side="right") - 1
        if place >= 0:
            absent[place] += count
    return absent
