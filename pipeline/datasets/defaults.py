"""A data set's own sampling as extraction parameters, where a person asks for nothing else."""

from __future__ import annotations

from typing import Literal

from tdn_data.pipeline.datasets.base import DatasetSpec
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.parameters import FlowParameters, FrameParameters

Size = tuple[int, int] | Literal["native"]


def frame_parameters(
    spec: DatasetSpec, *, every_seconds: float | None = None, fps: float | None = None, **common: object
) -> FrameParameters:
    """Return how frames of the data set are stored; what is None is as its paper has it.

    `common`: max_seconds, size ((height, width) or `native`) or short_side, codec, quality. Raises InputError for both
    kinds of size, pydantic's ValidationError for values that are not allowed.
    """
    if every_seconds is None and fps is None:
        every_seconds, fps = spec.frame_every_seconds, spec.frame_fps
    return FrameParameters(every_seconds=every_seconds, fps=fps, **_common(spec, **common))


def flow_parameters(
    spec: DatasetSpec,
    *,
    fps: float | None = None,
    bound: float | None = None,
    method: str = "tvl1",
    preset: str = "opencv",
    pairs: str = "sampled",
    **common: object,
) -> FlowParameters:
    """Return how flow of the data set is stored, like `frame_parameters`; an `fps` of 0 is the native rate."""
    rate = spec.flow_fps if fps is None else fps or None
    limit = spec.flow_bound if bound is None else bound
    return FlowParameters(fps=rate, bound=limit, method=method, preset=preset, pairs=pairs, **_common(spec, **common))


def _common(
    spec: DatasetSpec,
    *,
    max_seconds: float | None = None,
    size: Size | None = None,
    short_side: int | None = None,
    **stored: object,
) -> dict[str, object]:
    """Return what frames and flow share."""
    if size is not None and short_side is not None:
        raise InputError("size and short_side exclude each other; give one of them.", key="short_side")
    if size is None and short_side is None:
        size, short_side = spec.size, spec.short_side
    height, width = size if isinstance(size, tuple) else (None, None)
    seconds = spec.max_seconds if max_seconds is None else max_seconds
    return {"height": height, "width": width, "short_side": short_side, "max_seconds": seconds, **stored}
