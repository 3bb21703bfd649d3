"""TV-L1, ours against OpenCV's own class, in one interleaved run: the same pairs, one thread each.

How far the two results are apart is measured on the pairs that are timed. With a GPU at hand ours runs there, in
batches as large as an extraction's, and OpenCV on the CPU: its CUDA class is in no package.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.flow import end_point_error, optical_flow, quantize
from tdn_data.pipeline.flow.methods import build_solver
from tdn_data.pipeline.images import read_image_file
from tdn_data.pipeline.machine import installed_versions, processor

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".ppm", ".bmp", ".tif", ".tiff")
GPU_PAIRS = 512  # pairs per timed call on a GPU


@dataclass(frozen=True)
class PairTimes:
    """One pair: best processor time of each, and how far ours is from OpenCV's flow and bytes."""

    name: str
    opencv_seconds: float
    our_seconds: float
    mean_magnitude: float  # of OpenCV's flow, pixels
    mean_difference: float  # end-point distance of the two, pixels
    equal_bytes: float  # share, after discretisation
    within_one: float  # share that differs by one level at most

    @property
    def ratio(self) -> float:
        """How many times as fast ours is."""
        return self.opencv_seconds / self.our_seconds


@dataclass(frozen=True)
class FlowTimes:
    """All pairs of a run, and where it ran."""

    height: int
    width: int
    device: str
    bound: float
    pairs: tuple[PairTimes, ...]
    pairs_per_second: float
    opencv_pairs_per_second: float
    kernel_pairs_per_second: float | None  # on a GPU, without the copies
    hardware: str
    versions: dict[str, str]

    @property
    def ratio(self) -> float:
        """How many times as fast ours is over all pairs."""
        return self.pairs_per_second / self.opencv_pairs_per_second

    def mean(self, name: str) -> float:
        """Return the mean of one of a pair's numbers."""
        return float(np.mean([getattr(pair, name) for pair in self.pairs]))


def run(
    paths: Sequence[str | os.PathLike] = (),
    *,
    height: int = 256,
    width: int = 340,
    device: str = "cpu",
    num_rounds: int = 3,
    pairs_per_video: int = 2,
    bound: float = 20.0,
    preset: str = "opencv",
    **options: object,
) -> FlowTimes:
    """Time our TV-L1 against OpenCV's on pairs from `paths`, resized to one size.

    `paths`: image files, taken two by two, and videos, of which `pairs_per_video` pairs of consecutive frames are
    taken; none: one rendered pair. `device`: "cpu", "cuda" or "auto". `preset`: of ours, "opencv" or "fast". `options`:
    parameters of both methods, by name.
    Raises InputError for files that cannot be read, ValueError for wrong numbers.
    """
    if num_rounds < 1 or pairs_per_video < 1:
        raise ValueError(f"num_rounds is {num_rounds} and pairs_per_video {pairs_per_video}; both must be 1 or more")
    ours = {"device": device, "preset": preset, **options}
    named = list(_pairs(paths, (height, width), pairs_per_video))
    num_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        optical_flow(named[0][1], named[0][2], **ours)  # compile before the clock runs
        pairs = tuple(_time_pair(*pair, num_rounds, bound, options, ours) for pair in named)
        gpu = _time_gpu(named, device, num_rounds, bound, {"preset": preset, **options})
    finally:
        cv2.setNumThreads(num_threads)
    our_rate = len(pairs) / sum(pair.our_seconds for pair in pairs)
    return FlowTimes(
        height=height,
        width=width,
        device="cpu" if gpu is None else "cuda",
        bound=bound,
        pairs=pairs,
        pairs_per_second=our_rate if gpu is None else gpu[0],
        opencv_pairs_per_second=len(pairs) / sum(pair.opencv_seconds for pair in pairs),
        kernel_pairs_per_second=None if gpu is None else gpu[1],
        hardware=f"{processor()}, one thread" if gpu is None else gpu[2],
        versions=_versions(),
    )


def format_times(result: FlowTimes) -> str:
    """The result as a table of text: times, ratios, how far apart the results are, versions."""
    lines = [f"TV-L1 at {result.width} x {result.height} on {result.hardware}, bytes at bound {result.bound:g}"]
    lines.append(
        f"  {'pair':32} {'OpenCV':>9} {'ours':>9} {'ratio':>6} {'|flow|':>7} {'apart':>9} {'bytes':>8} {'+-1':>8}"
    )
    lines += [
        f"  {pair.name[:32]:32} {pair.opencv_seconds * 1e3:6.0f} ms {pair.our_seconds * 1e3:6.1f} ms {pair.ratio:6.1f}"
        f" {pair.mean_magnitude:7.2f} {pair.mean_difference:9.1e} {pair.equal_bytes:8.3%} {pair.within_one:8.3%}"
        for pair in result.pairs
    ]
    lines.append(
        f"  all: ours {result.pairs_per_second:.1f} pairs/s, OpenCV {result.opencv_pairs_per_second:.2f},"
        f" {result.ratio:.1f} times as fast; {result.mean('mean_difference'):.1e} px apart,"
        f" {result.mean('equal_bytes'):.3%} of bytes equal, {result.mean('within_one'):.3%} within one level"
    )
    if result.kernel_pairs_per_second is not None:
        lines.append(f"  kernels alone: {result.kernel_pairs_per_second:.0f} pairs/s")
    lines.append("  " + ", ".join(f"{name} {version}" for name, version in result.versions.items()))
    return "\n".join(lines)


