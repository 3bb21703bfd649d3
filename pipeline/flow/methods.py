"""Which solver a method's name stands for, on which device, with which options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

METHODS = ("tvl1", "opencv-tvl1", "opencv-cuda-tvl1", "farneback", "dis")
DEVICES = ("auto", "cpu", "cuda")


class FlowSolver(Protocol):
    """What every method offers; images are checked before they come here."""

    def pairs(self, prev: np.ndarray, next: np.ndarray) -> np.ndarray:
        """Return the flow of each pair: uint8 (N, H, W) twice to float32 (N, H, W, 2)."""
        ...

    def stream(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the flow (H, W, 2) between neighbouring frames (H, W)."""
        ...


def build_solver(method: str, *, device: str, options: dict[str, object]) -> FlowSolver:
    """Return the solver of `method` for `device`.

    Raises ValueError for an unknown method or device, TypeError for an option the method does not take, and
    InputError where the device or library it needs is not there.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; known methods: {', '.join(METHODS)}")
    if device not in DEVICES:
        raise ValueError(f"device is {device!r}; known devices: {', '.join(DEVICES)}")
    if method == "tvl1":
        from tdn_data.pipeline.flow.tvl1 import build_tvl1

        return build_tvl1(device=device, **options)
    from tdn_data.pipeline.flow.opencv import build_opencv

    return build_opencv(method, device=device, options=options)
