"""TV-L1's loops for one CPU thread, compiled by Numba; `reference.py` says the same in NumPy.

Bit for bit the flow of OpenCV 5's CPU class, because almost the same is not enough: where a level stops turns on the
last digits, one step more or less is 1e-4 px even where nothing moves, and there that decides between bytes 127 and
128. So every sum is in OpenCV's order, nothing is contracted or reordered, sampling uses the fused multiply-adds of its
vector code, lengths are rounded correctly. That also makes the result independent of CPU and vector length. (One thing
is ours: OpenCV adds up a step's error in float32 over the whole image, these kernels by column and then in float64.)

What makes it fast:

- One flat float32 buffer holds ten planes, interleaved by row, each row of a plane starting on 64 bytes and padded to
  full vectors: what a row needs lies together, no loop has a scalar tail, no two streams share their low address bits.
- One sweep per step: u of row r is computed, then p of row r - 1, which needs it. Steps far from stopping run several
  at a time, each one row behind the one before, while their rows are in cache (`_steps_at_once`).
- Lengths are corrected in float32 in place of computed in float64 (`_length`).
- Image and gradient are sampled together, as channels of one pixel.
- The 5 x 5 median is a network over vectors of pixels (`median_cpu`).
"""

from __future__ import annotations

import math

import numpy as np

from tdn_data.pipeline.flow.intrinsics import compiled, fma, load, sample, store
from tdn_data.pipeline.flow.median_cpu import LANES, median5, median_scratch_size

U, V, P11, P12, P21, P22, GRAD_X, GRAD_Y, RHO, SQUARED = range(10)  # planes of a row, in this order
NUM_STATE = 10
_ERRORS, _SAMPLES, _OFFSETS, _FIRST, _WEIGHTS = range(10, 15)
MARGIN = 5  # pixels around the image that is sampled
MAX_STEPS_AT_ONCE = 4

_ZERO, _HALF, _ONE, _TINY = np.float32(0), np.float32(0.5), np.float32(1), np.float32(1e-30)
_FLOOR = np.float32(np.finfo(np.float32).eps)


