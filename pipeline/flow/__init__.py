"""Dense optical flow between neighbouring frames: one call for every method.

Convention: a flow field is float32 (H, W, 2) in pixels per step; component 0 points right (x), 1 points down (y).
`next[y + v, x + u]` shows what `prev[y, x]` showed.

`METHODS`
    tvl1              our TV-L1: the result of OpenCV's CPU class, many times faster, on CPU or GPU
    opencv-tvl1       cv2.optflow.DualTVL1OpticalFlow
    opencv-cuda-tvl1  cv2.cuda.OpticalFlowDual_TVL1, where OpenCV was built with CUDA
    farneback         cv2.calcOpticalFlowFarneback
    dis               cv2.DISOpticalFlow
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from tdn_data.pipeline.flow.accuracy import EndPointError, end_point_error
from tdn_data.pipeline.flow.between_files import FlowReport, flow_between_files
from tdn_data.pipeline.flow.color import flow_to_color
from tdn_data.pipeline.flow.flo_files import read_flo, write_flo
from tdn_data.pipeline.flow.methods import DEVICES, METHODS, build_solver
from tdn_data.pipeline.flow.quantize import FlowStatistics, check_bound, dequantize, flow_statistics, quantize
from tdn_data.pipeline.flow.solver import FlowSolver

__all__ = [
    "DEVICES",
    "METHODS",
    "EndPointError",
    "FlowReport",
    "FlowStatistics",
    "dequantize",
    "end_point_error",
    "flow_between_files",
    "flow_statistics",
    "flow_to_color",
    "iter_flow",
    "optical_flow",
    "quantize",
    "quantized_flow",
    "read_flo",
    "write_flo",
]


def optical_flow(
    prev: np.ndarray, next: np.ndarray, *, method: str = "tvl1", device: str = "auto", **options: object
) -> np.ndarray:
    """Compute the flow of N image pairs.

    Args:
        prev: uint8 grey images (N, H, W), or (H, W), which counts as N = 1; any memory layout.
        next: the image after each of them, in the same shape.
        method: one of `METHODS`.
        device: "cpu", "cuda" or "auto", which takes the GPU where torch sees one (only `tvl1` has both).
        options: what the method takes by name, e.g. `preset="opencv-cuda"` or `num_threads=4` for `tvl1`.

    Returns:
        float32 (N, H, W, 2), pixels per step, x (to the right) then y (down).

    Raises:
        ValueError, TypeError: wrong images, an unknown method, or an option that the method does not take.
        InputError: the device or library that the method needs is not there.

    >>> frame = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    >>> optical_flow(frame, frame).shape, float(np.abs(optical_flow(frame, frame)).max())
    ((1, 48, 64, 2), 0.0)
    """
    prev, next, solver = _checked(prev, next, method, device, options)
    return solver.pairs(prev, next)


def quantized_flow(
    prev: np.ndarray,
    next: np.ndarray,
    *,
    bound: float,
    method: str = "tvl1",
    device: str = "auto",
    **options: object,
) -> np.ndarray:
    """Compute the flow of N pairs as the bytes that are stored: `quantize(optical_flow(...), bound)`.

    On a GPU the discretisation happens there, and a quarter of the data comes back.

    Args:
        prev: as `optical_flow` takes it.
        next: likewise.
        method: likewise.
        device: likewise.
        options: likewise.
        bound: pixels per step that become 0 and 255; what lies beyond is clipped.

    Returns:
        uint8 (N, H, W, 2), x then y.

    Raises:
        ValueError, TypeError, InputError: as `optical_flow` does; ValueError for a bound that is not positive, too.

    >>> frame = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    >>> np.unique(quantized_flow(frame, frame, bound=20)).tolist()
    [128]
    """
    prev, next, solver = _checked(prev, next, method, device, options)
    if len(prev) and hasattr(solver, "quantized_pairs"):
        check_bound(bound)
        return solver.quantized_pairs(prev, next, bound)
    return quantize(solver.pairs(prev, next), bound)


def iter_flow(
    grey_frames: Iterable[np.ndarray], *, method: str = "tvl1", device: str = "auto", **options: object
) -> Iterator[np.ndarray]:
    """Yield the flow from each frame to the one after it: one field fewer than there are frames.

    Wrong options are reported at the call, a wrong frame when it comes.

    Args:
        grey_frames: uint8 (H, W) images of one size, taken one at a time; what is computed once per frame (its pyramid)
            serves both pairs the frame belongs to.
        method: as in `optical_flow`.
        device: likewise.
        options: likewise.

    Returns:
        an iterator over float32 (H, W, 2), pixels per step.

    Raises:
        ValueError, TypeError, InputError: as `optical_flow` does.

    >>> frames = np.random.default_rng(0).integers(0, 256, (3, 48, 64), np.uint8)
    >>> [flow.shape for flow in iter_flow(frames)]
    [(48, 64, 2), (48, 64, 2)]
    """
    solver = build_solver(method, device=device, options=options)
    return solver.stream(_same_size(grey_frames))


def _checked(
    prev: np.ndarray, next: np.ndarray, method: str, device: str, options: dict[str, object]
) -> tuple[np.ndarray, np.ndarray, FlowSolver]:
    """Return both stacks of images as (N, H, W) and the solver, refusing what does not fit."""
    prev, next = _batch("prev", prev), _batch("next", next)
    if prev.shape != next.shape:
        raise ValueError(f"prev has shape {prev.shape} and next {next.shape}; they must be equal")
    return prev, next, build_solver(method, device=device, options=options)


def _batch(name: str, images: np.ndarray) -> np.ndarray:
    """Return `images` as (N, H, W), refusing what is not a stack of grey uint8 images."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(f"{name} has dtype {images.dtype}; grey images must be uint8 in [0, 255]")
    if images.ndim == 2:
        images = images[None]
    if images.ndim != 3 or 0 in images.shape[1:]:
        raise ValueError(
            f"{name} has shape {images.shape}; grey images of at least one pixel are expected, (N, H, W) or (H, W). "
            "Convert colour with cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)"
        )
    return images


def _same_size(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass frames on as (H, W), refusing one that is not grey uint8 or differs in size from the first."""
    expected = None
    for number, frame in enumerate(frames):
        frame = np.asarray(frame)
        if frame.ndim != 2:
            raise ValueError(f"frame {number} has shape {frame.shape}; a grey image (H, W) is expected")
        frame = _batch(f"frame {number}", frame)[0]
        expected = expected or frame.shape
        if frame.shape != expected:
            raise ValueError(f"frame {number} has shape {frame.shape}, those before {expected}; sizes must agree")
        yield frame
