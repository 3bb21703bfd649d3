"""TV-L1's loops for a batch of pairs on a GPU, in Triton; `reference.py` says the same in NumPy.

One program works on one pair, over all warps and steps of a pyramid level: between them it only waits for its own
threads, stops by its own error, and leaves its multiprocessor to the next pair. No launch or host synchronisation per
step. As on the CPU a step is one sweep: u of a block of pixels, then p of the block one image row further up, whose u
is complete and whose p no later block needs:

    pixels in reading order   ............[ p of block b ][ u of block b ].......
                                          <- one row ->

Roundings are those of `kernels_cpu` (no contraction, IEEE division and roots, explicit fused multiply-adds), so that
the flow is too; sums of errors differ in their order. With TRITON_INTERPRET=1 the same code runs on a CPU, for tests.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

PLANES = 10  # of working memory per pair: four of p, gradient and rho, the second image's gradient, one spare
_FLAT: tl.constexpr = tl.constexpr(float(np.finfo(np.float32).eps))
_TINY: tl.constexpr = tl.constexpr(1e-30)


@triton.jit(do_not_specialize=["height", "width", "new_height", "new_width"])
def resize_kernel(source, target, row_low, row_high, row_share, low, high, share, scale, height, width,
                   new_height, new_width, BLOCK: tl.constexpr):  # fmt: skip
    """Resample one image bilinearly between tabulated pixels and multiply by `scale`."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < new_height * new_width
    y, x = i // new_width, i % new_width
    image = source + tl.program_id(1).to(tl.int64) * height * width
    left, right = tl.load(low + x, inside, other=0), tl.load(high + x, inside, other=0)
    weight = tl.load(share + x, inside, other=0.0)
    upper = image + tl.load(row_low + y, inside, other=0) * width
    lower = image + tl.load(row_high + y, inside, other=0) * width
    first, second = tl.load(upper + left, inside, other=0.0), tl.load(upper + right, inside, other=0.0)
    above = tl.fma(second - first, weight, first)
    first, second = tl.load(lower + left, inside, other=0.0), tl.load(lower + right, inside, other=0.0)
    below = tl.fma(second - first, weight, first)
    value = tl.fma(below - above, tl.load(row_share + y, inside, other=0.0), above)
    start = target + tl.program_id(1).to(tl.int64) * new_height * new_width
    tl.store(start + i, value * scale, inside)


@triton.jit
def _gradient(image, grad_x, grad_y, height, width, BLOCK: tl.constexpr):
    """Write the centred gradient of a whole image; at an edge the pixel itself stands in."""
    for block in range(tl.cdiv(height * width, BLOCK)):
        i = block * BLOCK + tl.arange(0, BLOCK)
        inside = i < height * width
        y, x = i // width, i % width
        row = image + y * width
        right = tl.load(row + tl.minimum(x + 1, width - 1), inside, other=0.0)
        left = tl.load(row + tl.maximum(x - 1, 0), inside, other=0.0)
        below = tl.load(image + tl.minimum(y + 1, height - 1) * width + x, inside, other=0.0)
        above = tl.load(image + tl.maximum(y - 1, 0) * width + x, inside, other=0.0)
        tl.store(grad_x + i, 0.5 * (right - left), inside)
        tl.store(grad_y + i, 0.5 * (below - above), inside)


@triton.jit
def _cubic_weights(share, a):
    """Return the bicubic kernel's four weights."""
    rest, squared = 1.0 - share, share * share
    first = a * (share * (rest * rest))
    second = tl.fma(tl.fma(share * 0.0 + (a + 2.0), share, share * 0.0 - (a + 3.0)), squared, share * 0.0 + 1.0)
    last = a * (rest * squared)
    return first, second, ((1.0 - first) - second) - last, last


@triton.jit
def _tap(image, y, x, inside, height, width, EDGE: tl.constexpr):
    """Return pixels of an image; outside it zero, or the edge."""
    if EDGE:
        y = tl.minimum(tl.maximum(y, 0), height - 1)
        x = tl.minimum(tl.maximum(x, 0), width - 1)
    else:
        inside = inside & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return tl.load(image + y * width + x, inside, other=0.0)


