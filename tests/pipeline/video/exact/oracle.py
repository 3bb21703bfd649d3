"""What must come from a file of numbered pictures, and what came.

The judge is the plan of the file and the numbers in the pictures. Neither our own timeline nor our own full decode is
asked. What it lets pass, and why:

- `doubtful` pictures may be missing: whether a picture is predicted from a lost one is often in no header. Those that
  come must be right to the bit.
- `silent`: a damaged packet may decode without any sign (bytes changed inside it, codecs to which any bytes are a
  picture, bare streams cut inside a picture). Such pictures may look wrong, and may be missing, with or without a
  problem; they may not pass for another picture, and all others must be right.
- not `evident`: a whole picture is gone from a codec that numbers nothing and a container that stores no times of its
  own: the file is the same as one that never had it. Nobody can say that it is missing.
- `replaced`: the same where the rate varies: how long the picture before was to stay is not known, and it may stay.
- `noted`: a hole in a steady rate without numbers is what an encoder that leaves pictures out writes, too. A note
  beside ok is asked for, not a problem.
- `reported`: bytes of the file are others. It is asked for a problem or a note, since nobody knows what they stood for.
- not `timed`: where a file was cut off, or bytes changed, the moment of a doubtful picture may have gone with others.
- `from_first`: nothing says when a lost beginning was, so that the first picture that comes is at time zero; it may
  not come later than the first that must come. A problem may say that the beginning is missing.
- `unreadable`: a file cut before its index or its first picture may be refused as a whole, for these reasons alone.
- Times may be off by the container's tick, by a millisecond at most; at such an edge either neighbour is right.
- In a damaged file the last picture may stay on: how long it stays is known from the sound part alone. For the same
  reason `frame_index` is compared between requests in sound files only.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.video import FrameBatch, iter_frames, sample_frames
from tests.pipeline.video.exact.files import Plan
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import Stream


@dataclass(frozen=True)
class Request:
    """Options of `sample_frames` and the times in seconds that they mean; None: every frame."""

    name: str
    options: dict
    times: tuple[Fraction, ...] | None


def requests(plan: Plan, seed: str) -> Iterator[Request]:
    """Every frame; all of them by time; the file's own rate; wide and narrow grids; a few times; one late time."""
    yield Request("all", {}, None)
    between = [moment + Fraction(2, 5) * gap for moment, gap in zip(plan.moments, _gaps(plan), strict=True)]
    yield _at_times("each", between)
    rate = 1 / (plan.moments[1] - plan.moments[0])
    if plan.exact_end:
        yield Request("own rate", {"fps": float(rate)}, _grid(plan.end, 1 / rate))
        for step in (Fraction(13, 25) * 25 / rate, Fraction(37, 10) / rate):
            yield Request(f"every {float(step):.3f} s", {"every_seconds": float(step)}, _grid(plan.end, step))
    generator = random.Random(seed)
    some = sorted(generator.choices(between, k=5))
    yield _at_times("some", some)
    yield _at_times("one", [between[generator.randrange(len(between) * 3 // 4, len(between))]])


def _at_times(name: str, times: list[Fraction]) -> Request:
    return Request(name, {"timestamps": [float(time) for time in times]}, tuple(times))


def _gaps(plan: Plan) -> list[Fraction]:
    following = (*plan.moments[1:], plan.end)
    return [later - moment for moment, later in zip(plan.moments, following, strict=True)]


def _grid(end: Fraction, step: Fraction) -> tuple[Fraction, ...]:
    return tuple(step * k for k in range(ceil(end / step)))


def complaints(path: Path, stream: Stream, plan: Plan, *, seed: str) -> list[str]:
    """All that is wrong with what `sample_frames` gives, one sentence each."""
    found: list[str] = []
    if plan.from_first:
        plan = _from_first_picture(path, plan)
    index_of: dict[int, int] = {}
    size = None if stream.square else stream.reference[0].shape[:2]
    for request in requests(plan, seed):
        try:
            batch = sample_frames(path, **request.options, size=size)
        except VideoError as error:
            found += [f"{request.name}: {text}" for text in _judge_refusal(error, plan, request)]
            continue
        judge = _Judge(stream, plan, request, batch, index_of)
        found += [f"{request.name}: {text}" for text in judge.texts()]
    return found


def _from_first_picture(path: Path, plan: Plan) -> Plan:
    """The plan from the first picture that comes, which is at latest the first that must come."""
    safe = [number for number in plan.numbers if number not in plan.lost | plan.doubtful]
    try:
        frame = next(iter_frames(path))
        first, seconds = read_number(frame.data), frame.pts_seconds
    except (VideoError, StopIteration):
        first, seconds = None, 0.0
    if first not in plan.numbers or (safe and first > safe[0]):
        first = safe[0] if safe else plan.numbers[0]
    start = plan.numbers.index(first)
    zero = plan.moments[start]
    if seconds > 0 and abs(seconds - float(zero)) < float(plan.tick):  # it has its own time, which is as right
        return replace(plan, headless=True)
    moments = tuple(moment - zero for moment in plan.moments[start:])
    return replace(plan, numbers=plan.numbers[start:], moments=moments, end=plan.end - zero, headless=start > 0)


def _judge_refusal(error: VideoError, plan: Plan, request: Request) -> list[str]:
    due = range(len(plan.numbers)) if request.times is None else sorted(_due(plan, request.times))
    needed = [plan.numbers[rank] for rank in due]
    safe = [number for number in needed if number not in plan.lost | plan.doubtful]
    if safe and error.reason not in plan.unreadable:
        return [f"{error.reason} though {safe[:8]} are there ({error.message.rpartition('/')[2]})"]
    return []


def _due(plan: Plan, times: tuple[Fraction, ...]) -> list[int]:
    return [max(bisect_right(plan.moments, time) - 1, 0) for time in times]


@dataclass
class _Judge:
    stream: Stream
    plan: Plan
    request: Request
    batch: FrameBatch
    index_of: dict[int, int]

    def texts(self) -> Iterator[str]:
        numbers = [self._number(row) for row in range(len(self.batch))]
        yield from self._contents(numbers)
        yield from self._order(numbers)
        yield from self._status(numbers)

    def _number(self, row: int) -> int | None:
        """What a row shows; None where that is spoiled and nobody can tell."""
        image = self.batch.data[row]
        number = read_number(image)
        return None if self._is_excused(row) and not self._is_right(number, image) else number

    def _is_excused(self, row: int) -> bool:
        """Whether no decoder can tell that the picture due at a row's time is spoiled."""
        if not self.plan.silent:
            return False
        late = [abs(float(moment) - self.batch.pts_seconds[row]) for moment in self.plan.moments]
        return self.plan.numbers[int(np.argmin(late))] in self.plan.doubtful | self.plan.lost

    def _is_right(self, number: int | None, image: np.ndarray) -> bool:
        reference = self.stream.reference.get(number)
        return reference is not None and np.array_equal(reference, image)

    def _contents(self, numbers: list[int | None]) -> Iterator[str]:
        """Each row against the reference picture of its number, and its time against the plan."""
        moment_of = dict(zip(self.plan.numbers, self.plan.moments, strict=True))
        for row, number in enumerate(numbers):
            if number is None:
                if not self._is_excused(row) and (self.plan.timed or not self.plan.silent):
                    yield f"row {row} shows no number"
                continue
            if number not in moment_of:
                yield f"row {row} shows {number}, which is not on screen at all"
                continue
            if not self.plan.silent or number not in self.plan.doubtful:
                reference = self.stream.reference[number]
                if reference.shape != self.batch.data[row].shape:
                    yield f"row {row} is {self.batch.data[row].shape}, not {reference.shape}"
                elif not np.array_equal(reference, self.batch.data[row]):
                    off = np.abs(reference.astype(int) - self.batch.data[row]).max()
                    yield f"row {row}, picture {number}, is off by up to {off} grey levels"
            if not self.plan.timed and number in self.plan.doubtful:
                continue
            late = float(self.batch.pts_seconds[row]) - float(moment_of[number])
            if abs(late) > self._slack():
                yield f"row {row}, picture {number}, has time {self.batch.pts_seconds[row]:.4f}, {late:+.4f} s off"

    def _slack(self) -> float:
        return min(float(self.plan.tick), 1e-3) + 1e-6

    def _order(self, numbers: list[int | None]) -> Iterator[str]:
        indices = self.batch.frame_index.tolist()
        if any(later < earlier for earlier, later in zip(indices, indices[1:], strict=False)):
            yield f"frame_index falls: {indices}"
        for number, index in zip(numbers, indices, strict=True):
            if (
                number is not None
                and self.index_of.setdefault(number, index) != index
                and not self.plan.lost | self.plan.doubtful
            ):
                yield f"picture {number} has frame_index {index} here and {self.index_of[number]} before"
        if not self.plan.lost and not self.plan.doubtful:
            rank_of = {number: rank for rank, number in enumerate(self.plan.numbers)}
            wrong = [(n, i) for n, i in zip(numbers, indices, strict=True) if n in rank_of and rank_of[n] != i]
            if wrong:
                yield f"(picture, frame_index) {wrong[:6]} do not agree"

    def _status(self, numbers: list[int | None]) -> Iterator[str]:
        """The rows against what is due, and the problem against what is missing."""
        plan, problem = self.plan, self.batch.problem
        due = [plan.numbers[rank] for rank in self._due_ranks(numbers)]
        missing, extra = _difference(due, numbers)
        if self.plan.silent:
            extra = [number for number in extra if number is not None]
            missing = [number for number in missing if number not in plan.doubtful]
        neighbours = [number for number in extra if number is not None]
        if plan.lost | plan.doubtful:  # how long the last one stays is known from the sound part alone
            neighbours = [number for number in neighbours if number != plan.numbers[-1]]
        if neighbours and not plan.replaced and (plan.evident or not plan.lost):
            yield f"{neighbours[:8]} came and are not due (due {due[:60]}, came {numbers[:60]})"
        gone = [number for number in missing if number not in plan.lost | plan.doubtful]
        if gone:
            yield f"{gone[:8]} are due and did not come ({problem and problem.reason}; came {numbers[:60]})"
        if missing and problem is None and plan.evident and not self.plan.silent:
            yield f"{missing[:8]} are missing without a word"
        if missing and problem is None and not self.batch.note and plan.reported:
            yield f"{missing[:8]} are missing without a word or a note"
        if plan.noted and plan.lost and problem is None and not self.batch.note:
            yield "a picture is missing from a steady rate without a note"
        if problem is not None and not missing and not plan.silent and not plan.headless:
            yield f"{problem.reason} though nothing is missing ({problem.message.rpartition('/')[2]})"
        if not plan.lost and not plan.doubtful and self.batch.num_expected != len(due):
            yield f"{self.batch.num_expected} frames are expected, {len(due)} are due"

    def _due_ranks(self, numbers: list[int | None]) -> list[int]:
        plan, times = self.plan, self.request.times
        if times is None:
            return list(range(len(plan.numbers)))
        ranks, rest = [], list(reversed(numbers))
        for time in times:
            ranks.append(self._nearest(time, rest[-1] if rest else None))
            if rest and rest[-1] in (None, plan.numbers[ranks[-1]]):
                rest.pop()
        return ranks

    def _nearest(self, time: Fraction, came: int | None) -> int:
        """The rank due at `time`; where that is a matter of rounding, the one that came."""
        rank = _due(self.plan, (time,))[0]
        for other in (rank - 1, rank + 1):
            if 0 <= other < len(self.plan.moments) and came == self.plan.numbers[other]:
                edge = self.plan.moments[max(rank, other)]
                is_rounded_twice = self.plan.headless and self.plan.tick == Fraction(
                    1, 1000
                )  # time zero is no whole tick
                if (edge != time or is_rounded_twice) and abs(float(edge - time)) <= self._slack():
                    return other
        return rank


def _difference(due: list[int], came: list[int | None]) -> tuple[list[int], list[int | None]]:
    """What of `due` did not come and what came beside it; both are in order."""
    missing, extra, position = [], [], 0
    for number in due:
        ahead = position
        while ahead < len(came) and came[ahead] != number:
            ahead += 1
        if ahead < len(came) and not any(other in came[position:ahead] for other in due if other == number):
            extra += came[position:ahead]
            position = ahead + 1
        else:
            missing.append(number)
    return missing, [*extra, *came[position:]]
