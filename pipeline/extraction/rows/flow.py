"""The optical flow between a video's neighbouring frames as rows of a shard."""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import islice

import numpy as np

from tdn_data.pipeline.extraction.rows.job import Extraction, VideoJob
from tdn_data.pipeline.extraction.rows.video import GoodFrames
from tdn_data.pipeline.flow.methods import build_solver
from tdn_data.pipeline.flow.quantize import flow_statistics, quantize
from tdn_data.pipeline.flow.solver import FlowSolver
from tdn_data.pipeline.images import encode_image
from tdn_data.pipeline.parameters import FlowNetwork, FlowParameters
from tdn_data.pipeline.shards.schema import STATISTICS, VideoRows
from tdn_data.pipeline.video.batch import Frame

MAX_CHUNK_BYTES = 32 << 20  # of frames whose flow a GPU computes together


def extract_flow(job: VideoJob, *, decoding: str) -> Extraction:
    """Return the flow between a video's neighbouring frames; raise VideoError when nothing at all comes out."""
    section, native = job.section, job.section.pairs == "native"
    solver = solver_of(section, job.network)
    pixels = "rgb24" if getattr(solver, "channels", 1) == 3 else "gray"
    frames = GoodFrames(job, pixels, decoding, overlap=0 if native else 1, in_pairs=native)
    shown: list[tuple[int, float, float]] = []
    planes: dict[str, list[bytes]] = {"flow_x": [], "flow_y": []}
    statistics, shape = [], (0, 0)
    for flow, first, second in _native_pairs(frames, solver) if native else _sampled_pairs(frames, solver):
        shown.append((first.frame_index, first.pts_seconds, second.pts_seconds))
        statistics.append(flow_statistics(flow, section.bound))
        stored = quantize(flow, section.bound)
        for axis, name in enumerate(planes):
            plane = np.ascontiguousarray(stored[..., axis])
            planes[name].append(encode_image(plane, codec=section.codec, quality=section.quality))
        shape = flow.shape[:2]
    index, pts, next_pts = (np.asarray(values) for values in zip(*shown, strict=True)) if shown else ([], [], [])
    rows = VideoRows(
        modality="flow",
        frame_index=np.asarray(index, np.int64),
        pts_seconds=np.asarray(pts, np.float64),
        height=shape[0],
        width=shape[1],
        payloads=planes,
        next_pts_seconds=np.asarray(next_pts, np.float64),
        bound=section.bound,
        statistics={name: np.array([getattr(one, name) for one in statistics]) for name in STATISTICS["flow"]},
    )
    count = len(shown)
    expected = frames.num_expected(count) if native else max(frames.num_expected(count + 1) - 1, 0)
    return frames.extraction(rows, num_expected=expected)


@lru_cache(maxsize=1)
def solver_of(section: FlowParameters, network: FlowNetwork | None = None) -> FlowSolver:
    """Return the solver of a section's method, or the one that `network` names; a process keeps it for all videos."""
    if network is None:
        return build_solver(section.method, device="auto", options=section.solver_options)
    module, name = network.make.split(":")
    return getattr(importlib.import_module(module), name)(network.method)


@lru_cache(maxsize=1)
def warm_up(section: FlowParameters, network: FlowNetwork | None = None) -> None:
    """Compile what the flow of `section` runs on, by one pair of small images."""
    solver = solver_of(section, network)
    shape = (2, 32, 32, 3)[: 4 if getattr(solver, "channels", 1) == 3 else 3]
    list(solver.stream(iter(np.random.default_rng(0).integers(0, 256, shape, np.uint8))))


def _sampled_pairs(frames: GoodFrames, solver: FlowSolver) -> Iterator[tuple[np.ndarray, Frame, Frame]]:
    """Yield the flow from each frame to the one that comes next, and the two without their images."""
    shown: deque[Frame] = deque()

    def images() -> Iterator[np.ndarray]:
        for frame in frames:
            shown.append(replace(frame, data=None))
            yield frame.data

    for flow in solver.stream(images()):
        yield flow, shown.popleft(), shown[0]


def _native_pairs(frames: GoodFrames, solver: FlowSolver) -> Iterator[tuple[np.ndarray, Frame, Frame]]:
    """Yield the flow of frames that come two by two, and the two; a GPU computes several pairs at a time."""
    frames, on_gpu = iter(frames), hasattr(solver, "quantized_pairs")
    while chunk := list(islice(frames, 2)):
        if on_gpu:
            chunk += islice(frames, max(MAX_CHUNK_BYTES // chunk[0].data.nbytes // 2 * 2 - 2, 0))
        firsts, seconds = chunk[: len(chunk) // 2 * 2 : 2], chunk[1::2]  # a break may leave one alone
        if not seconds:
            return
        flows = solver.pairs(*(np.stack([frame.data for frame in part]) for part in (firsts, seconds)))
        yield from zip(flows, firsts, seconds, strict=True)
