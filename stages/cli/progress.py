"""How far a long piece of work is: a bar on a terminal, plain lines where nobody watches (a log file, DVC)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

LINE_SECONDS = 25.0  # between two plain lines at most: within half a minute on a busy machine, too


@dataclass
class Work:
    """What is known of a piece of work at a moment; its rate counts from the first number that was reported."""

    description: str
    total: int | None = None
    unit: str = ""
    done: int = 0
    note: str = ""
    started: float = field(default_factory=time.monotonic)
    found: int | None = None  # what an earlier run had done, which says nothing of this run's rate

    def update(self, done: int, total: int | None, description: str | None, note: str | None) -> None:
        """Take in what is known now; None leaves what is there."""
        if self.found is None:
            self.found = done if done > 1 else 0
        self.done = done
        self.total = self.total if total is None else total
        self.description = self.description if description is None else description
        self.note = self.note if note is None else note

    def words(self) -> str:
        """Return one line, e.g. `rgb: 120 of 500 videos, 3.2/s, 2 failed, 1:58 left`."""
        count = f"{self.done:,}" if self.total is None else f"{self.done:,} of {self.total:,}"
        parts = [f"{self.description}: " if self.description else "", count, f" {self.unit}" if self.unit else ""]
        return ", ".join(["".join(parts), *filter(None, (self.pace(), self.note, self.time_left()))])

    def pace(self) -> str:
        """Return the rate in words, nothing as long as there is none."""
        rate = self._rate()
        if rate is None:
            return ""
        return (
            f"{rate:.1f}/s" if rate >= 1 else f"{clock(1 / rate)} each" if rate < 1 / 60 else f"{1 / rate:.1f} s each"
        )

    def time_left(self) -> str:
        """Return the time that the rest takes at this rate, in words."""
        rate = self._rate()
        if rate is None or self.total is None or self.done >= self.total:
            return ""
        return f"{clock((self.total - self.done) / rate)} left"

    def _rate(self) -> float | None:
        num_new, seconds = self.done - (self.found or 0), time.monotonic() - self.started
        return num_new / seconds if num_new > 0 and seconds > 0 else None


class Update(Protocol):
    """What the work calls, an `OnProgress`: the number done, and what else is to be said from now on.

    `note` are the caller's words, e.g. `2 failed`; `say` prints them at once as a line that stays, on a terminal, too.
    """

    def __call__(
        self,
        done: int,
        new_total: int | None = None,
        note: str | None = None,
        *,
        description: str | None = None,
        say: bool = False,
    ) -> None: ...


@contextlib.contextmanager
def show_progress(console: Console, description: str, *, total: int | None = None, unit: str = "") -> Iterator[Update]:
    """Show how far a block's work is: number done, rate, the caller's note, time left. Gives an `Update`.

    On a terminal a bar moves. Elsewhere a line is printed at least every `LINE_SECONDS`, whether the work reports
    anything or not, at each update with `say` (an epoch's end), and at the end.
    """
    show = _bar if console.is_terminal else _lines
    with show(console, Work(description, total, unit)) as update:
        yield update


@contextlib.contextmanager
def _bar(console: Console, work: Work) -> Iterator[Update]:
    """Move a bar on a terminal; what is to be said goes above it, where it stays."""
    state = TextColumn("{task.fields[state]}", style="progress.data.speed")
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), state, console=console) as bars:
        bar, beside = bars.add_task(work.description, total=work.total, state=""), ""

        def update(done, new_total=None, note=None, *, description=None, say=False) -> None:
            nonlocal beside
            work.update(done, new_total, description, note)
            if say:
                bars.print(f"{work.description}: {work.note}", soft_wrap=True, highlight=False, markup=False)
            if note is not None:
                beside = "" if say else note
            state = "  ".join(filter(None, (work.pace(), beside, work.time_left())))
            bars.update(bar, completed=done, total=work.total, description=work.description, state=state)

        yield update


@contextlib.contextmanager
def _lines(console: Console, work: Work) -> Iterator[Update]:
    """Print plain lines; a thread of its own prints them while the work is silent."""
    lines = _Lines(console, work)
    ticker = threading.Thread(target=lines.tick, daemon=True)
    ticker.start()
    try:
        yield lines.update
    finally:
        lines.ended.set()
        ticker.join()
        lines.say(again=False)


class _Lines:
    """The plain lines of a piece of work."""

    def __init__(self, console: Console, work: Work) -> None:
        self._console, self._work, self._lock = console, work, threading.Lock()
        self._said_at, self._said = time.monotonic(), ""
        self.ended = threading.Event()

    def update(self, done, new_total=None, note=None, *, description=None, say=False) -> None:
        """Take in what the work reports; an `Update`."""
        with self._lock:
            self._work.update(done, new_total, description, note)
        if say or time.monotonic() - self._said_at >= LINE_SECONDS:
            self.say()

    def say(self, *, again: bool = True) -> None:
        """Print a line; without `again` not the same count and note twice."""
        with self._lock:
            words = self._work.words()
            what = f"{self._work.done} {self._work.total} {self._work.note}"
            if again or (what != self._said and self._work.found is not None):
                self._console.print(words, soft_wrap=True, highlight=False, markup=False)
                self._said_at, self._said = time.monotonic(), what

    def tick(self) -> None:
        """Print lines while the work is silent, until `ended`."""
        while not self.ended.wait(max(0.05, self._said_at + LINE_SECONDS - time.monotonic())):
            if time.monotonic() - self._said_at >= LINE_SECONDS:
                self.say()


def clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds: 0:07, 12:30, 3:05:00."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
