"""TV-L1's loops for one CPU thread, compiled by Numba; `reference.py` says the same in NumPy.

Bit for bit the flow of OpenCV 5's CPU class unless `fast` is asked for, because almost the same is not enough: where a
level stops turns on the last digits, one step more or less is 1e-4 px even where nothing moves, and there that decides
between bytes 127 and 128. So every sum is in OpenCV's order, nothing is contracted or reordered, sampling uses the
fused multiply-adds of its vector code, lengths are rounded correctly. That also makes the result independent of CPU and
vector length. (One thing is ours: OpenCV adds up a step's error in float32 over the whole image, these kernels by
column and then in float64.)

What makes it fast:

- The planes of a level lie interleaved by row in one buffer (`planes_cpu`).
- One sweep per step: u of row r is computed, then p of row r - 1, which needs it. Steps far from stopping run several
  at a time, each one row behind the one before, while their rows are in cache (`_steps_at_once`).
- Lengths are corrected in float32 in place of computed in float64 (`_length`).
- Image and gradient are sampled together, a run of pixels at a time (`linearize_cpu`).
- The 5 x 5 median is a network over vectors of pixels (`median_cpu`).

The preset `fast` takes other rows (`fast_rows_cpu`) and more steps at a time; all else is the same code.
"""

from __future__ import annotations

import math

import numpy as np

from tdn_data.pipeline.flow.fast_rows_cpu import dual_row as fast_dual_row
from tdn_data.pipeline.flow.fast_rows_cpu import invert
from tdn_data.pipeline.flow.fast_rows_cpu import primal_row as fast_primal_row
from tdn_data.pipeline.flow.intrinsics import compiled, fma, load, store
from tdn_data.pipeline.flow.linearize_cpu import lay_out, linearize
from tdn_data.pipeline.flow.median_cpu import LANES, median5
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
    load_flow,
    padded_width,
    save_flow,
)

_ERRORS = 10
MAX_STEPS_AT_ONCE, MAX_FAST_STEPS = 4, 8

_ZERO, _HALF, _ONE, _TINY = np.float32(0), np.float32(0.5), np.float32(1), np.float32(1e-30)
_FLOOR = np.float32(np.finfo(np.float32).eps)


@compiled
def _data_step(rho, squared, limit):
    """Return how far to go along the gradient to make the residual vanish, at most `limit` (eq. 15)."""
    bound = limit * squared
    step = -rho / squared
    step = step if squared > _FLOOR else _ZERO
    step = -limit if rho > bound else step
    return limit if rho < -bound else step


@compiled
def _length(x, y):
    """Return sqrt(x * x + y * y) correctly rounded: the errors of squares, sum and root are computed and put back."""
    xx, yy = x * x, y * y
    total = xx + yy
    part = total - xx
    error = ((xx - (total - part)) + (yy - part)) + (fma(x, x, -xx) + fma(y, y, -yy))
    root = math.sqrt(total + _TINY)
    return fma(fma(-root, root, total) + error, _HALF / root, root)


@compiled
def _primal_row(state, base, above, plane, width, scratch, errors, theta, limit):
    """Update u and v of the row at `base` (eq. 13 and 15), adding the squared change to each column's error."""
    first_u, first_v, first_error = state[base], state[base + V * plane], scratch[errors]
    for x in range(width):
        i = base + x
        j = above + x
        u = load(U, state, i)
        v = load(V, state, i + V * plane)
        grad_x = load(GRAD_X, state, i + GRAD_X * plane)
        grad_y = load(GRAD_Y, state, i + GRAD_Y * plane)
        rho = load(RHO, state, i + RHO * plane) + (grad_x * u + grad_y * v)
        step = _data_step(rho, load(SQUARED, state, i + SQUARED * plane), limit)
        p11, left1 = load(P11, state, i + P11 * plane), load(P11, state, i + P11 * plane - 1)
        p12, above1 = load(P12, state, i + P12 * plane), load(P12, state, j + P12 * plane)
        p21, left2 = load(P21, state, i + P21 * plane), load(P21, state, i + P21 * plane - 1)
        p22, above2 = load(P22, state, i + P22 * plane), load(P22, state, j + P22 * plane)
        new_u = (u + step * grad_x) + theta * ((p11 - left1) + (p12 - above1))
        new_v = (v + step * grad_y) + theta * ((p21 - left2) + (p22 - above2))
        store(U, state, i, new_u)
        store(V, state, i + V * plane, new_v)
        du = new_u - u
        dv = new_v - v
        store(_ERRORS, scratch, errors + x, load(_ERRORS, scratch, errors + x) + (du * du + dv * dv))
    _first_column(state, base, above, plane, first_u, first_v, theta, limit)
    du = state[base] - first_u
    dv = state[base + V * plane] - first_v
    scratch[errors] = first_error + (du * du + dv * dv)


@compiled
def _first_column(state, base, above, plane, u, v, theta, limit):
    """Redo a row's first pixel, where OpenCV adds up the divergence in another order."""
    grad_x, grad_y = state[base + GRAD_X * plane], state[base + GRAD_Y * plane]
    rho = state[base + RHO * plane] + (grad_x * u + grad_y * v)
    step = _data_step(rho, state[base + SQUARED * plane], limit)
    divergence1 = (state[base + P11 * plane] + state[base + P12 * plane]) - state[above + P12 * plane]
    divergence2 = (state[base + P21 * plane] + state[base + P22 * plane]) - state[above + P22 * plane]
    state[base] = (u + step * grad_x) + theta * divergence1
    state[base + V * plane] = (v + step * grad_y) + theta * divergence2


