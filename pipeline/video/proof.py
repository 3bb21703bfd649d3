"""Which pictures of a full decode are those that were encoded?

A decoder that meets damage marks the picture and goes on; what is predicted from it is as wrong and bears no mark, and
some of it is shown earlier:

    decoded   I0  P3  b1  b2  P6  b4  b5  I9        P3 is damaged
    shown     I0  b1  b2  P3* b4  b5  P6  I9        only P3 is marked; I0 and I9 are proven
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tdn_data.pipeline.video.missing import are_numbered
from tdn_data.pipeline.video.packet_rows import PacketRows
from tdn_data.pipeline.video.stamps import lost_after


class Output(NamedTuple):
    """A picture as it came out of the decoder."""

    packet: int | None  # number of its packet; None where that is not known
    pts: int | None
    dts: int | None
    damaged: bool


def are_proven(outputs: Sequence[Output | None], rows: PacketRows) -> np.ndarray:
    """Which of the pictures that came out, in that order, are neither damaged nor predicted from damage, bool (N,).

    None stands for a place where pictures may be missing.
    """
    proven = np.array([output is not None and not output.damaged for output in outputs], dtype=bool)
    spoiled = np.zeros(len(rows.pts), dtype=bool)
    for output in outputs:
        if output is not None and output.damaged and output.packet is not None:
            spoiled |= _depending_on(output.packet, rows)
    if not are_numbered(rows.facts) and not rows.is_bare:
        spoiled |= _behind_holes(outputs, rows)
    ours = [None if output is None else output.packet for output in outputs]
    return proven & ~np.array([number is not None and bool(spoiled[number]) for number in ours], dtype=bool)


def _behind_holes(outputs: Sequence[Output | None], rows: PacketRows) -> np.ndarray:
    """Packets between a hole in a steady rate and the place where the decoder failed in the same group, bool (P,).

    A decoder may show something else for a while before it notices what it lacks.
    """
    spoiled = np.zeros(len(rows.pts), dtype=bool)
    shown = rows.shown.tolist()
    packet_of = {pts: number for number, pts in enumerate(rows.pts) if shown[number] and pts is not None}
    stamps = sorted(packet_of)
    holes = np.flatnonzero(lost_after(np.array(stamps, dtype=np.int64))).tolist() if None in outputs else ()
    reached = _reached_at_failures(outputs)
    starts = np.flatnonzero(rows.resumes).tolist()
    for begin in (packet_of[stamps[hole]] + 1 for hole in holes):
        end = next((start for start in starts if start >= begin), len(spoiled))
        if any(begin - 1 <= number < end for number in reached):
            spoiled[begin:end] = True
    return spoiled


def _reached_at_failures(outputs: Sequence[Output | None]) -> list[int]:
    """The latest packet that gave a picture before each place where some are missing."""
    reached, latest = [], -1
    for output in outputs:
        if output is None:
            reached.append(latest)
        elif output.packet is not None:
            latest = max(latest, output.packet)
    return reached


def _depending_on(first: int, rows: PacketRows) -> np.ndarray:
    """Packets that may be predicted from `first`, bool (P,): up to the next start, and what is shown before that."""
    spoiled = np.zeros(len(rows.pts), dtype=bool)
    later = np.flatnonzero(rows.resumes[first + 1 :]) + first + 1
    end = int(later[0]) if len(later) else len(spoiled)
    spoiled[first:end] = True
    if len(later) and rows.pts[end] is not None:
        following = int(later[1]) if len(later) > 1 else len(spoiled)
        for number in range(end + 1, following):
            spoiled[number] = rows.pts[number] is not None and rows.pts[number] < rows.pts[end]
    return spoiled
