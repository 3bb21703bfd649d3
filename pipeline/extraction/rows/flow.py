"""The optical flow between a video's neighbouring frames as rows of a shard."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from tdn_data.pipeline.extraction.rows.job import Extraction, VideoJob
from tdn_data.pipeline.extraction.rows.video import GoodFrames
from tdn_data.pipeline.flow.methods import build_solver
from tdn_data.pipeline.flow.quantize import flow_statistics, quantize
from tdn_data.pipeline.images import encode_image
from tdn_data.pipeline.shards.schema import STATISTICS, VideoRows


def extract_flow(job: VideoJob, *, decoding: str) -> Extraction:
    """Return the flow between a video's neighbouring frames; raise VideoError when nothing at all comes out."""
    section, frames = job.section, GoodFrames(job, "gray", decoding, overlap=1)
    shown: list[tuple[int, float]] = []
    planes: dict[str, list[bytes]] = {"flow_x": [], "flow_y": []}
    statistics, shape = [], (0, 0)
    for flow in build_solver(section.method, device="auto", options={}).stream(_grey_frames(frames, shown)):
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
def warm_up(method: str) -> None:
    """Compile what `method` runs on, by one pair of small images."""
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32), np.uint8)
    list(build_solver(method, device="auto", options={}).stream(iter(images)))


def _grey_frames(frames: GoodFrames, shown: list[tuple[int, float]]) -> Iterator[np.ndarray]:
    """Yield the grey images, noting in `shown` each one's index and time."""
    for frame in frames:
        shown.append((frame.frame_index, frame.pts_seconds))
        yield frame.data