@compiled
def _dual_row(state, base, below, plane, width, step):
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
        norm1 = _ONE + step * _length(u_x, u_y)
        norm2 = _ONE + step * _length(v_x, v_y)
        store(P11, state, i + P11 * plane, (load(P11, state, i + P11 * plane) + step * u_x) / norm1)
        store(P12, state, i + P12 * plane, (load(P12, state, i + P12 * plane) + step * u_y) / norm1)
        store(P21, state, i + P21 * plane, (load(P21, state, i + P21 * plane) + step * v_x) / norm2)
        store(P22, state, i + P22 * plane, (load(P22, state, i + P22 * plane) + step * v_y) / norm2)


@compiled
def _sweep(num_steps, height, width, state, scratch, theta, limit, dual_step, fast):
    """Make `num_steps` steps in one pass over the rows; leaves each step's squared changes per column in `scratch`.

    Step t works on row r - t while step 0 works on row r, and p of a row follows once the row below has its new u:

        row    r      u of step 0
        row    r - 1  p of step 0, then u of step 1
        row    r - 2  p of step 1, then u of step 2
    """
    padded = padded_width(width)
    plane = padded + LANES
    pitch = NUM_STATE * plane
    for i in range(num_steps * padded):
        scratch[i] = _ZERO
    for front in range(height + num_steps):
        for step in range(num_steps):
            row = front - step
            if 0 <= row < height:
                base = (row + 1) * pitch + LANES
                above, errors = base - pitch, step * padded
                if fast:
                    counted = step == num_steps - 1
                    fast_primal_row(state, base, above, plane, padded, scratch, errors, theta, limit, counted)
                else:
                    _primal_row(state, base, above, plane, padded, scratch, errors, theta, limit)
                end = base + width
                state[end] = state[end - 1]  # no gradient across the right edge
                state[end + plane] = state[end - 1 + plane]
            if 1 <= row <= height:
                base = row * pitch + LANES
                below = base + pitch if row < height else base
                if fast:
                    fast_dual_row(state, base, below, plane, padded, dual_step)
                else:
                    _dual_row(state, base, below, plane, padded, dual_step)


@compiled
def _steps_at_once(settled, error, limit):
    """Return how many steps to make before looking again: more than one only while far from stopping.

    The error falls steeply over the first steps, then by some per cent a step; `settled` counts steps since the median.
    """
    if settled < 4:
        return 1
    if error > 6 * limit:
        return MAX_STEPS_AT_ONCE
    return 2 if error > 3 * limit else 1


@compiled
def _fast_steps_at_once(settled, error, limit):
    """Like `_steps_at_once`, nearer to the stop: over four steps a settled error falls by less than a factor of e.

    Of 450 levels' warps at 340 x 256 none was made a step too many; a share of 0.57 of the passes is left.
    """
    if settled < 4:
        return 4 - settled if settled > 0 and error > 20 * limit else 1
    if error <= limit:
        return 1
    return max(1, min(MAX_FAST_STEPS, int(4 * math.log(error / limit)))) if limit > 0 else MAX_FAST_STEPS


@compiled
def _error(scratch, step, width):
    """Return a step's squared changes, summed over the columns."""
    padded, error = padded_width(width), 0.0
    for x in range(width):
        error += np.float64(scratch[step * padded + x])
    return error


@compiled
def _iterate(
    height, width, state, scratch, theta, limit, dual_step, inner, outer, median, sparse_check, fast, error_limit
):
    """Make steps until one changes the flow by at most `error_limit` in sum of squares; returns how many were made.

    The test is that of `reference.stopping_test`. Were an error to fall below the limit while several steps run at a
    time, those after it would have been made as well; `fast` looks at the last of them alone.
    """
    padded = padded_width(width)
    pitch = NUM_STATE * (padded + LANES)
    expected, error, done = 0.0, np.inf, 0
    while done < inner * outer:
        if median and done % inner == 0:
            median5(state, pitch + LANES, pitch, height, width, scratch)
            median5(state, pitch + LANES + padded + LANES, pitch, height, width, scratch)
        settled = done % inner
        if fast:
            num_steps = min(_fast_steps_at_once(settled, error, error_limit), inner - settled)
        else:
            num_steps = min(_steps_at_once(settled, error, error_limit), inner - settled)
        _sweep(num_steps, height, width, state, scratch, theta, limit, dual_step, fast)
        for step in range(num_steps - 1 if fast else 0, num_steps):
            error = _error(scratch, step, width)
            looked = not sparse_check or (error_limit > 0 and (done + step) % 2 == 1 and expected < error_limit)
            expected = error if looked else expected - error_limit
            if looked and error <= error_limit:
                return done + num_steps
        done += num_steps
    return done


@compiled
def solve_level(first, second, u, v, work, model, counts, switches):
    """Refine the flow between two images of one level in place; returns the number of steps made.

    `first`, `second`: float32 (H, W), values of [0, 255]; `u`, `v`: float32 (H, W), overwritten; all C-contiguous.
    `work`: what `workspace` returned for a size at least this large.
    `model`: float32 theta, lambda theta, tau / theta and the bicubic kernel's coefficient, then the float64 epsilon.
    `counts`: warps, inner and outer iterations. `switches`: median, edge_pixels, sparse_check, fast.
    """
    state, image, scratch, shifts = work
    theta, limit, dual_step, cubic, epsilon = model
    num_warps, inner, outer = counts
    median, edge_pixels, sparse_check, fast = switches
    height, width = first.shape
    lay_out(second, image, edge_pixels)
    load_flow(u, v, state)
    total = 0
    for _ in range(num_warps):
        linearize(first, height, width, image, state, scratch, shifts, cubic)
        if fast:
            invert(height, width, state)
        total += _iterate(
            height, width, state, scratch, theta, limit, dual_step, inner, outer, median, sparse_check, fast,
            epsilon * epsilon * height * width,
        )  # fmt: skip
    save_flow(u, v, state)
    return total
