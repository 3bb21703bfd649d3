"""How many threads torch computes with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Compute with `count` threads inside the block; None leaves torch's own choice, one for each core.

    For small networks one thread is often best: where other programs use the cores, threads wait for each other. The
    number decides in which order sums are rounded, so results are the same to the last bit only for the same number.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
