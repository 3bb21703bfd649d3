"""TV-L1 optical flow from coarse to fine. The scheme is written out in `reference`, the fast loops in `kernels_cpu`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from threading import local

import numpy as np

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.flow.pyramid import enlarge, image_pyramid
from tdn_data.pipeline.flow.solver import FlowSolver
from tdn_data.pipeline.flow.tvl1_parameters import TVL1Parameters, tvl1_parameters


def build_tvl1(
    *, device: str, preset: str = "opencv", num_threads: int = 1, batch_size: int = 256, **changes: float
) -> FlowSolver:
    """Return the TV-L1 solver for `device`; `auto` is the GPU where torch sees one.

    `num_threads`: pairs computed side by side on the CPU. `batch_size`: pairs at once on the GPU at most, where each
    pair has a multiprocessor of its own: a few hundred fill it; large pairs are fewer, by their bytes. `changes`:
    single parameters that differ from the preset's.
    Raises InputError where a GPU is asked for and there is none, or Numba is missing on a CPU.
    """
    parameters = tvl1_parameters(preset, **changes)
    for name, value in (("num_threads", num_threads), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be an integer of 1 or more")
    if device == "cpu" or (device == "auto" and not _gpu_is_there()):
        if find_spec("numba") is None:
            raise InputError("Method tvl1 on a CPU needs numba: pip install numba.")
        return TVL1Solver(parameters, num_threads=num_threads)
    if not _gpu_is_there():
        raise InputError("device is 'cuda', but torch with triton sees no GPU here; 'cpu' computes the same flow.")
    from tdn_data.pipeline.flow.kernels_cuda import TVL1CudaSolver

    return TVL1CudaSolver(parameters, batch_size=batch_size)


@cache
def _gpu_is_there() -> bool:
    """Say whether torch sees a GPU and triton is there; where no driver is installed, without importing torch."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    try:
        from tdn_data.pipeline.flow.kernels_cuda import cuda_is_available
    except ImportError:
        return False
    return cuda_is_available()


class TVL1Solver:
    """TV-L1 on the CPU. Results do not depend on the number of threads, nor on the machine."""

    def __init__(self, parameters: TVL1Parameters, *, num_threads: int = 1) -> None:
        self._parameters, self._num_threads = parameters, num_threads
        self._local = local()  # each thread works in memory of its own

    def pairs(self, prev: np.ndarray, next: np.ndarray) -> np.ndarray:
        """Return float32 (N, H, W, 2) for uint8 (N, H, W) twice."""
        flow = np.empty((*prev.shape, 2), np.float32)

        def compute(number: int) -> None:
            flow[number] = self._solve(self._pyramid(prev[number]), self._pyramid(next[number]))

        if self._num_threads == 1 or len(prev) == 1:
            for number in range(len(prev)):
                compute(number)
        else:
            with ThreadPoolExecutor(self._num_threads) as pool:
                list(pool.map(compute, range(len(prev))))
        return flow

    def stream(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the flow (H, W, 2) between neighbouring frames; each frame's pyramid is built once."""
        before = None
        for image in frames:
            pyramid = self._pyramid(image)
            if before is not None:
                yield self._solve(before, pyramid)
            before = pyramid

    def _pyramid(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        return image_pyramid(image, self._parameters)

    def _solve(self, prev: tuple[np.ndarray, ...], next: tuple[np.ndarray, ...]) -> np.ndarray:
        """Refine the flow between two pyramids level by level; returns (H, W, 2)."""
        from tdn_data.pipeline.flow.kernels_cpu import solve_level

        work, numbers = self._workspace(prev[0].shape), _numbers(self._parameters)
        u = v = np.zeros_like(prev[-1])
        for first, second in zip(reversed(prev), reversed(next), strict=True):
            u, v = (enlarge(plane, first.shape, self._parameters) for plane in (u, v))
            solve_level(first, second, u, v, work, *numbers)
        return np.stack([u, v], axis=-1)

    def _workspace(self, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
        """Return this thread's memory for images of `shape`, kept from one pair to the next."""
        from tdn_data.pipeline.flow.planes_cpu import workspace

        if getattr(self._local, "shape", None) != shape:
            self._local.shape, self._local.work = shape, workspace(*shape)
        return self._local.work


def _numbers(parameters: TVL1Parameters) -> tuple[tuple, tuple, tuple]:
    """Return the parameters as `solve_level` takes them."""
    single = (parameters.theta, parameters.threshold, parameters.dual_step, parameters.cubic_coefficient)
    return (
        (*(np.float32(value) for value in single), parameters.epsilon),
        (parameters.num_warps, parameters.inner_iterations, parameters.outer_iterations),
        (parameters.median_size > 1, parameters.edge_pixels, parameters.sparse_check, parameters.fast),
    )
