"""Which rows of a video are asked for."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

import numpy as np

from tdn_data.pipeline.errors import InputError


def check_positions(rows: Sequence[int] | np.ndarray | None, video_id: str, num_rows: int) -> np.ndarray:
    """Return the positions asked for, int64 (N,), all of them for None; raise InputError for one that is not there."""
    if rows is None:
        return np.arange(num_rows)
    try:
        positions = np.asarray(rows)
    except ValueError:  # lists of different lengths in a list
        positions = np.zeros((0, 0))
    if positions.ndim != 1 or (positions.size and positions.dtype.kind not in "iu"):
        allowed = f"give a list of whole numbers from 0 to {num_rows - 1}, or None for all rows"
        raise InputError(f"rows of {video_id!r} are {reprlib.repr(rows)}; {allowed}.", key=video_id)
    wrong = positions[(positions < 0) | (positions >= num_rows)]
    if len(wrong):
        raise InputError(
            f"row {wrong[0]} of {video_id!r} is asked for; it has {num_rows} rows, 0 to {num_rows - 1}.", key=video_id
        )
    return positions.astype(np.int64)
