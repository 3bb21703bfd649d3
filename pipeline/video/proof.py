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

from tdn_data.pipeline.video.packet_rows import PacketRows


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
    ours = [None if output is None else output.packet for output in outputs]
    return proven & ~np.array([number is not None and bool(spoiled[number]) for number in ours], dtype=bool)


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
