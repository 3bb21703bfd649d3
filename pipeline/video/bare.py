"""When the pictures of a bare stream are shown: it has no container, and the stamps that FFmpeg gives it are made up.

FFmpeg counts on from picture to picture by a rate, which it learns from the stream while it reads, as it learns that
pictures are delayed. The order that its stamps say is right, and so is how long each picture stays:

    FFmpeg      0   2   3   4   5        the first picture of MPEG-1 comes a place too early
    here        0   1   2   3   4

H.261 (ITU-T H.261, 4.2.1) and H.263 (ITU-T H.263, 5.1.2) may leave out pictures, and each one that is there carries its
place, modulo 32 or 256, on a clock of that rate. Where FFmpeg says no durations, as in MPEG-4, its stamps are the
stream's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
from av.container import InputContainer

from tdn_data.pipeline.video.bits import Bits
from tdn_data.pipeline.video.container_formats import BARE_STREAMS

_HEAD_BYTES = 16  # of a packet, more than its place on the clock is in
_MAX_SKIPPED = 25  # pictures in a row; more are another stream, joined to the first
_H261_CODE_BITS, _H261_PLACES = 20, 32
_H263_CODE_BITS, _H263_PLACES = 22, 256


def is_bare(container: InputContainer) -> bool:
    """Whether a file is a stream without a container, which stores no times."""
    return container.format.name in BARE_STREAMS


def h261_place(packet: memoryview) -> int | None:
    """The place on the clock of an H.261 picture, whose start code may begin inside a byte."""
    for skipped in range(8):
        bits = Bits(packet[:_HEAD_BYTES])
        bits.read(skipped)
        if bits.read(_H261_CODE_BITS) == 0x10:
            return bits.read(5)
    return None


def h263_place(packet: memoryview) -> int | None:
    """The place on the clock of an H.263 picture."""
    bits = Bits(packet[:_HEAD_BYTES])
    return bits.read(8) if bits.read(_H263_CODE_BITS) == 0x20 else None


_CLOCKS: dict[str, tuple[Callable[[memoryview], int | None], int]] = {
    "h261": (h261_place, _H261_PLACES),
    "h263": (h263_place, _H263_PLACES),
}


def clock_reader(container: InputContainer) -> Callable[[memoryview], int | None] | None:
    """What reads a packet's place on the clock; None where packets carry none, or a container their times."""
    return _CLOCKS[container.format.name][0] if container.format.name in _CLOCKS else None


def shown_times(
    container: InputContainer,
    pts: Sequence[int | None],
    duration: Sequence[int | None],
    clock: Sequence[int | None],
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Times and durations of a bare stream's packets, in ticks; None where FFmpeg's are to stay.

    `clock` holds the packets' places on the clock, None for each that has none.
    """
    if not is_bare(container) or not pts or None in pts or not all(duration) or len(set(pts)) < len(pts):
        return None
    stays = np.array(duration, dtype=np.int64)
    if container.format.name in _CLOCKS:
        stays = int(np.median(stays)) * _steps(clock, _CLOCKS[container.format.name][1])
    order = np.argsort(pts, kind="stable")
    times = np.empty(len(pts), dtype=np.int64)
    times[order] = list(accumulate(stays[order][:-1].tolist(), initial=0))
    return tuple(times.tolist()), tuple(stays.tolist())


def _steps(clock: Sequence[int | None], num_places: int) -> np.ndarray:
    """How far each packet is from the next one on a clock of so many places, int64 (N,); the usual step for unknown."""
    steps = [
        (after - before) % num_places if None not in (before, after) else 0
        for before, after in zip(clock, clock[1:], strict=False)
    ]
    known = [step for step in steps if 0 < step <= min(_MAX_SKIPPED, num_places // 2)]
    usual = int(np.median(known)) if known else 1
    possible = frozenset(known)
    return np.array([step if step in possible else usual for step in [*steps, 0]], dtype=np.int64)
