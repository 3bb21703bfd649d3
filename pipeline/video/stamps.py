"""Are a file's timestamps those at which its pictures are shown?

Some files carry pictures that are decoded in another order than they are shown in (B pictures), stamped in the order
of decoding: MXF, and whatever was copied from containers without composition times. Sorted by such stamps the pictures
stand in a wrong order, and nothing in the stamps themselves says so. What gives them away is the pictures' types:

    decoded     I0  P3  b1  b2  P6  b4  b5      b: shown before a picture that is decoded earlier
    stamped      0   3   1   2   6   4   5      as shown: falls where a b comes
    stamped      0   1   2   3   4   5   6      as decoded: rises in spite of the b

So stamps are believed where they fall at each group's B pictures, or where nothing can be reordered. For MPEG-1, 2
and 4 the types tell the whole order (a B picture is shown at once, any other when the next such comes), and the stamps
must have it. The rest is up to a full decode.
"""

from __future__ import annotations

from collections.abc import Sequence

import av
import numpy as np

from tdn_data.pipeline.video.h264_parameters import may_have_fields
from tdn_data.pipeline.video.packet_facts import PacketFacts

MAX_REORDER = 32  # pictures; codecs allow 16
MAX_LOST = 25  # pictures in a row that are missing, and not a picture that stays on
_SMALLEST_PROOF = 8  # pictures, to know a steady rate by
TYPED_CODECS = ("mpeg1video", "mpeg2video", "mpeg4")  # whose picture types tell the order on screen
_NAMED_TYPES = (*TYPED_CODECS, "h264")  # whose reader tells B pictures


def are_believable(
    context: av.VideoCodecContext, pts: np.ndarray, facts: Sequence[PacketFacts], starts: np.ndarray
) -> bool:
    """Whether stamps `pts` int64 (N,) of the shown packets, in decoding order, are those of the pictures on screen.

    `facts` are of the same packets; `starts` says which of them, by their place, are the first of a group.
    """
    rises = bool((np.diff(pts) > 0).all())
    if not can_reorder(context):
        return rises
    orders = [fact.order for fact in facts]
    if None not in orders and (np.argsort(orders, kind="stable") != np.argsort(pts, kind="stable")).any():
        return False  # the pictures carry their places on screen themselves
    codec = context.codec.canonical_name
    if codec == "h264" and may_have_fields(context.extradata):
        return False  # two fields may share a picture, and packets cannot be distinguished by their first bytes
    if not is_nearly_rising(pts) or _falls_behind(pts, starts):
        return False
    if codec in TYPED_CODECS:
        return bool((np.argsort(pts, kind="stable") == typed_order(facts)).all())
    if rises:
        no_b = codec in _NAMED_TYPES and not any(fact.bidirectional for fact in facts)
        return context.reorder_depth == 0 and (no_b or codec == "hevc")
    return all(_group_is_reordered(context, pts[a:b], facts[a:b]) for a, b in _groups(starts, len(pts)))


def can_reorder(context: av.VideoCodecContext) -> bool:
    """Whether a stream's codec may decode pictures in another order than they are shown in."""
    return bool(context.codec.reorder) and context.codec.canonical_name not in ("h263", "h263p", "h263i")


def is_nearly_rising(pts: np.ndarray) -> bool:
    """Whether no two stamps int64 (N,), N >= 1, are equal and none is more than MAX_REORDER places from its own."""
    order = np.argsort(pts, kind="stable")
    distinct = bool((np.diff(pts[order]) > 0).all())
    return distinct and int(np.abs(order - np.arange(len(pts))).max()) <= MAX_REORDER


def _falls_behind(pts: np.ndarray, starts: np.ndarray) -> bool:
    """Whether some group begins before a picture of an earlier group was shown, as where two files were joined."""
    before = np.maximum.accumulate(pts)
    return any(pts[start] <= before[start - 1] for start in starts.tolist() if start > 0)


def lost_after(ticks: np.ndarray) -> np.ndarray:
    """How many pictures are lost after each of those at rising `ticks` int64 (N,), int64 (N,).

    Where nearly every picture stays equally long but for the rounding of stamps to whole ticks, a step of several
    such times is a loss, up to a fiftieth of the steps or two of them; more are a varying frame rate, and one of more
    than MAX_LOST pictures is a pause. Durations are not asked: few containers store them.
    """
    lost = np.zeros(len(ticks), dtype=np.int64)
    if len(ticks) < _SMALLEST_PROOF:
        return lost
    steps = np.diff(ticks)
    ordinary = steps[np.abs(steps - np.median(steps)) <= 1]
    if not ordinary.sum() > 0:
        return lost
    usual = float(ordinary.mean())
    steps = steps / usual
    whole = np.round(steps)
    holes = whole >= 2
    steady = bool((np.abs(steps - whole) <= max(0.1, 1.0 / usual)).all() and (whole >= 1).all())
    if steady and holes.sum() <= max(2, len(steps) // 50):
        lost[:-1] = np.where(whole - 1 <= MAX_LOST, whole - 1, 0)
    return lost


def unseen_after(pts: Sequence[int | None], packet_pts: Sequence[int]) -> np.ndarray:
    """How many packets came to nothing after each picture in the order on screen, int64 (N,).

    `pts` are the stamps of the pictures that came out. Zeros where these are not packets' own, each once.
    """
    none = np.zeros(len(pts), dtype=np.int64)
    if None in pts or len(set(pts)) < len(pts) or not set(pts) <= set(packet_pts):
        return none
    seen = np.sort(np.array(pts, dtype=np.int64))
    unseen = np.setdiff1d(np.array(packet_pts, dtype=np.int64), seen)
    places = np.searchsorted(seen, unseen, side="right") - 1
    return none + np.bincount(places[places >= 0], minlength=len(pts))


def are_single_pictures(context: av.VideoCodecContext, facts: Sequence[PacketFacts]) -> bool:
    """Whether every shown packet is to give one picture: no lone fields, nothing packed or left open by its codec."""
    fields = context.codec.canonical_name == "h264" and may_have_fields(context.extradata)
    whole = (fact for fact in facts if fact.shown and not fact.broken)
    paired = all(fact.order is not None for fact in whole)  # a lone field has no place on screen
    return (paired or not fields) and not any(fact.suspect for fact in facts)


def _groups(starts: np.ndarray, end: int) -> list[tuple[int, int]]:
    edges = [0, *(start for start in starts.tolist() if start > 0), end]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _group_is_reordered(context: av.VideoCodecContext, pts: np.ndarray, facts: Sequence[PacketFacts]) -> bool:
    """Whether a group's stamps fall somewhere, if it has B pictures.

    H.265 does not name them before its parameter sets are read; in streams that reorder, pictures that nothing is
    predicted from are taken for them.
    """
    named = context.codec.canonical_name in _NAMED_TYPES
    has_b = any(fact.bidirectional if named else fact.droppable for fact in facts)
    return not has_b or bool((np.diff(pts) < 0).any())


def typed_order(facts: Sequence[PacketFacts]) -> np.ndarray:
    """Packets in the order in which their pictures are shown, by their types alone.

    >>> b, p = PacketFacts(bidirectional=True), PacketFacts()
    >>> typed_order([p, p, b, b, p, b]).tolist()
    [0, 2, 3, 1, 5, 4]
    """
    order: list[int] = []
    held: int | None = None
    for number, fact in enumerate(facts):
        if fact.bidirectional:
            order.append(number)
            continue
        if held is not None:
            order.append(held)
        held = number
    return np.array(order if held is None else [*order, held], dtype=np.int64)
