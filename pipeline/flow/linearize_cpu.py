"""Sampling the second image where the flow points, and the linear model of brightness around there (eq. 9), on a CPU.

Image and gradient are sampled bicubically, with the fused multiply-adds and the order of OpenCV's vector code. The
flow hardly changes from pixel to pixel, so the neighbours of a run of pixels lie side by side and are read as vectors:
where whole pixels of the flow differ by one at most along the run, all of it reads a window of 5 x 5 from one place,
and a pixel's own 4 x 4 weights stand at the window's start or one later, with zeros in what is left.

    flow in x    2.7  2.9  3.1  3.4      whole pixels 2 or 3: one run, read from 2 on
    weights      abcd0 abcd0 0abcd 0abcd
"""

from __future__ import annotations

import numpy as np

from tdn_data.pipeline.flow.intrinsics import compiled, fma, load, store
from tdn_data.pipeline.flow.median_cpu import LANES
from tdn_data.pipeline.flow.planes_cpu import GRAD_X, GRAD_Y, MARGIN, NUM_STATE, RHO, SQUARED, U, V, padded_width

_SHARE_X, _SHARE_Y, _SHIFT_X, _SHIFT_Y, _FIRST, _IMAGE = range(10, 16)

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)


@compiled
def _image_pitch(width):
    return 3 * (padded_width(width) + 2 * LANES)


@compiled
def lay_out(second, image, edge_pixels):
    """Lay out a level's image and its centred gradient as three planes, with a margin of zeros or of the edge."""
    height, width = second.shape
    pitch = _image_pitch(width)
    plane = pitch // 3
    for row in range(-MARGIN, height + MARGIN):
        y = min(max(row, 0), height - 1)
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        start = (row + MARGIN) * pitch
        image[start : start + pitch] = _ZERO
        if y != row and not edge_pixels:
            continue
        at = start + LANES
        for x in range(width):
            image[at + x] = second[y, x]
            image[at + 2 * plane + x] = _HALF * (second[below, x] - second[above, x])
        for x in range(1, width - 1):
            image[at + plane + x] = _HALF * (second[y, x + 1] - second[y, x - 1])
        for x in (0, width - 1):
            image[at + plane + x] = _HALF * (second[y, min(x + 1, width - 1)] - second[y, max(x - 1, 0)])
        if edge_pixels:
            for channel in range(3):
                line = at + channel * plane
                image[line - LANES : line] = image[line]
                image[line + width : line - LANES + plane] = image[line + width - 1]


@compiled
def _floor(position):
    """Return the integer at or below a position, in operations that vectorise."""
    whole = np.int32(position)
    return np.int32(whole - np.int32(np.float32(whole) > position))


@compiled
def _place_row(row, height, width, state, base, plane, scratch, shifts):
    """Part the flow of a row into whole pixels (`shifts`: x, then y) and what is left of it (`scratch`: x, then y).

    Positions more than 3 pixels outside are moved there: the margin holds the same from there on.
    """
    padded = padded_width(width)
    low, right, bottom = np.float32(-3), np.float32(width + 2), np.float32(height + 2)
    for x in range(padded):
        x_at = np.float32(x) + load(U, state, base + x)
        y_at = np.float32(row) + load(V, state, base + x + V * plane)
        x_at = x_at if x_at > low else low
        x_at = x_at if x_at < right else right
        y_at = y_at if y_at > low else low
        y_at = y_at if y_at < bottom else bottom
        left, top = _floor(x_at), _floor(y_at)
        store(_SHARE_X, scratch, x, x_at - np.float32(left))
        store(_SHARE_Y, scratch, x + padded, y_at - np.float32(top))
        store(_SHIFT_X, shifts, x, np.int32(left - np.int32(x)))
        store(_SHIFT_Y, shifts, x + padded, np.int32(top - np.int32(row)))


@compiled
def _spread(shifts, start, end, padded, low_x, high_x, low_y, high_y):
    """Widen the ranges of a run's shifts by those of the pixels from `start` to `end`."""
    for x in range(start, end):
        shift_x, shift_y = load(_SHIFT_X, shifts, x), load(_SHIFT_Y, shifts, x + padded)
        low_x, high_x = min(low_x, shift_x), max(high_x, shift_x)
        low_y, high_y = min(low_y, shift_y), max(high_y, shift_y)
    return low_x, high_x, low_y, high_y


