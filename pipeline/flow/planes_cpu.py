"""The memory TV-L1's CPU loops work in: ten planes of one level, interleaved by row in a flat float32 buffer.

Each row of a plane starts on 64 bytes and is padded to full vectors, with a vector's width of zeros before it: what a
row needs lies together, no loop has a scalar tail, no two streams share their low address bits. A row of zeros lies
above and below. What the padding holds right of the image is finite and never read by a pixel of it.
"""

from __future__ import annotations

import numpy as np

from tdn_data.pipeline.flow.intrinsics import compiled
from tdn_data.pipeline.flow.median_cpu import LANES, median_scratch_size

U, V, P11, P12, P21, P22, GRAD_X, GRAD_Y, RHO, SQUARED = range(10)  # planes of a row, in this order
NUM_STATE = 10
MARGIN = 6  # rows and pixels around the image that is sampled
_ZERO = np.float32(0)


def workspace(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the buffers `solve_level` works in, for images up to this size: state, image, scratch and shifts."""
    row = width + 2 * LANES
    return (
        _aligned((height + 2) * NUM_STATE * row),
        _aligned((height + 2 * MARGIN) * 3 * (row + 2 * LANES) + 2 * LANES),
        _aligned(max(median_scratch_size(height, width), 8 * row)),
        np.zeros(2 * row, np.int32),
    )


def _aligned(size: int) -> np.ndarray:
    """Return `size` zeros in float32 that start on 64 bytes."""
    memory = np.zeros(size + LANES, np.float32)
    start = (-memory.ctypes.data // 4) % LANES
    return memory[start : start + size]


@compiled
def padded_width(width):
    """Return a row's pixels, made up to whole vectors."""
    return (width + LANES - 1) // LANES * LANES


@compiled
def load_flow(u, v, state):
    """Clear the state and put the flow a level starts from into it."""
    height, width = u.shape
    plane = padded_width(width) + LANES
    pitch = NUM_STATE * plane
    state[: (height + 2) * pitch] = _ZERO
    for row in range(height):
        base = (row + 1) * pitch + LANES
        for x in range(width):
            state[base + x] = u[row, x]
            state[base + plane + x] = v[row, x]


@compiled
def save_flow(u, v, state):
    """Put the flow back where it came from."""
    height, width = u.shape
    plane = padded_width(width) + LANES
    for row in range(height):
        base = (row + 1) * NUM_STATE * plane + LANES
        for x in range(width):
            u[row, x] = state[base + x]
            v[row, x] = state[base + plane + x]
