"""Flow in files: Middlebury .flo.

A .flo file is little endian: the float32 202021.25 (the bytes "PIEH"), int32 width, int32 height, then height x width
pairs of float32, x then y.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_bytes, write_bytes
from tdn_data.pipeline.limits import MAX_SIDE

FLO_MAGIC = b"PIEH"


def read_flo(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a Middlebury .flo file.

    Args:
        path: the file.

    Returns:
        float32 (H, W, 2), pixels; unknown ones as they stand in the file (above 1e9).

    Raises:
        InputError: the file is missing, is no .flo file or does not hold what its header says.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_flo(f"{folder}/a.flo", np.full((1, 1, 2), 0.5))
    ...     read_flo(f"{folder}/a.flo").tolist()
    [[[0.5, 0.5]]]
    """
    path = Path(path)
    content = read_bytes(path, what=".flo file")
    if content[:4] != FLO_MAGIC or len(content) < 12:
        raise InputError(f"{path} is no .flo file: it does not begin with {FLO_MAGIC!r} and a size.", path=path)
    width, height = (int(value) for value in np.frombuffer(content, "<i4", 2, 4))
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise InputError(f"{path} claims to be {width} x {height} pixels; its header is damaged.", path=path)
    expected = 12 + 8 * width * height
    if len(content) != expected:
        raise InputError(
            f"{path} has {len(content)} bytes; {width} x {height} pixels take {expected}: it was cut or appended to.",
            path=path,
        )
    return np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)


def write_flo(path: str | os.PathLike[str], flow: np.ndarray) -> None:
    """Write a flow field (H, W, 2) as a Middlebury .flo file.

    Args:
        path: the file; one that is there is replaced.
        flow: (H, W, 2), pixels.

    Raises:
        ValueError: another shape.
        StorageError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_flo(f"{folder}/a.flo", np.zeros((48, 64, 2)))
    ...     read_flo(f"{folder}/a.flo").shape
    (48, 64, 2)
    """
    flow = np.asarray(flow)
    if flow.ndim != 3 or flow.shape[-1] != 2 or 0 in flow.shape:
        raise ValueError(f"flow has shape {flow.shape}; one field (H, W, 2) is expected")
    size = np.array([flow.shape[1], flow.shape[0]], "<i4").tobytes()
    write_bytes(path, FLO_MAGIC + size + flow.astype("<f4").tobytes())
