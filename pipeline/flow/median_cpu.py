"""The 5 x 5 median of a plane, as a network of minima and maxima whose lanes are pixels.

Sort each column of five once, then, for a pixel, each rank over its five columns. That leaves a 5 x 5 grid whose rows
and columns both rise, and in it the median of the 25 lies between the diagonals:

    . . . L M      L: at least 6 of the 25 are below three of them, so only the largest L can be the median
    . . L M H      H: likewise only the smallest
    . L M H .      the median of the 25 is the median of max(L), min(H) and the five M
    L M H . .
    M H . . .
"""

from __future__ import annotations

from tdn_data.pipeline.flow.intrinsics import compiled, load, store

_COPY, _RANK0, _RANK1, _RANK2, _RANK3, _RANK4, _RESULT, _PLANE = range(20, 28)
LANES = 16


def median_scratch_size(height: int, width: int) -> int:
    """Return how many floats `median5` needs to work in."""
    return (height + 4 + 6) * (width + 2 * LANES)


@compiled
def _low(a, b):
    return a if a < b else b


@compiled
def _high(a, b):
    return a if a > b else b


@compiled
def _sort5(a, b, c, d, e):
    """Sort five numbers; the compiler drops what the caller does not use."""
    a, b = _low(a, b), _high(a, b)
    d, e = _low(d, e), _high(d, e)
    c, e = _low(c, e), _high(c, e)
    c, d = _low(c, d), _high(c, d)
    a, d = _low(a, d), _high(a, d)
    b, e = _low(b, e), _high(b, e)
    a, c = _low(a, c), _high(a, c)
    b, d = _low(b, d), _high(b, d)
    b, c = _low(b, c), _high(b, c)
    return a, b, c, d, e


@compiled
def _median7(a, b, c, d, e, f, g):
    """Return the fourth of seven numbers."""
    a, f = _low(a, f), _high(a, f)
    a, d = _low(a, d), _high(a, d)
    b, g = _low(b, g), _high(b, g)
    c, e = _low(c, e), _high(c, e)
    a, b = _low(a, b), _high(a, b)
    d, f = _low(d, f), _high(d, f)
    c, g = _low(c, g), _high(c, g)
    c, d = _low(c, d), _high(c, d)
    d, g = _low(d, g), _high(d, g)
    e, f = _low(e, f), _high(e, f)
    b, e = _low(b, e), _high(b, e)
    b, d = _low(b, d), _high(b, d)
    return _low(d, e)


@compiled
def _sort_columns(scratch, rows, pitch, ranks):
    """Sort the five values above each other of every column: five rows at `rows` to five at `ranks`."""
    for x in range(pitch):
        i = rows + x
        a, b, c, d, e = _sort5(
            load(_COPY, scratch, i),
            load(_COPY, scratch, i + pitch),
            load(_COPY, scratch, i + 2 * pitch),
            load(_COPY, scratch, i + 3 * pitch),
            load(_COPY, scratch, i + 4 * pitch),
        )
        store(_RANK0, scratch, ranks + x, a)
        store(_RANK1, scratch, ranks + pitch + x, b)
        store(_RANK2, scratch, ranks + 2 * pitch + x, c)
        store(_RANK3, scratch, ranks + 3 * pitch + x, d)
        store(_RANK4, scratch, ranks + 4 * pitch + x, e)


@compiled
def _median_row(scratch, ranks, pitch, width, result):
    """Take the median of five neighbouring columns, for each pixel of a row."""
    for x in range(width):
        i = ranks + x
        a, b, c, d, e = _sort5(
            load(_RANK0, scratch, i),
            load(_RANK0, scratch, i + 1),
            load(_RANK0, scratch, i + 2),
            load(_RANK0, scratch, i + 3),
            load(_RANK0, scratch, i + 4),
        )
        low = d
        middle0 = e
        i = ranks + 1 * pitch + x
        a, b, c, d, e = _sort5(
            load(_RANK1, scratch, i),
            load(_RANK1, scratch, i + 1),
            load(_RANK1, scratch, i + 2),
            load(_RANK1, scratch, i + 3),
            load(_RANK1, scratch, i + 4),
        )
        low = _high(low, c)
        middle1 = d
        high = e
        i = ranks + 2 * pitch + x
        a, b, c, d, e = _sort5(
            load(_RANK2, scratch, i),
            load(_RANK2, scratch, i + 1),
            load(_RANK2, scratch, i + 2),
            load(_RANK2, scratch, i + 3),
            load(_RANK2, scratch, i + 4),
        )
        low = _high(low, b)
        middle2 = c
        high = _low(high, d)
        i = ranks + 3 * pitch + x
        a, b, c, d, e = _sort5(
            load(_RANK3, scratch, i),
            load(_RANK3, scratch, i + 1),
            load(_RANK3, scratch, i + 2),
            load(_RANK3, scratch, i + 3),
            load(_RANK3, scratch, i + 4),
        )
        low = _high(low, a)
        middle3 = b
        high = _low(high, c)
        i = ranks + 4 * pitch + x
        a, b, c, d, e = _sort5(
            load(_RANK4, scratch, i),
            load(_RANK4, scratch, i + 1),
            load(_RANK4, scratch, i + 2),
            load(_RANK4, scratch, i + 3),
            load(_RANK4, scratch, i + 4),
        )
        middle4 = a
        high = _low(high, b)
        store(_RESULT, scratch, result + x, _median7(low, middle0, middle1, middle2, middle3, middle4, high))


@compiled
def median5(buffer, start, pitch, height, width, scratch):
    """Replace a plane by its 5 x 5 median, edges repeated; row r begins at `buffer[start + r * pitch]`."""
    wide = (width + LANES - 1) // LANES * LANES + LANES  # full vectors, and the two columns on either side
    ranks = (height + 4) * wide
    result = ranks + 5 * wide
    for row in range(height + 4):
        source = start + min(max(row - 2, 0), height - 1) * pitch
        target = row * wide
        for x in range(width):
            store(_COPY, scratch, target + 2 + x, load(_PLANE, buffer, source + x))
        for x in range(2):
            scratch[target + x] = buffer[source]
        for x in range(width + 2, wide):
            scratch[target + x] = buffer[source + width - 1]
    for row in range(height):
        _sort_columns(scratch, row * wide, wide, ranks)
        _median_row(scratch, ranks, wide, wide - LANES, result)
        for x in range(width):
            store(_PLANE, buffer, start + row * pitch + x, load(_RESULT, scratch, result + x))
