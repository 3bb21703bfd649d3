"""OpenCV's own flow methods behind this package's interface: the peers our TV-L1 is measured against."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from tdn_data.pipeline.errors import InputError

# below this many pixels a side the method reads outside its image or stops with an internal error
MIN_SIZE = {"opencv-tvl1": 3, "opencv-cuda-tvl1": 3, "farneback": 1, "dis": 16}
_DIS_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}

Calculate = Callable[[np.ndarray, np.ndarray], np.ndarray]


def build_opencv(method: str, *, device: str, options: dict[str, object]) -> OpenCVSolver:
    """Return the solver of one of OpenCV's methods; `device` "auto" is the one the method runs on.

    Raises ValueError for the wrong device, TypeError for an unknown option, InputError where cv2 lacks the module.
    """
    runs_on = "cuda" if method == "opencv-cuda-tvl1" else "cpu"
    if device not in ("auto", runs_on):
        raise ValueError(f"device is {device!r}; {method} runs on {runs_on!r} only")
    builder = _BUILDERS[method]
    known = tuple(inspect.signature(builder).parameters)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"{method} takes no option {', '.join(unknown)}; known options: {', '.join(known)}")
    return OpenCVSolver(method, lambda: builder(**options))


class OpenCVSolver:
    """Runs `calculate(prev, next)`, recreated by `build` for every image size."""

    def __init__(self, method: str, build: Callable[[], Calculate]) -> None:
        self._method, self._build = method, build
        build()

    def pairs(self, prev: np.ndarray, next: np.ndarray) -> np.ndarray:
        """Return float32 (N, H, W, 2) for uint8 (N, H, W) twice."""
        flow = np.empty((*prev.shape, 2), np.float32)
        calculate = self._for_size(prev.shape[1:])
        for number in range(len(prev)):
            flow[number] = calculate(np.ascontiguousarray(prev[number]), np.ascontiguousarray(next[number]))
        return flow

    def stream(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the flow (H, W, 2) between neighbouring frames."""
        before = calculate = None
        for frame in frames:
            frame = np.ascontiguousarray(frame)
            if before is None:
                calculate = self._for_size(frame.shape)
            else:
                yield calculate(before, frame)
            before = frame

    def _for_size(self, shape: tuple[int, ...]) -> Calculate:
        """Return a fresh calculation: OpenCV's TV-L1 keeps the number of scales of the smallest image it has seen."""
        smallest = MIN_SIZE[self._method]
        if min(shape) < smallest:
            raise ValueError(
                f"images are {shape[0]} x {shape[1]}; {self._method} needs at least {smallest} pixels a side"
            )
        return self._build()


def _tvl1(
    *,
    tau: float = 0.25,
    lambda_: float = 0.15,
    theta: float = 0.3,
    num_scales: int = 5,
    num_warps: int = 5,
    epsilon: float = 0.01,
    inner_iterations: int = 30,
    outer_iterations: int = 10,
    scale_step: float = 0.8,
    median_size: int = 5,
) -> Calculate:
    if not hasattr(cv2, "optflow"):
        raise InputError("This cv2 has no optflow module; install opencv-contrib-python-headless.")
    algorithm = cv2.optflow.DualTVL1OpticalFlow_create(
        tau=tau,
        lambda_=lambda_,
        theta=theta,
        nscales=num_scales,
        warps=num_warps,
        epsilon=epsilon,
        innnerIterations=inner_iterations,  # OpenCV's own spelling
        outerIterations=outer_iterations,
        scaleStep=scale_step,
        medianFiltering=median_size,
    )
    return lambda prev, next: algorithm.calc(prev, next, None)


def _cuda_tvl1(
    *,
    tau: float = 0.25,
    lambda_: float = 0.15,
    theta: float = 0.3,
    num_scales: int = 5,
    num_warps: int = 5,
    epsilon: float = 0.01,
    iterations: int = 300,
    scale_step: float = 0.8,
) -> Calculate:
    if not hasattr(cv2, "cuda") or not cv2.cuda.getCudaEnabledDeviceCount():
        raise InputError(
            "This cv2 sees no CUDA device; method tvl1 computes the same flow without OpenCV's CUDA build."
        )
    algorithm = cv2.cuda.OpticalFlowDual_TVL1.create(
        tau, lambda_, theta, num_scales, num_warps, epsilon, iterations, scale_step
    )

    def calculate(prev: np.ndarray, next: np.ndarray) -> np.ndarray:
        uploaded = []
        for image in (prev, next):
            uploaded.append(cv2.cuda.GpuMat())
            uploaded[-1].upload(image)
        return algorithm.calc(*uploaded, None).download()

    return calculate


def _farneback(
    *,
    pyr_scale: float = 0.5,
    levels: int = 5,
    winsize: int = 15,
    iterations: int = 3,
    poly_n: int = 7,
    poly_sigma: float = 1.5,
) -> Calculate:
    return lambda prev, next: cv2.calcOpticalFlowFarneback(
        prev, next, None, pyr_scale, levels, winsize, iterations, poly_n, poly_sigma, 0
    )


def _dis(*, preset: str = "medium") -> Calculate:
    if preset not in _DIS_PRESETS:
        raise ValueError(f"preset is {preset!r}; dis knows {', '.join(_DIS_PRESETS)}")
    algorithm = cv2.DISOpticalFlow_create(_DIS_PRESETS[preset])
    return lambda prev, next: algorithm.calc(prev, next, None)


_BUILDERS = {"opencv-tvl1": _tvl1, "opencv-cuda-tvl1": _cuda_tvl1, "farneback": _farneback, "dis": _dis}
