"""What every flow method offers to the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np


class FlowSolver(Protocol):
    """A method with its parameters, on its device; images are checked before they come here."""

    def pairs(self, prev: np.ndarray, next: np.ndarray) -> np.ndarray:
        """Return the flow of each pair: uint8 (N, H, W) twice to float32 (N, H, W, 2)."""
        ...

    def stream(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the flow (H, W, 2) between neighbouring frames (H, W)."""
        ...
