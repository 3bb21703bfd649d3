"""The optical flow between a video's neighbouring frames as rows of a shard."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from tdn_data.pipeline.extraction.rows.job import Extraction, VideoJob
from tdn_data.pipeline.extraction.rows.video import GoodFrames
from tdn_data.pipeline.flow.methods import build_solver
from tdn_data.pipeline.flow.quantize import flow_statistics, quantize
from tdn_data.pipeline.flow.solver import FlowSolver
from tdn_data.pipeline.images import encode_image
from tdn_data.pipeline.parameters import FlowNetwork
from tdn_data.pipeline.shards.schema import STATISTICS, VideoRows


def extract_flow(job: VideoJob, *, decoding: str) -> Extraction:
    """Return the flow between a video's neighbouring frames; raise VideoError when nothing at all comes out."""
    section, solver = job.section, solver_of(job.section.method, job.network)
    frames = GoodFrames(job, "rgb24" if getattr(solver, "channels", 1) == 3 else "gray", decoding, overlap=1)
    shown: list[tuple[int, float]] = []
    planes: dict[str, list[bytes]] = {"flow_x": [], "flow_y": []}
    statistics, shape = [], (0, 0)
    for flow in solver.stream(_images(frames, shown)):
        statistics.append(flow_statistics(flow, section.bound))
        stored = quantize(flow, section.bound)
        for axis, name in enumerate(planes):
            plane = np.ascontiguousarray(stored[..., axis])
            planes[name].append(encode_image(plane, codec=section.codec, quality=section.quality))
        shape = flow.shape[:2]
    count = len(planes["flow_x"])
    pts = np.asarray([seconds for _, seconds in shown])
    rows = VideoRows(
        modality="flow",
        frame_index=np.asarray([index for index, _ in shown[:count]], np.int64),
        pts_seconds=pts[:count],
        height=shape[0],
        width=shape[1],
        payloads=planes,
        next_pts_seconds=pts[1 : count + 1],
        bound=section.bound,
        statistics={name: np.array([getattr(one, name) for one in statistics]) for name in STATISTICS["flow"]},
    )
    return frames.extraction(rows, num_expected=max(frames.num_expected(count + 1) - 1, 0))


@lru_cache(maxsize=1)
def solver_of(method: str, network: FlowNetwork | None = None) -> FlowSolver:
    """Return the solver of a method, or the one that `network` names; a process keeps it from video to video."""
    if network is None:
        return build_solver(method, device="auto", options={})
    module, name = network.make.split(":")
    return getattr(importlib.import_module(module), name)(network.method)


@lru_cache(maxsize=1)
def warm_up(method: str, network: FlowNetwork | None = None) -> None:
    """Compile what `method` runs on, by one pair of small images."""
    solver = solver_of(method, network)
    shape = (2, 32, 32, 3)[: 4 if getattr(solver, "channels", 1) == 3 else 3]
    list(solver.stream(iter(np.random.default_rng(0).integers(0, 256, shape, np.uint8))))


def _images(frames: GoodFrames, shown: list[tuple[int, float]]) -> Iterator[np.ndarray]:
    """Yield the images, noting in `shown` each one's index and time."""
    for frame in frames:
        shown.append((frame.frame_index, frame.pts_seconds))
        yield frame.data
