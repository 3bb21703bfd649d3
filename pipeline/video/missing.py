"""Which pictures of a stream are missing, by its packets alone.

Pictures that carry numbers leave a hole in them, and some name the pictures that they need; an index knows of packets
that are not there. Where there is none of these, a hole in a steady rate is a loss if other packets are spoiled, and
else may be one: an encoder that leaves a picture out writes the same file.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.video.container import format_names
from tdn_data.pipeline.video.continuity import breaks as find_breaks
from tdn_data.pipeline.video.continuity import lost_by_numbers, usual_step
from tdn_data.pipeline.video.matroska import has_empty_block
from tdn_data.pipeline.video.packet_facts import PacketFacts
from tdn_data.pipeline.video.stamps import MAX_REORDER, lost_after, unseen_after

if TYPE_CHECKING:
    from tdn_data.pipeline.video.packet_rows import PacketRows

_STAMPING = {"matroska", "webm", "mpegts", "flv", "nut"}  # store each picture's time, and none for one that stays on


class SeenPackets(NamedTuple):
    """The packets of a file, one entry per packet in each sequence."""

    path: str | os.PathLike
    pts: Sequence[int | None]
    places: Sequence[tuple[int, int]]  # first byte, number of bytes
    discard: Sequence[bool]
    facts: Sequence[PacketFacts]
    spoiled: bool  # something of the file is damaged


def proves_loss(seen: SeenPackets) -> bool:
    """Whether a hole in a steady rate is a loss: the pictures carry numbers, or other packets are spoiled.

    Without either an encoder that leaves a picture out writes the same file as one that lost it.
    """
    return seen.spoiled or are_numbered(seen.facts)


def missing_pictures(
    container: InputContainer, seen: SeenPackets, lost_behind: dict[int, int], apart: Collection[int]
) -> tuple[dict[int, int], np.ndarray]:
    """`PacketRows.lost` and `.breaks`: by the pictures' numbers, else by the container or by holes in a steady rate.

    `lost_behind` is what the container knows: packet -> how many are missing right behind it in the file; `apart` are
    packets behind which there may be some.
    """
    pts, facts = seen.pts, seen.facts
    numbered, suspect = are_numbered(facts), any(fact.suspect for fact in facts)
    keys: Sequence[int | None] = [fact.order for fact in facts] if numbered or suspect else pts
    lost = {} if suspect else lost_behind or (holes_in_rate(container, seen) if proves_loss(seen) else {})
    by_numbers = {}
    if numbered and not suspect:  # a pause between pictures whose numbers follow one another is nothing missing
        lost = {at: count for at, count in lost.items() if not _is_followed(at, pts, facts)}
        by_numbers = lost_by_numbers(facts)
    names_references = all(fact.names_references for fact in facts if fact.shown)
    unknown = lost.keys() - by_numbers.keys() if names_references else lost.keys() | by_numbers.keys()
    breaks = find_breaks(facts, keys, unknown - lost_behind.keys())
    if not names_references or sum(by_numbers.values()) != sum(lost_behind.values()):
        breaks[[at + 1 for at in lost_behind if at + 1 < len(facts)]] = True
    for at in apart:  # numbers begin again: where they tell of no loss, there may be a round one
        is_known = names_references and any(abs(at - other) <= MAX_REORDER for other in by_numbers)
        is_known = is_known or (numbered and not names_references and _is_followed(at, pts, facts))  # theirs are large
        breaks[at + 1 : at + 2] |= not is_known
    lost = {at: max(lost.get(at, 0), by_numbers.get(at, 0)) for at in lost | by_numbers}
    return _without_spoiled(lost, pts, facts), breaks


def _without_spoiled(lost: dict[int, int], pts: Sequence[int | None], facts: Sequence[PacketFacts]) -> dict[int, int]:
    """`lost` without the pictures whose packets are there and spoiled."""
    lost = dict(lost)
    for packet in (at for at, fact in enumerate(facts) if fact.broken and not fact.shown and pts[at] is not None):
        before = [at for at in lost if pts[at] is not None and pts[at] < pts[packet]]
        nearest = max(before, key=lambda at: pts[at], default=None)
        if nearest is not None:
            lost[nearest] -= 1
            lost = {at: count for at, count in lost.items() if count}
    return lost


def are_numbered(facts: Sequence[PacketFacts]) -> bool:
    """Whether every picture on screen says its place in the order of all; not so where there are no packets."""
    return bool(facts) and all(fact.order is not None for fact in facts if fact.shown)


def holes_in_rate(container: InputContainer, seen: SeenPackets) -> dict[int, int]:
    """Packet -> how many pictures are missing on screen after its own, by holes in a steady rate."""
    pts, names = seen.pts, format_names(container)
    shown = (at for at, fact in enumerate(seen.facts) if fact.shown and not seen.discard[at] and pts[at] is not None)
    packet_of = {pts[at]: at for at in shown}
    if not packet_of or names.isdisjoint(_STAMPING):
        return {}
    stamps = sorted(packet_of)
    counts = lost_after(np.array(stamps, dtype=np.int64)).tolist()
    lost = {packet_of[stamp]: count for stamp, count in zip(stamps, counts, strict=True) if count}
    stays = "matroska" in names
    return {at: count for at, count in lost.items() if not (stays and _is_followed_by_empty(at, seen))}


def _is_followed_by_empty(packet: int, seen: SeenPackets) -> bool:
    following = seen.places[packet + 1 : packet + 2]
    return bool(following) and has_empty_block(seen.path, seen.places[packet], following[0][0])


def _is_followed(packet: int, pts: Sequence[int | None], facts: Sequence[PacketFacts]) -> bool:
    """Whether the next picture on screen after a packet's own has the next place by the numbers of both."""
    if pts[packet] is None:
        return False
    later = [at for at, fact in enumerate(facts) if fact.shown and pts[at] is not None and pts[at] > pts[packet]]
    orders = [facts[at].order for at in (packet, min(later, key=lambda at: pts[at], default=packet))]
    return None not in orders and orders[1] - orders[0] == usual_step(fact.order for fact in facts if fact.shown)


def tell_of_loss(facts: Sequence[PacketFacts]) -> bool:
    """Whether a packet is spoiled, or a picture itself says that one is missing which it needs."""
    return any(fact.broken or (fact.after_loss and fact.names_references) for fact in facts)


def lost_by_stamps(
    ticks: np.ndarray, pts: Sequence[int | None], container: InputContainer, rows: PacketRows
) -> np.ndarray:
    """How many pictures are lost after each by their own stamps, int64 (N,); only where a container stores stamps.

    `pts` are those of the pictures' packets. Where nothing is spoiled, a hole is a loss if a packet's stamp lies in it.
    """
    if format_names(container).isdisjoint(_STAMPING) or are_numbered(rows.facts):
        return np.zeros(len(ticks), dtype=np.int64)
    lost = lost_after(ticks)
    if rows.damaged or tell_of_loss(rows.facts):
        return lost
    return np.where(unseen_after(pts, rows.shown_pts) > 0, lost, 0)


def pause_words(rows: PacketRows, stream: VideoStream) -> str | None:
    """A sentence about the first of `PacketRows.pauses`, and how many more there are; None for none."""
    if not rows.pauses:
        return None
    packet, *more = sorted(rows.pauses, key=lambda at: rows.pts[at])
    seconds = (rows.pts[packet] - min(rows.shown_pts)) * float(stream.time_base)
    places = f" and at {len(more)} more place{'s' if len(more) > 1 else ''}" if more else ""
    return f"after {seconds:.2f} s{places} a picture is missing from a steady rate: left out by the encoder, or lost"