@triton.jit
def _across(image, y, x, w0, w1, w2, w3, inside, height, width, EDGE: tl.constexpr):
    """Return the weighted sum of four neighbouring pixels."""
    total = w0 * _tap(image, y, x, inside, height, width, EDGE)
    total = tl.fma(w1, _tap(image, y, x + 1, inside, height, width, EDGE), total)
    total = tl.fma(w2, _tap(image, y, x + 2, inside, height, width, EDGE), total)
    return tl.fma(w3, _tap(image, y, x + 3, inside, height, width, EDGE), total)


@triton.jit
def _sample(image, y, x, h0, h1, h2, h3, w0, w1, w2, w3, inside, height, width, EDGE: tl.constexpr):
    """Return an image at positions between pixels: across four rows, then down."""
    total = h0 * _across(image, y, x, w0, w1, w2, w3, inside, height, width, EDGE)
    total = tl.fma(h1, _across(image, y + 1, x, w0, w1, w2, w3, inside, height, width, EDGE), total)
    total = tl.fma(h2, _across(image, y + 2, x, w0, w1, w2, w3, inside, height, width, EDGE), total)
    return tl.fma(h3, _across(image, y + 3, x, w0, w1, w2, w3, inside, height, width, EDGE), total)


@triton.jit
def _linearize(first, second, u, v, work, height, width, cubic, EDGE: tl.constexpr, BLOCK: tl.constexpr):
    """Sample the second image and its gradient where the flow points; write gradient and constant part of rho."""
    size = height * width
    for block in range(tl.cdiv(size, BLOCK)):
        i = block * BLOCK + tl.arange(0, BLOCK)
        inside = i < size
        u_at, v_at = tl.load(u + i, inside, other=0.0), tl.load(v + i, inside, other=0.0)
        # beyond 3 pixels outside every tap is the same: keeps the indices in range
        x = tl.minimum(tl.maximum((i % width).to(tl.float32) + u_at, -3.0), (width + 2).to(tl.float32))
        y = tl.minimum(tl.maximum((i // width).to(tl.float32) + v_at, -3.0), (height + 2).to(tl.float32))
        left, top = tl.floor(x), tl.floor(y)
        w0, w1, w2, w3 = _cubic_weights(x - left, cubic)
        h0, h1, h2, h3 = _cubic_weights(y - top, cubic)
        column, row = left.to(tl.int32) - 1, top.to(tl.int32) - 1
        warped = _sample(second, row, column, h0, h1, h2, h3, w0, w1, w2, w3, inside, height, width, EDGE)
        grad_x = _sample(work + 7 * size, row, column, h0, h1, h2, h3, w0, w1, w2, w3, inside, height, width, EDGE)
        grad_y = _sample(work + 8 * size, row, column, h0, h1, h2, h3, w0, w1, w2, w3, inside, height, width, EDGE)
        rho = ((warped - grad_x * u_at) - grad_y * v_at) - tl.load(first + i, inside, other=0.0)
        tl.store(work + 4 * size + i, grad_x, inside)
        tl.store(work + 5 * size + i, grad_y, inside)
        tl.store(work + 6 * size + i, rho, inside)


@triton.jit
def _exchange(a, b):
    return tl.minimum(a, b), tl.maximum(a, b)


@triton.jit
def _sort5(a, b, c, d, e):
    """Sort five numbers."""
    a, b = _exchange(a, b)
    d, e = _exchange(d, e)
    c, e = _exchange(c, e)
    c, d = _exchange(c, d)
    a, d = _exchange(a, d)
    b, e = _exchange(b, e)
    a, c = _exchange(a, c)
    b, d = _exchange(b, d)
    b, c = _exchange(b, c)
    return a, b, c, d, e


@triton.jit
def _median7(a, b, c, d, e, f, g):
    """Return the fourth of seven numbers."""
    a, f = _exchange(a, f)
    a, d = _exchange(a, d)
    b, g = _exchange(b, g)
    c, e = _exchange(c, e)
    a, b = _exchange(a, b)
    d, f = _exchange(d, f)
    c, g = _exchange(c, g)
    c, d = _exchange(c, d)
    d, g = _exchange(d, g)
    e, f = _exchange(e, f)
    b, e = _exchange(b, e)
    b, d = _exchange(b, d)
    return tl.minimum(d, e)


@triton.jit
def _sorted_column(plane, y, x, inside, height, width):
    """Return the five values above each other around (y, x), sorted; edges are repeated."""
    return _sort5(
        _tap(plane, y - 2, x, inside, height, width, True),
        _tap(plane, y - 1, x, inside, height, width, True),
        _tap(plane, y, x, inside, height, width, True),
        _tap(plane, y + 1, x, inside, height, width, True),
        _tap(plane, y + 2, x, inside, height, width, True),
    )


@triton.jit
def _median_plane(plane, spare, height, width, BLOCK: tl.constexpr):
    """Replace a plane by its 5 x 5 median; the network is that of `median_cpu`."""
    for block in range(tl.cdiv(height * width, BLOCK)):
        i = block * BLOCK + tl.arange(0, BLOCK)
        inside = i < height * width
        y, x = i // width, i % width
        a0, a1, a2, a3, a4 = _sorted_column(plane, y, x - 2, inside, height, width)
        b0, b1, b2, b3, b4 = _sorted_column(plane, y, x - 1, inside, height, width)
        c0, c1, c2, c3, c4 = _sorted_column(plane, y, x, inside, height, width)
        d0, d1, d2, d3, d4 = _sorted_column(plane, y, x + 1, inside, height, width)
        e0, e1, e2, e3, e4 = _sorted_column(plane, y, x + 2, inside, height, width)
        _, _, _, low, middle0 = _sort5(a0, b0, c0, d0, e0)
        _, _, low1, middle1, high = _sort5(a1, b1, c1, d1, e1)
        _, low2, middle2, high2, _ = _sort5(a2, b2, c2, d2, e2)
        low3, middle3, high3, _, _ = _sort5(a3, b3, c3, d3, e3)
        middle4, high4, _, _, _ = _sort5(a4, b4, c4, d4, e4)
        low = tl.maximum(tl.maximum(low, low1), tl.maximum(low2, low3))
        high = tl.minimum(tl.minimum(high, high2), tl.minimum(high3, high4))
        tl.store(spare + i, _median7(low, middle0, middle1, middle2, middle3, middle4, high), inside)
    tl.debug_barrier()
    for block in range(tl.cdiv(height * width, BLOCK)):
        i = block * BLOCK + tl.arange(0, BLOCK)
        inside = i < height * width
        tl.store(plane + i, tl.load(spare + i, inside, other=0.0), inside)
    tl.debug_barrier()


@triton.jit
def _divergence(p_x, p_y, i, x, y, inside, width):
    """Return the backward differences' sum; the first column is added up in another order, as in OpenCV."""
    here_x, here_y = tl.load(p_x + i, inside, other=0.0), tl.load(p_y + i, inside, other=0.0)
    left = tl.load(p_x + i - 1, inside & (x > 0), other=0.0)
    above = tl.load(p_y + i - width, inside & (y > 0), other=0.0)
    return tl.where(x > 0, (here_x - left) + (here_y - above), (here_x + here_y) - above)


@triton.jit
def _length(x, y):
    """Return sqrt(x * x + y * y) correctly rounded, as in `kernels_cpu`."""
    xx, yy = x * x, y * y
    total = xx + yy
    part = total - xx
    error = ((xx - (total - part)) + (yy - part)) + (tl.fma(x, x, -xx) + tl.fma(y, y, -yy))
    root = tl.sqrt_rn(total + _TINY)
    return tl.fma(tl.fma(-root, root, total) + error, tl.div_rn(root * 0.0 + 0.5, root), root)


@triton.jit
def _update_u(u, v, work, size, i, width, inside, theta, limit):
    """Update u and v of a block (eq. 13 and 15); returns its squared change."""
    y, x = i // width, i % width
    u_old, v_old = tl.load(u + i, inside, other=0.0), tl.load(v + i, inside, other=0.0)
    grad_x = tl.load(work + 4 * size + i, inside, other=0.0)
    grad_y = tl.load(work + 5 * size + i, inside, other=0.0)
    squared = grad_x * grad_x + grad_y * grad_y
    rho = tl.load(work + 6 * size + i, inside, other=0.0) + (grad_x * u_old + grad_y * v_old)
    bound = limit * squared
    step = tl.where(squared > _FLAT, tl.div_rn(-rho, tl.maximum(squared, _FLAT)), 0.0)
    step = tl.where(rho > bound, -limit, step)
    step = tl.where(rho < -bound, limit, step)
    u_new = (u_old + step * grad_x) + theta * _divergence(work, work + size, i, x, y, inside, width)
    v_new = (v_old + step * grad_y) + theta * _divergence(work + 2 * size, work + 3 * size, i, x, y, inside, width)
    tl.store(u + i, u_new, inside)
    tl.store(v + i, v_new, inside)
    du, dv = u_new - u_old, v_new - v_old
    return tl.where(inside, du * du + dv * dv, 0.0)


@triton.jit
def _update_p(plane, p_x, p_y, i, inside, height, width, step):
    """Update p of a block from the forward gradient of one component (eq. 14)."""
    y, x = i // width, i % width
    here = tl.load(plane + i, inside, other=0.0)
    right = tl.load(plane + i + 1, inside & (x < width - 1), other=0.0)
    below = tl.load(plane + i + width, inside & (y < height - 1), other=0.0)
    d_x, d_y = tl.where(x < width - 1, right - here, 0.0), tl.where(y < height - 1, below - here, 0.0)
    norm = 1.0 + step * _length(d_x, d_y)
    tl.store(p_x + i, tl.div_rn(tl.load(p_x + i, inside, other=0.0) + step * d_x, norm), inside)
    tl.store(p_y + i, tl.div_rn(tl.load(p_y + i, inside, other=0.0) + step * d_y, norm), inside)


@triton.jit
def _sweep(u, v, work, height, width, theta, limit, dual_step, BLOCK: tl.constexpr):
    """Make one step; returns the sum of squared changes (float64)."""
    size = height * width
    errors = tl.zeros([BLOCK], tl.float32)
    for block in range(tl.cdiv(size + width, BLOCK)):
        i = block * BLOCK + tl.arange(0, BLOCK)
        errors += _update_u(u, v, work, size, i, width, i < size, theta, limit)
        tl.debug_barrier()
        j = i - width
        inside = (j >= 0) & (j < size)
        _update_p(u, work, work + size, j, inside, height, width, dual_step)
        _update_p(v, work + 2 * size, work + 3 * size, j, inside, height, width, dual_step)
    tl.debug_barrier()
    return tl.sum(errors.to(tl.float64), 0)


@triton.jit(do_not_specialize=["height", "width", "num_linearizations", "inner", "outer"])
def solve_kernel(frames, firsts, seconds, flow, work, steps, height, width, theta, limit, dual_step, cubic,
                  error_limit, num_linearizations, inner, outer, MEDIAN: tl.constexpr, EDGE: tl.constexpr,
                  SPARSE: tl.constexpr, PLANES: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Refine one pair's flow at one level, over all its warps; counts the steps made."""
    pair = tl.program_id(0).to(tl.int64)
    size = height * width
    first = frames + tl.load(firsts + pair) * size
    second = frames + tl.load(seconds + pair) * size
    u, v = flow + pair * 2 * size, flow + (pair * 2 + 1) * size
    work += pair * PLANES * size
    _gradient(second, work + 7 * size, work + 8 * size, height, width, BLOCK)
    tl.debug_barrier()
    total = 0
    for _ in range(num_linearizations):
        _linearize(first, second, u, v, work, height, width, cubic, EDGE, BLOCK)
        tl.debug_barrier()
        done = 0
        expected = tl.zeros([], tl.float64)
        while done < inner * outer:
            if MEDIAN and done % inner == 0:
                _median_plane(u, work + 9 * size, height, width, BLOCK)
                _median_plane(v, work + 9 * size, height, width, BLOCK)
            error = _sweep(u, v, work, height, width, theta, limit, dual_step, BLOCK)
            total += 1
            if SPARSE:
                looked = (done % 2 == 1) & (expected < error_limit) & (error_limit > 0)
                expected = tl.where(looked, error, expected - error_limit)
                done = tl.where(looked & (error <= error_limit), inner * outer, done + 1)
            else:
                done = tl.where(error <= error_limit, inner * outer, done + 1)
    tl.store(steps + pair, total)
