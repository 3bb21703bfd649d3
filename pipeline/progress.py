"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class OnProgress(Protocol):
    """Called after each piece of work: how much is done, of how much in all, and words beside it, e.g. `2 failed`."""

    def __call__(self, num_done: int, num_total: int, note: str = "", /) -> None: ...


def reported(items: Iterable[T], num_total: int, on_progress: OnProgress | None) -> Iterator[T]:
    """Yield `items`, and say after the work on each how many of `num_total` are done.

    >>> list(reported("ab", 2, print))
    1 2
    2 2
    ['a', 'b']
    """
    for num_done, item in enumerate(items, start=1):
        yield item
        if on_progress is not None:
            on_progress(num_done, num_total)


@dataclass
class Tally:
    """Counts what several functions do towards one total, and says so after each piece."""

    num_total: int
    on_progress: OnProgress | None = None
    num_done: int = 0

    def add(self, count: int, note: str = "") -> None:
        """Count pieces of work that are done."""
        self.num_done += count
        if self.on_progress is not None:
            self.on_progress(self.num_done, self.num_total, note)
