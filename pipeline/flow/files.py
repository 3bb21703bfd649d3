"""Flow in files: Middlebury .flo, colour pictures, and the flow between two image files.

A .flo file is little endian: the float32 202021.25 (the bytes "PIEH"), int32 width, int32 height, then height x width
pairs of float32, x then y.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_output_file, read_bytes, write_bytes
from tdn_data.pipeline.flow.accuracy import EndPointError, end_point_error
from tdn_data.pipeline.flow.color import flow_to_color
from tdn_data.pipeline.images import read_image_file, write_png
from tdn_data.pipeline.limits import MAX_SIDE

FLO_MAGIC = b"PIEH"


@dataclass(frozen=True)
class FlowReport:
    """What `flow_between_files` did: the field (H, W, 2), where it was written, and its error if a truth was given."""

    flow: np.ndarray
    output: Path
    method: str
    mean_magnitude: float
    max_magnitude: float
    error: EndPointError | None


def read_flo(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a Middlebury .flo file: float32 (H, W, 2), unknown pixels as they stand in it (above 1e9).

    Raises InputError for a file that is missing, is no .flo file or does not hold what its header says.
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

    Raises ValueError for another shape, StorageError where the file cannot be written.
    """
    flow = np.asarray(flow)
    if flow.ndim != 3 or flow.shape[-1] != 2 or 0 in flow.shape:
        raise ValueError(f"flow has shape {flow.shape}; one field (H, W, 2) is expected")
    size = np.array([flow.shape[1], flow.shape[0]], "<i4").tobytes()
    write_bytes(path, FLO_MAGIC + size + flow.astype("<f4").tobytes())


def flow_between_files(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    truth: str | os.PathLike[str] | None = None,
    method: str = "tvl1",
    device: str = "auto",
    **options: object,
) -> FlowReport:
    """Compute the flow between two image files and write it: `.flo` as numbers, `.png` in the colour wheel's coding.

    `truth`: a .flo file to compare with. Raises InputError for files that cannot be read, that differ in size, or an
    output of another kind; nothing is computed then.
    """
    from tdn_data.pipeline.flow import optical_flow

    output = Path(output)
    if output.suffix.lower() not in (".flo", ".png"):
        raise InputError(f"{output} ends in {output.suffix!r}; flow is written as .flo or .png.", path=output)
    prev, next = _read_grey(Path(first)), _read_grey(Path(second))
    if prev.shape != next.shape:
        raise InputError(
            f"{first} is {_size(prev)} and {second} {_size(next)} pixels; they must be of one size.", path=second
        )
    expected = None if truth is None else read_flo(truth)
    if expected is not None and expected.shape[:2] != prev.shape:
        raise InputError(f"{truth} is {_size(expected)} pixels and the images {_size(prev)}.", path=truth)
    check_output_file(output, inputs=[first, second, *([] if truth is None else [truth])])
    flow = optical_flow(prev, next, method=method, device=device, **options)[0]
    _write_flow(output, flow)
    magnitude = np.hypot(flow[..., 0], flow[..., 1])
    error = None if expected is None else end_point_error(flow, expected)
    return FlowReport(flow, output, method, float(magnitude.mean()), float(magnitude.max()), error)


def _read_grey(path: Path) -> np.ndarray:
    """Read an image file as uint8 (H, W)."""
    return read_image_file(path, channels=1)


def _write_flow(path: Path, flow: np.ndarray) -> None:
    if path.suffix.lower() == ".flo":
        write_flo(path, flow)
        return
    write_png(path, flow_to_color(flow))


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
