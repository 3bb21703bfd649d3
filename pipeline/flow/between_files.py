"""The flow between two image files, written as numbers or as a picture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_output_file
from tdn_data.pipeline.flow.accuracy import EndPointError, end_point_error
from tdn_data.pipeline.flow.color import flow_to_color
from tdn_data.pipeline.flow.flo_files import read_flo, write_flo
from tdn_data.pipeline.flow.solver import FlowSolver
from tdn_data.pipeline.images import read_image_file, write_png


@dataclass(frozen=True)
class FlowReport:
    """What `flow_between_files` did: the field (H, W, 2), where it was written, and its error if a truth was given."""

    flow: np.ndarray
    output: Path
    method: str
    mean_magnitude: float
    max_magnitude: float
    error: EndPointError | None


def flow_between_files(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    truth: str | os.PathLike[str] | None = None,
    method: str = "tvl1",
    device: str = "auto",
    solver: FlowSolver | None = None,
    **options: object,
) -> FlowReport:
    """Compute the flow between two image files and write it: `.flo` as numbers, `.png` in the colour wheel's coding.

    Args:
        first: an image file.
        second: the one after it, of the same size.
        output: the file to write, .flo or .png.
        truth: a .flo file to compare with.
        method: as `optical_flow` takes it.
        device: likewise.
        options: likewise.
        solver: handed in where `method` is none of the pipeline's own, e.g. a network's file; it has 3 `channels`
            where it takes colour.

    Returns:
        the field, where it was written, and its end-point error if a truth was given.

    Raises:
        InputError: files that cannot be read, that differ in size, or an output of another kind; nothing is computed
            then.

    >>> import tempfile
    >>> import cv2
    >>> frame = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = cv2.imwrite(f"{folder}/a.png", frame)
    ...     report = flow_between_files(f"{folder}/a.png", f"{folder}/a.png", output=f"{folder}/a.flo")
    >>> report.flow.shape, report.max_magnitude
    ((48, 64, 2), 0.0)
    """
    from tdn_data.pipeline.flow import optical_flow

    output = Path(output)
    if output.suffix.lower() not in (".flo", ".png"):
        raise InputError(f"{output} ends in {output.suffix!r}; flow is written as .flo or .png.", path=output)
    channels = getattr(solver, "channels", 1)
    prev, next = (read_image_file(path, channels=channels) for path in (first, second))
    if prev.shape != next.shape:
        raise InputError(
            f"{first} is {_size(prev)} and {second} {_size(next)} pixels; they must be of one size.", path=second
        )
    expected = None if truth is None else read_flo(truth)
    if expected is not None and expected.shape[:2] != prev.shape[:2]:
        raise InputError(f"{truth} is {_size(expected)} pixels and the images {_size(prev)}.", path=truth)
    check_output_file(output, inputs=[first, second, *([] if truth is None else [truth])])
    if solver is None:
        flow = optical_flow(prev, next, method=method, device=device, **options)[0]
    else:
        flow = solver.pairs(prev[None], next[None])[0]
    _write_flow(output, flow)
    magnitude = np.hypot(flow[..., 0], flow[..., 1])
    error = None if expected is None else end_point_error(flow, expected)
    return FlowReport(flow, output, method, float(magnitude.mean()), float(magnitude.max()), error)


def _write_flow(path: Path, flow: np.ndarray) -> None:
    if path.suffix.lower() == ".flo":
        write_flo(path, flow)
        return
    write_png(path, flow_to_color(flow))


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
