"""The end-point error of a flow method, over pairs whose flow is known (dissertation, Table 4.3) or stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tdn_data.models.clips.augment import resize_flow
from tdn_data.models.clips.dataset import split_videos
from tdn_data.models.clips.with_flow import check_same_rate, videos_with_flow
from tdn_data.pipeline.datasets.flow_pairs import FlowPairs
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.flow.accuracy import known_pixels
from tdn_data.pipeline.flow.quantize import dequantize
from tdn_data.pipeline.flow.solver import FlowSolver
from tdn_data.pipeline.progress import OnProgress, reported
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.text import some_of

Pair = tuple[np.ndarray, np.ndarray, np.ndarray]  # two images uint8 (H, W, 3), flow float32 (h, w, 2) in its pixels


@dataclass(frozen=True)
class FlowError:
    """Distances in pixels, means over all pixels of all pairs whose flow is known; `still`: of no motion at all."""

    num_pairs: int
    epe: float
    share_above_1px: float
    still: float


def flow_error(pairs: Iterable[Pair], solver: FlowSolver) -> FlowError:
    """Return how far a solver's flow is from the true one; raise InputError where no pixel's flow is known.

    Where the images have another size than the true flow, the solver's is resized to that, and its vectors with it.
    """
    sums, num_known, num_pairs = np.zeros(3), 0, 0
    for first, second, truth in pairs:
        flow = resize_flow(flow_between(first, second, solver)[None, None], *truth.shape[:2])[0, 0]
        known = known_pixels(truth)
        right = truth[known].astype(np.float64)
        distance = np.linalg.norm(flow[known] - right, axis=1)
        sums += (distance.sum(), np.count_nonzero(distance > 1), np.linalg.norm(right, axis=1).sum())
        num_known, num_pairs = num_known + len(distance), num_pairs + 1
    if not num_known:
        raise InputError("no pixel of any pair has a known flow, so there is nothing to compare with.")
    return FlowError(num_pairs, *(float(value) for value in sums / num_known))


def flow_between(first: np.ndarray, second: np.ndarray, solver: FlowSolver) -> np.ndarray:
    """Return the flow float32 (H, W, 2) between RGB images (H, W, 3), in grey for solvers that take no colour."""
    pair = [first, second]
    if getattr(solver, "channels", 1) == 1:
        pair = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in pair]
    return solver.pairs(*(image[None] for image in pair))[0]


def known_pairs(
    source: FlowPairs, split: str, *, limit: int | None, on_progress: OnProgress | None = None
) -> Iterator[Pair]:
    """Return the pairs of a split of a data set, the first `limit` of them; `on_progress` counts them.

    Raises InputError at once where there is none, and where a file of one is missing.
    """
    pairs = [pair for pair in source.pairs if pair.split == split][:limit]
    if not pairs:
        raise InputError(f"{source.root}: no pair of {source.dataset} is for {split}.", path=source.root)
    if missing := replace(source, pairs=tuple(pairs)).missing():
        words = f"{some_of(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        all_of_them = f"the error is measured on all {len(pairs)} pairs of {split}, or with --limit on the first ones"
        raise InputError(f"{source.root}: {words}; {all_of_them}.", path=source.root)
    return map(source.load, reported(pairs, len(pairs), on_progress))


def stored_pairs(
    frames: ShardReader, flow: ShardReader, split: str, *, limit: int | None, on_progress: OnProgress | None = None
) -> Iterator[Pair]:
    """Yield each two neighbouring frames of the videos of a split with their stored flow, of the first `limit` videos.

    `on_progress` counts videos. Raises InputError where frames and flow were taken at other rates.
    """
    check_same_rate(frames, flow)
    videos = videos_with_flow(split_videos(frames, split), flow)[:limit]
    for video in reported(videos, len(videos), on_progress):
        pictures = frames.read(video.video_id).data
        stored = flow.read(video.video_id)
        yield from zip(pictures[:-1], pictures[1:], dequantize(stored.data, stored.bound), strict=True)
