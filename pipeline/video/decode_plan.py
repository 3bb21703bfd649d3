"""Which packets must be decoded for which frames: arithmetic over packet tables, no decoding.

Packets come in decoding order; the row of letters is one group of pictures (I, P: references, b: never one).

    packet    0  1  2  3  4  5  6 | 7  8  9 ...
    kind      I  P  b  b  P  b  b | I  P  b
    shown     0  3  1  2  6  4  5 | 7 10  8
    wanted             x                  x        frames 2 and 8
    decoded   x  x     x            x  x  x        runs [0, 4) and [7, 10), minus b pictures nobody asked for

An open group has pictures after its I that are shown before it and look back into the previous group; whoever wants one
starts decoding a group earlier, and whoever starts at that I leaves them out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PacketTable:
    """One row per packet, in decoding order; all arrays have the same length except `starts`."""

    pts: np.ndarray  # int64, ticks
    shown: np.ndarray  # bool: gives a picture on screen
    droppable: np.ndarray  # bool: no other picture needs it
    starts: np.ndarray  # int64, rising: packets where decoding can begin; the first is 0


def plan_runs(table: PacketTable, wanted: np.ndarray) -> list[tuple[int, int]]:
    """Half-open packet intervals, rising and disjoint, that hold all that the `wanted` packets (rising) depend on."""
    runs: list[tuple[int, int]] = []
    own = np.searchsorted(table.starts, wanted, side="right") - 1
    leading = table.pts[wanted] < table.pts[table.starts[own]]
    first = table.starts[np.maximum(own - leading, 0)]
    for begin, end in zip(first.tolist(), (np.asarray(wanted) + 1).tolist(), strict=True):
        if runs and begin <= runs[-1][1]:
            runs[-1] = (min(begin, runs[-1][0]), max(end, runs[-1][1]))
            while len(runs) > 1 and runs[-1][0] <= runs[-2][1]:
                begin, end = runs.pop()
                runs[-1] = (min(begin, runs[-1][0]), max(end, runs[-1][1]))
        else:
            runs.append((begin, end))
    return runs


def needed_packets(table: PacketTable, wanted: np.ndarray, run: tuple[int, int]) -> np.ndarray:
    """Which packets of a run to send to the decoder, bool (end - begin,)."""
    begin, end = run
    asked = np.zeros(end - begin, dtype=bool)
    asked[wanted[(wanted >= begin) & (wanted < end)] - begin] = True
    needed = asked | ~table.droppable[begin:end]
    if begin > 0:
        needed &= (table.pts[begin:end] >= table.pts[begin]) | ~table.shown[begin:end]
    return needed
