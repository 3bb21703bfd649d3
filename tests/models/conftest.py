"""Small finished extractions, written from arrays, for what reads shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tdn_data.models.threads import torch_threads
from tdn_data.pipeline.images import encode_image
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.schema import SCHEMA_VERSION, LedgerRow, VideoRows, shard_name
from tdn_data.pipeline.shards.shard_folder import gather, write_folder
from tdn_data.pipeline.shards.shard_formats import shard_writer
from tdn_data.pipeline.shards.storage import Storage

# video_id, split, labels, and frames uint8 (N, H, W, 3) or flow (N, H, W, 2); None for a video that failed
Video = tuple[str, str, tuple[int, ...], np.ndarray | None]
MakeShards = Callable[..., ShardReader]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread: the networks here are small, and other programs may share the cores."""
    with torch_threads(1):
        yield


def write_shards(
    parent: Path,
    videos: Sequence[Video],
    *,
    class_names: Sequence[str],
    multi_label: bool = False,
    name: str = "folder",
    parameters: Mapping[str, object] | None = None,
    frames_per_second: float = 10.0,
    bound: float = 20.0,
) -> ShardReader:
    """Store videos losslessly in a new folder below `parent` and open them."""
    modality = "flow" if next(data for *_, data in videos if data is not None).shape[-1] == 2 else "rgb"
    folder = parent / f"shards-{modality}"
    folder.mkdir()
    storage, shard = Storage(folder), shard_name(modality, 0, 1, "parquet")
    writer = shard_writer(folder / shard, modality=modality, extension="parquet")
    for video_id, split, labels, data in videos:
        if data is not None:
            rows = _rows(data, modality, frames_per_second, bound)
            writer.add(rows, video_id=video_id, split=split, labels=labels)
    ledger = [_ledger_row(video, modality, shard) for video in videos]
    about = {"schema_version": SCHEMA_VERSION, "dataset": name, "class_names": list(class_names)}
    about |= {"multi_label": multi_label, "modality": modality, "parameters_digest": "", "plan_digest": ""}
    writer.close(about | {"parameters": {"codec": "png", **(parameters or {})}}, ledger)
    write_folder(storage, gather(storage, [shard]))
    return ShardReader(folder, modality=modality)


@pytest.fixture
def make_shards(tmp_path: Path) -> MakeShards:
    """The function `write_shards`, for the test's own folder."""
    return partial(write_shards, tmp_path)


def _rows(data: np.ndarray, modality: str, frames_per_second: float, bound: float) -> VideoRows:
    count, height, width = data.shape[:3]
    times, next_times = np.arange(count) / frames_per_second, np.arange(1, count + 1) / frames_per_second
    if modality == "rgb":
        payloads = {"image": [encode_image(frame, codec="png") for frame in data]}
        return VideoRows(modality, np.arange(count), times, height, width, payloads)
    payloads = {
        name: [encode_image(np.ascontiguousarray(plane), codec="png") for plane in data[..., axis]]
        for axis, name in enumerate(("flow_x", "flow_y"))
    }
    return VideoRows(modality, np.arange(count), times, height, width, payloads, next_times, bound)


def _ledger_row(video: Video, modality: str, shard: str) -> LedgerRow:
    video_id, split, labels, data = video
    row = LedgerRow(video_id, modality, f"{video_id}.mp4", split, labels, "failed", "missing", shard=shard)
    return row if data is None else replace(row, status="ok", reason=None, num_stored=len(data))


@pytest.fixture
def coloured(make_shards: MakeShards) -> ShardReader:
    """Red that brightens and green that darkens: eight training and four test videos, 8 frames of 32 x 32."""
    generator = np.random.default_rng(0)
    videos = []
    for number in range(12):
        label = number % 2
        frames = generator.integers(0, 60, (8, 32, 32, 3), dtype=np.uint8)
        frames[..., label] += 100
        frames += 10 * np.arange(8, dtype=np.uint8)[:: 1 if label == 0 else -1, None, None, None]
        videos.append((f"v{number:02d}", "train" if number < 8 else "test", (label,), frames))
    return make_shards(videos, class_names=("red", "green"))
