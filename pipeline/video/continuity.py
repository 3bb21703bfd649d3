"""Is a picture missing between those that are there? Their own numbers tell, else a steady rate's holes.

    shown     0  1  2  3  4  .  6  7  8       5 is missing
    decoded   0  2  1  4  3  .  8  6  7       if it was one that others are predicted from, it came before 3 or after

What may have been predicted from the missing picture is taken for damaged, up to the next start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from tdn_data.pipeline.video.numbering import PERIOD, period_of
from tdn_data.pipeline.video.packet_facts import PacketFacts

_SMALLEST_PROOF = 8  # pictures, to know a steady step by
_MAX_HOLES = 50  # one in so many steps, or two of them; more are no accident


def lost_by_numbers(facts: Sequence[PacketFacts]) -> dict[int, int]:
    """Packet -> how many pictures are missing on screen after its own, by the places that pictures carry.

    Nothing is concluded from a period whose places do not grow by one step nearly everywhere, nor before its first. A
    picture that itself says that it lacks another proves the loss, and then most steps are enough.
    """
    periods: dict[int, dict[int, int]] = {}
    for number, fact in enumerate(facts):
        if fact.order is not None and fact.shown:
            periods.setdefault(period_of(fact.order), {}).setdefault(fact.order, number)
    is_proven = any(fact.after_loss and fact.names_references for fact in facts)
    usual = usual_step((order for period in periods.values() for order in period), is_loss_proven=is_proven)
    lost: dict[int, int] = {}
    for packet_of in periods.values() if usual else ():
        first = facts[min(packet_of.values())].order
        orders = np.array([order for order in sorted(packet_of) if order >= first], dtype=np.int64)
        lost |= {packet_of[int(orders[place])]: count for place, count in _holes(orders, usual)}
    return lost


def usual_step(orders: Iterable[int], *, is_loss_proven: bool = False) -> int:
    """The step between nearly all neighbours, or most of them where a loss is proven; 0 where there is none."""
    steps = np.diff(np.unique(np.fromiter(orders, dtype=np.int64)))
    steps = steps[(steps > 0) & (steps < PERIOD // 2)]
    if len(steps) + 1 < _SMALLEST_PROOF:
        return 0
    values, counts = np.unique(steps, return_counts=True)
    usual = int(values[counts.argmax()])
    num_others = int((steps != usual).sum())
    num_allowed = len(steps) // 2 if is_loss_proven else max(2, len(steps) // _MAX_HOLES)
    return usual if (steps % usual == 0).all() and num_others <= num_allowed else 0


def time_by_number(number: int, pts: Sequence[int | None], facts: Sequence[PacketFacts]) -> int | None:
    """When packet `number`'s picture was due by its place among others of its period; None where that tells nothing."""
    order = facts[number].order
    known = {
        fact.order: time
        for fact, time in zip(facts, pts, strict=True)
        if None not in (fact.order, order, time) and period_of(fact.order) == period_of(order)
    }
    if len(known) < 2 or order in known:
        return None
    orders = sorted(known)
    below, above = ([one for one in orders if one < order], [one for one in orders if one > order])
    first, last = (below[-1], above[0]) if below and above else (orders[0], orders[-1])
    due = known[first] + round((order - first) * (known[last] - known[first]) / (last - first))
    return None if due in pts else due


def _holes(orders: np.ndarray, step: int) -> list[tuple[int, int]]:
    """(place before a hole, how many are missing there)."""
    missing = np.diff(orders) // step - 1
    return [(int(place), int(missing[place])) for place in np.flatnonzero(missing > 0)]


def breaks(facts: Sequence[PacketFacts], keys: Sequence[int | None], lost: Iterable[int]) -> np.ndarray:
    """Before which packets a picture is missing that they may be predicted from, bool (P,).

    `lost` holds packets after whose pictures others are missing on screen, whose order `keys` tell: those of which the
    packets themselves do not tell whether anything is predicted from what is missing.
    """
    found = np.array([fact.after_loss for fact in facts], dtype=bool)
    names = all(fact.names_references for fact in facts if fact.shown)
    if not names and found.sum() > max(2, len(found) // _MAX_HOLES):
        found[:] = False  # so many are a stream whose places mean something else
    edges = [0, *(number for number, fact in enumerate(facts) if fact.start and number), len(facts)]
    for begin, end in pairwise(edges):
        for number in (number for number in lost if begin <= number < end):
            place = _first_after(facts, keys, number, begin, end)
            if place < end:
                found[place] = True
    return found


def _first_after(facts: Sequence[PacketFacts], keys: Sequence[int | None], number: int, begin: int, end: int) -> int:
    """The first packet of a group, begin .. end - 1, that may need what is missing on screen after packet `number`."""
    group = [(keys[at], facts[at]) for at in range(begin, end)]
    known = [key for key, _ in group if key is not None]
    if known == sorted(known) or keys[number] is None:
        return number + 1
    if not any(fact.bidirectional for _, fact in group):
        return begin + 1  # nothing says which of them are predicted from both sides
    anchors = [at for at, (key, fact) in enumerate(group) if not fact.bidirectional and key is not None]
    before = max((at for at in anchors if group[at][0] <= keys[number]), default=None)
    if before is None:  # those whose places are known are all shown later
        return begin + 1
    later = [at for at in range(before + 1, len(group)) if group[at][0] is None or group[at][0] > group[before][0]]
    return begin + later[0] if later else end