def _pairs(
    paths: Sequence[str | os.PathLike], shape: tuple[int, int], pairs_per_video: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (name, first, second) for every pair, grey and of one size."""
    images = [Path(path) for path in paths if Path(path).suffix.lower() in IMAGE_SUFFIXES]
    if len(images) % 2:
        raise InputError(f"{len(images)} image files make no whole pairs; give two for each.")
    for first, second in zip(images[::2], images[1::2], strict=True):
        yield first.name, _read(first, shape), _read(second, shape)
    for path in map(Path, paths):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            yield from _video_pairs(path, shape, pairs_per_video)
    if not paths:
        yield "rendered", *rendered_pair(*shape)


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray:
    image = read_image_file(path, channels=1)
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)


def _video_pairs(path: Path, shape: tuple[int, int], num_pairs: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield pairs of consecutive frames, ten frames from one pair to the next."""
    from tdn_data.pipeline.video import iter_frames

    before, left = None, num_pairs
    for frame in iter_frames(path, size=shape, pixel_format="gray"):
        if frame.frame_index % 10 == 1 and frame.frame_index > 1 and before is not None:
            yield f"{path.name}:{frame.frame_index - 1}", before, frame.data
            left -= 1
            if left == 0:
                return
        before = frame.data
    if left == num_pairs:
        raise InputError(f"{path} has fewer than 12 frames; a longer video is needed.", path=path)


def rendered_pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a smooth random texture and itself turned by a degree and moved by up to 3 pixels: uint8 (H, W) each."""
    noise = np.random.default_rng(0).normal(size=(height, width)).astype(np.float32)
    texture = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (1.5, 4, 12))
    first = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    motion = cv2.getRotationMatrix2D((width / 2, height / 2), 1.0, 1.0)
    motion[:, 2] += (1.5, -0.8)
    return first, cv2.warpAffine(first, motion, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def _time_pair(
    name: str,
    first: np.ndarray,
    second: np.ndarray,
    num_rounds: int,
    bound: float,
    options: dict[str, object],
    ours: dict[str, object],
) -> PairTimes:
    """Time both methods in turn on one pair, each with its options, and compare what they give."""
    methods: dict[str, Callable[[], np.ndarray]] = {
        "opencv": lambda: optical_flow(first, second, method="opencv-tvl1", **options)[0],
        "ours": lambda: optical_flow(first, second, **ours)[0],
    }
    seconds, flows = dict.fromkeys(methods, float("inf")), {}
    for _ in range(num_rounds):
        for method, compute in methods.items():
            started = time.process_time()
            flows[method] = compute()
            seconds[method] = min(seconds[method], time.process_time() - started)
    peer, flow = flows["opencv"], flows["ours"]
    apart = np.abs(quantize(flow, bound).astype(int) - quantize(peer, bound))
    return PairTimes(
        name=name,
        opencv_seconds=seconds["opencv"],
        our_seconds=seconds["ours"],
        mean_magnitude=float(np.hypot(peer[..., 0], peer[..., 1]).mean()),
        mean_difference=end_point_error(flow, peer).mean,
        equal_bytes=float(np.mean(apart == 0)),
        within_one=float(np.mean(apart <= 1)),
    )


def _time_gpu(
    named: list[tuple[str, np.ndarray, np.ndarray]],
    device: str,
    num_rounds: int,
    bound: float,
    options: dict[str, object],
) -> tuple[float, float, str] | None:
    """Return pairs a second from bytes to bytes and in the kernels alone, and the GPU's name; None on a CPU."""
    solver = build_solver("tvl1", device=device, options={**options, "batch_size": GPU_PAIRS})
    if not hasattr(solver, "quantized_pairs"):
        return None
    import torch

    repeats = -(-GPU_PAIRS // len(named))
    prev = np.stack([first for _, first, _ in named] * repeats)[:GPU_PAIRS]
    next = np.stack([second for _, _, second in named] * repeats)[:GPU_PAIRS]
    images = solver.upload(np.concatenate([prev, next]))
    firsts = solver.upload(np.arange(GPU_PAIRS))

    def kernels() -> None:
        solver.solve(images, firsts, firsts + GPU_PAIRS)
        torch.cuda.synchronize()

    end_to_end = _best_wall(lambda: solver.quantized_pairs(prev, next, bound), num_rounds)
    return GPU_PAIRS / end_to_end, GPU_PAIRS / _best_wall(kernels, num_rounds), torch.cuda.get_device_name()


def _best_wall(action: Callable[[], object], num_rounds: int) -> float:
    """Return the best wall time over the rounds, after one that does not count."""
    action()
    best = float("inf")
    for _ in range(num_rounds):
        started = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - started)
    return best


def _versions() -> dict[str, str]:
    known = {"python": platform.python_version(), "opencv": cv2.__version__}
    return known | installed_versions(("numba", "llvmlite", "numpy", "torch", "triton"))
