"""Work that waits for the disk or the network, done by many threads and given back in its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

AHEAD = 8  # items begun for each thread and not yet given back: one slow item does not stop the others

T = TypeVar("T")
Result = TypeVar("Result")


def in_order(work: Callable[[T], Result], items: Iterable[T], *, num_threads: int) -> Iterator[Result]:
    """Yield `work(item)` for each item, in order; few are begun before they are asked for, so any number may come."""
    waiting, pool = iter(items), ThreadPoolExecutor(num_threads)
    try:
        begun = deque(pool.submit(work, item) for item in islice(waiting, AHEAD * num_threads))
        while begun:
            yield begun.popleft().result()
            begun.extend(pool.submit(work, item) for item in islice(waiting, 1))
    finally:
        pool.shutdown(cancel_futures=True)