def workspace(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the buffers `solve_level` works in, for images up to this size: state, image, scratch and offsets."""
    row = width + 2 * LANES
    return (
        _aligned((height + 2) * NUM_STATE * row),
        _aligned((height + 2 * MARGIN) * (width + 2 * MARGIN) * 4 + LANES),
        _aligned(max(median_scratch_size(height, width), (8 + 4) * row)),
        np.zeros(row, np.int64),
    )


def _aligned(size: int) -> np.ndarray:
    """Return `size` zeros in float32 that start on 64 bytes."""
    memory = np.zeros(size + LANES, np.float32)
    start = (-memory.ctypes.data // 4) % LANES
    return memory[start : start + size]


@compiled
def _padded(width):
    return (width + LANES - 1) // LANES * LANES


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
def _sweep(num_steps, height, width, state, scratch, theta, limit, dual_step):
    """Make `num_steps` steps in one pass over the rows; leaves each step's squared changes per column in `scratch`.

    Step t works on row r - t while step 0 works on row r, and p of a row follows once the row below has its new u:

        row    r      u of step 0
        row    r - 1  p of step 0, then u of step 1
        row    r - 2  p of step 1, then u of step 2
    """
    padded = _padded(width)
    plane = padded + LANES
    pitch = NUM_STATE * plane
    for i in range(num_steps * padded):
        scratch[i] = _ZERO
    for front in range(height + num_steps):
        for step in range(num_steps):
            row = front - step
            if 0 <= row < height:
                base = (row + 1) * pitch + LANES
                _primal_row(state, base, base - pitch, plane, padded, scratch, step * padded, theta, limit)
                end = base + width
                state[end] = state[end - 1]  # no gradient across the right edge
                state[end + plane] = state[end - 1 + plane]
            if 1 <= row <= height:
                base = row * pitch + LANES
                below = base + pitch if row < height else base
                _dual_row(state, base, below, plane, padded, dual_step)


@compiled
def _interleave(second, image, edge_pixels):
    """Lay out a level's image and its centred gradient in 4 channels, with a margin of zeros or of the edge."""
    height, width = second.shape
    pitch = (width + 2 * MARGIN) * 4
    for row in range(-MARGIN, height + MARGIN):
        y = min(max(row, 0), height - 1)
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        start = (row + MARGIN) * pitch
        if y != row and not edge_pixels:
            for i in range(start, start + pitch):
                image[i] = _ZERO
            continue
        for column in range(-MARGIN, width + MARGIN):
            x = min(max(column, 0), width - 1)
            i = start + (column + MARGIN) * 4
            inside = _ONE if x == column or edge_pixels else _ZERO
            image[i] = inside * second[y, x]
            image[i + 1] = inside * _HALF * (second[y, min(x + 1, width - 1)] - second[y, max(x - 1, 0)])
            image[i + 2] = inside * _HALF * (second[below, x] - second[above, x])
            image[i + 3] = _ZERO


@compiled
def _store_weights(scratch, at, pitch, share, a):
    """Put the bicubic kernel's weights for one position into four rows of `scratch`."""
    rest, squared = _ONE - share, share * share
    first = a * (share * (rest * rest))
    second = fma(fma(a + np.float32(2), share, -(a + np.float32(3))), squared, _ONE)
    last = a * (rest * squared)
    store(_WEIGHTS, scratch, at, first)
    store(_WEIGHTS, scratch, at + pitch, second)
    store(_WEIGHTS, scratch, at + 2 * pitch, ((_ONE - first) - second) - last)
    store(_WEIGHTS, scratch, at + 3 * pitch, last)


@compiled
def _floor(position):
    """Return the integer at or below a position, in operations that vectorise."""
    whole = np.int32(position)
    return np.int32(whole - np.int32(np.float32(whole) > position))


@compiled
def _place_row(row, height, width, state, base, plane, scratch, offsets, a):
    """Find for each pixel of a row where u points: the first of its 4 x 4 neighbours in `image`, and their weights.

    Positions more than 3 pixels outside are moved there: the margin holds the same from there on.
    """
    padded = _padded(width)
    low, right, bottom = np.float32(-3), np.float32(width + 2), np.float32(height + 2)
    pitch = (width + 2 * MARGIN) * 4
    for x in range(padded):
        x_at = np.float32(x) + load(U, state, base + x)
        y_at = np.float32(row) + load(V, state, base + x + V * plane)
        x_at = x_at if x_at > low else low
        x_at = x_at if x_at < right else right
        y_at = y_at if y_at > low else low
        y_at = y_at if y_at < bottom else bottom
        left, top = _floor(x_at), _floor(y_at)
        _store_weights(scratch, x, padded, x_at - np.float32(left), a)
        _store_weights(scratch, x + 4 * padded, padded, y_at - np.float32(top), a)
        store(_OFFSETS, offsets, x, (top - 1 + MARGIN) * pitch + (left - 1 + MARGIN) * 4)


@compiled
def _linearize_row(first, row, width, state, base, plane, scratch, samples):
    """Turn a row's samples into gradient, constant part of rho and |grad|^2 (eq. 9)."""
    for x in range(width):
        i = base + x
        warped = load(_SAMPLES, scratch, samples + 4 * x)
        grad_x = load(_SAMPLES, scratch, samples + 4 * x + 1)
        grad_y = load(_SAMPLES, scratch, samples + 4 * x + 2)
        rho = ((warped - grad_x * load(U, state, i)) - grad_y * load(V, state, i + V * plane)) - load(
            _FIRST, first, row * width + x
        )
        store(GRAD_X, state, i + GRAD_X * plane, grad_x)
        store(GRAD_Y, state, i + GRAD_Y * plane, grad_y)
        store(RHO, state, i + RHO * plane, rho)
        store(SQUARED, state, i + SQUARED * plane, grad_x * grad_x + grad_y * grad_y)


@compiled
def _linearize(first, height, width, image, state, scratch, offsets, a):
    """Sample the second image where the flow points and linearise around it; `first` is flat."""
    padded = _padded(width)
    plane = padded + LANES
    samples = 8 * padded
    for row in range(height):
        base = (row + 1) * NUM_STATE * plane + LANES
        _place_row(row, height, width, state, base, plane, scratch, offsets, a)
        for x in range(width):
            sample(image, offsets[x], (width + 2 * MARGIN) * 4, scratch, x, padded, scratch, samples + 4 * x)
        _linearize_row(first, row, width, state, base, plane, scratch, samples)


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
def _iterate(height, width, state, scratch, theta, limit, dual_step, inner, outer, median, sparse_check, error_limit):
    """Make steps until one changes the flow by at most `error_limit` in sum of squares; returns how many were made.

    The test is that of `reference.stopping_test`. Were an error to fall below the limit while several steps run at a
    time, those after it would have been made as well.
    """
    padded = _padded(width)
    pitch = NUM_STATE * (padded + LANES)
    expected, error, done = 0.0, np.inf, 0
    while done < inner * outer:
        if median and done % inner == 0:
            median5(state, pitch + LANES, pitch, height, width, scratch)
            median5(state, pitch + LANES + padded + LANES, pitch, height, width, scratch)
        settled = done % inner
        num_steps = min(_steps_at_once(settled, error, error_limit), inner - settled)
        _sweep(num_steps, height, width, state, scratch, theta, limit, dual_step)
        for step in range(num_steps):
            error = 0.0
            for x in range(width):
                error += np.float64(scratch[step * padded + x])
            looked = not sparse_check or (error_limit > 0 and (done + step) % 2 == 1 and expected < error_limit)
            expected = error if looked else expected - error_limit
            if looked and error <= error_limit:
                return done + num_steps
        done += num_steps
    return done


@compiled
def _load_flow(u, v, state):
    """Clear the state and put the flow a level starts from into it."""
    height, width = u.shape
    plane = _padded(width) + LANES
    pitch = NUM_STATE * plane
    for i in range((height + 2) * pitch):
        state[i] = _ZERO
    for row in range(height):
        base = (row + 1) * pitch + LANES
        for x in range(width):
            state[base + x] = u[row, x]
            state[base + plane + x] = v[row, x]


@compiled
def _save_flow(u, v, state):
    """Put the flow back where it came from."""
    height, width = u.shape
    plane = _padded(width) + LANES
    for row in range(height):
        base = (row + 1) * NUM_STATE * plane + LANES
        for x in range(width):
            u[row, x] = state[base + x]
            v[row, x] = state[base + plane + x]


@compiled
def solve_level(first, second, u, v, work, model, counts, switches):
    """Refine the flow between two images of one level in place; returns the number of steps made.

    `first`, `second`: float32 (H, W), values of [0, 255]; `u`, `v`: float32 (H, W), overwritten; all C-contiguous.
    `work`: what `workspace` returned for a size at least this large.
    `model`: float32 theta, lambda theta, tau / theta and the bicubic kernel's coefficient, then the float64 epsilon.
    `counts`: warps, inner and outer iterations. `switches`: median, edge_pixels, sparse_check.
    """
    state, image, scratch, offsets = work
    theta, limit, dual_step, cubic, epsilon = model
    num_warps, inner, outer = counts
    median, edge_pixels, sparse_check = switches
    height, width = first.shape
    _interleave(second, image, edge_pixels)
    _load_flow(u, v, state)
    total = 0
    for _ in range(num_warps):
        _linearize(first.ravel(), height, width, image, state, scratch, offsets, cubic)
        total += _iterate(
            height, width, state, scratch, theta, limit, dual_step, inner, outer, median, sparse_check,
            epsilon * epsilon * height * width,
        )  # fmt: skip
    _save_flow(u, v, state)
    return total