@compiled
def _run(shifts, start, width, padded):
    """Return where the longest run from `start` ends, and its least shifts along x and y."""
    low_x = high_x = load(_SHIFT_X, shifts, start)
    low_y = high_y = load(_SHIFT_Y, shifts, start + padded)
    count = LANES
    while start < width:
        end = min(start + count, width)
        lower_x, higher_x, lower_y, higher_y = _spread(shifts, start, end, padded, low_x, high_x, low_y, high_y)
        if higher_x - lower_x <= 1 and higher_y - lower_y <= 1:
            low_x, high_x, low_y, high_y = lower_x, higher_x, lower_y, higher_y
            start = end
        elif count == 1:
            break
        else:
            count = 1  # the run ends among these: look one by one
    return start, low_x, low_y


@compiled
def _weights(share, late, a):
    """Return the bicubic kernel's weights for one position in a window of five: from its start, or one later."""
    rest, squared = _ONE - share, share * share
    first = a * (share * (rest * rest))
    second = fma(fma(a + np.float32(2), share, -(a + np.float32(3))), squared, _ONE)
    last = a * (rest * squared)
    third = ((_ONE - first) - second) - last
    return (
        _ZERO if late else first,
        first if late else second,
        second if late else third,
        third if late else last,
        last if late else _ZERO,
    )


@compiled
def _across(image, at, weights):
    total = weights[0] * load(_IMAGE, image, at)
    total = fma(weights[1], load(_IMAGE, image, at + 1), total)
    total = fma(weights[2], load(_IMAGE, image, at + 2), total)
    total = fma(weights[3], load(_IMAGE, image, at + 3), total)
    return fma(weights[4], load(_IMAGE, image, at + 4), total)


@compiled
def _window(image, at, pitch, across, down):
    """Weigh 5 x 5 pixels from `image[at]` on: along each row, then down."""
    total = down[0] * _across(image, at, across)
    total = fma(down[1], _across(image, at + pitch, across), total)
    total = fma(down[2], _across(image, at + 2 * pitch, across), total)
    total = fma(down[3], _across(image, at + 3 * pitch, across), total)
    return fma(down[4], _across(image, at + 4 * pitch, across), total)


@compiled
def _linearize_run(start, count, row, width, image, state, base, plane, scratch, shifts, shift_x, shift_y, a):
    """Set gradient, constant part of rho and |grad|^2 of a run of pixels of a row, read from one shift on."""
    padded = padded_width(width)
    pitch = _image_pitch(width)
    window = (row + shift_y - 1 + MARGIN) * pitch + LANES + shift_x - 1
    for x in range(start, start + count):
        i = base + x
        across = _weights(load(_SHARE_X, scratch, x), load(_SHIFT_X, shifts, x) > shift_x, a)
        down = _weights(load(_SHARE_Y, scratch, x + padded), load(_SHIFT_Y, shifts, x + padded) > shift_y, a)
        warped = _window(image, window + x, pitch, across, down)
        grad_x = _window(image, window + x + pitch // 3, pitch, across, down)
        grad_y = _window(image, window + x + 2 * (pitch // 3), pitch, across, down)
        rho = ((warped - grad_x * load(U, state, i)) - grad_y * load(V, state, i + V * plane)) - load(
            _FIRST, scratch, x + 2 * padded
        )
        store(GRAD_X, state, i + GRAD_X * plane, grad_x)
        store(GRAD_Y, state, i + GRAD_Y * plane, grad_y)
        store(RHO, state, i + RHO * plane, rho)
        store(SQUARED, state, i + SQUARED * plane, grad_x * grad_x + grad_y * grad_y)


@compiled
def linearize(first, height, width, image, state, scratch, shifts, a):
    """Sample the second image where the flow points and linearise around it.

    `first`: the first image, float32 (H, W); `image`: what `lay_out` made of the second; `a`: of the bicubic kernel.
    """
    padded = padded_width(width)
    plane = padded + LANES
    for row in range(height):
        base = (row + 1) * NUM_STATE * plane + LANES
        _place_row(row, height, width, state, base, plane, scratch, shifts)
        for x in range(width):
            scratch[x + 2 * padded] = first[row, x]
        start = 0
        while start < width:
            end, shift_x, shift_y = _run(shifts, start, width, padded)
            count = padded_width(end - start)  # whole vectors: the next run overwrites what this one sets too much
            _linearize_run(
                start, count, row, width, image, state, base, plane, scratch, shifts, shift_x, shift_y, a
            )  # fmt: skip
            start = end
