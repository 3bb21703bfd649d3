"""A TV-L1 step's two halves for one row, as the preset `fast` makes them: `kernels_cpu`'s in fewer instructions.

1 / |gradient|^2 is computed once a warp, a length is the hardware's square root, a division by it one reciprocal for
both components, sums of the dual step are fused multiply-adds. All of these are rounded as IEEE 754 says, and none is
the processor's own approximation, so that the result is the same on every processor and for every vector length. From
the exact rows it differs in the last digit or two, a step.

What both read of the state stands in both files: as functions of their own, inlined by LLVM or by Numba, the same reads
cost either preset 7 to 29 % of its time.
"""

from __future__ import annotations

import math

import numpy as np

from tdn_data.pipeline.flow.intrinsics import compiled, fma, load, store
from tdn_data.pipeline.flow.median_cpu import LANES
from tdn_data.pipeline.flow.planes_cpu import (
    GRAD_X,
    GRAD_Y,
    NUM_STATE,
    P11,
    P12,
    P21,
    P22,
    RHO,
    SQUARED,
    U,
    V,
    padded_width,
)

_ERRORS = 10
_ONE, _TINY = np.float32(1), np.float32(1e-10)


@compiled
def invert(height, width, state):
    """Replace |gradient|^2 by -1 / |gradient|^2, which stays finite where there is no gradient."""
    padded = padded_width(width)
    plane = padded + LANES
    for row in range(1, height + 1):
        first = (row * NUM_STATE + SQUARED) * plane + LANES
        for i in range(first, first + padded):
            store(SQUARED, state, i, -_ONE / (load(SQUARED, state, i) + _TINY))


@compiled
def primal_row(state, base, above, plane, width, scratch, errors, theta, limit, counted):
    """Update u and v of the row at `base` (eq. 13 and 15); `counted`: add the squared change to each column's error."""
    for x in range(width):
        i = base + x
        j = above + x
        u = load(U, state, i)
        v = load(V, state, i + V * plane)
        grad_x = load(GRAD_X, state, i + GRAD_X * plane)
        grad_y = load(GRAD_Y, state, i + GRAD_Y * plane)
        rho = load(RHO, state, i + RHO * plane) + (grad_x * u + grad_y * v)
        step = rho * load(SQUARED, state, i + SQUARED * plane)
        step = step if step < limit else limit
        step = step if step > -limit else -limit
        p11, left1 = load(P11, state, i + P11 * plane), load(P11, state, i + P11 * plane - 1)
        p12, above1 = load(P12, state, i + P12 * plane), load(P12, state, j + P12 * plane)
        p21, left2 = load(P21, state, i + P21 * plane), load(P21, state, i + P21 * plane - 1)
        p22, above2 = load(P22, state, i + P22 * plane), load(P22, state, j + P22 * plane)
        new_u = (u + step * grad_x) + theta * ((p11 - left1) + (p12 - above1))
        new_v = (v + step * grad_y) + theta * ((p21 - left2) + (p22 - above2))
        store(U, state, i, new_u)
        store(V, state, i + V * plane, new_v)
        if counted:
            du, dv = new_u - u, new_v - v
            store(_ERRORS, scratch, errors + x, fma(du, du, fma(dv, dv, load(_ERRORS, scratch, errors + x))))


@compiled
def dual_row(state, base, below, plane, width, step):
    """Update p of the row at `base` from the forward gradient of u and v (eq. 14)."""
    for x in range(width):
        i = base + x
        j = below + x
        u = load(U, state, i)
        v = load(V, state, i + V * plane)
        u_x = load(U, state, i + 1) - u
        u_y = load(U, state, j) - u
        v_x = load(V, state, i + 1 + V * plane) - v
        v_y = load(V, state, j + V * plane) - v
        scale1 = _ONE / fma(step, math.sqrt(fma(u_x, u_x, u_y * u_y)), _ONE)
        scale2 = _ONE / fma(step, math.sqrt(fma(v_x, v_x, v_y * v_y)), _ONE)
        store(P11, state, i + P11 * plane, fma(step, u_x, load(P11, state, i + P11 * plane)) * scale1)
        store(P12, state, i + P12 * plane, fma(step, u_y, load(P12, state, i + P12 * plane)) * scale1)
        store(P21, state, i + P21 * plane, fma(step, v_x, load(P21, state, i + P21 * plane)) * scale2)
        store(P22, state, i + P22 * plane, fma(step, v_y, load(P22, state, i + P22 * plane)) * scale2)
