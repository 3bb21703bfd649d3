"""What an extraction will cost, before it starts: a few videos are extracted for real, the rest is multiplication.

A manifest file is read in batches, so that ten million videos need neither the memory nor the minutes that ten million
records would.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tdn_data.pipeline.datasets.manifest import VideoRecord, manifest_root, sample_records
from tdn_data.pipeline.errors import InputError, VideoError
from tdn_data.pipeline.extraction.one_shard import extract_in_sandbox
from tdn_data.pipeline.extraction.rows.job import VideoJob
from tdn_data.pipeline.parameters import ExtractParameters
from tdn_data.pipeline.shards.plan import num_shards, shard_number

SAMPLE_SIZE = 8
SAMPLE_SECONDS = 4.0  # for each modality; the video being measured then is finished
BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class ShardSizes:
    """How a manifest divides into shards: their number, and the fewest, mean and most videos in one."""

    num_videos: int
    num_shards: int
    fewest: int
    mean: float
    most: int


@dataclass(frozen=True)
class ModalityEstimate:
    """One modality's cost, scaled up from its `num_sampled` videos, of which `num_failed` did not open."""

    modality: str
    num_sampled: int
    num_failed: int
    num_rows: int
    stored_bytes: int
    core_hours: float


@dataclass(frozen=True)
class Estimate:
    """The cost of an extraction; `num_sampled` videos were measured, of which `num_failed` did not open.

    `most_in_shard`, where all identifiers were read, is the number of videos in the fullest shard.
    """

    num_videos: int
    num_sampled: int
    num_failed: int
    num_shards: int
    modalities: tuple[ModalityEstimate, ...]
    most_in_shard: int | None = None

    def hours_on(self, num_cores: int) -> float:
        """Return the hours that so many cores take, when all are busy all the time."""
        return sum(one.core_hours for one in self.modalities) / num_cores


def plan_sizes(manifest: Path, *, videos_per_shard: int) -> ShardSizes:
    """Return how the videos of a manifest file divide into shards, reading identifiers alone, a batch at a time."""
    file = pq.ParquetFile(manifest)
    num_videos = file.metadata.num_rows
    if not num_videos:
        raise InputError(f"{manifest} lists no video.", path=manifest)
    count = num_shards(num_videos, videos_per_shard)
    sizes = np.zeros(count, np.int64)
    for batch in file.iter_batches(BATCH_ROWS, columns=["video_id"]):
        numbers = [shard_number(video_id, count) for video_id in batch["video_id"].to_pylist()]
        sizes += np.bincount(numbers, minlength=count)
    return ShardSizes(num_videos, count, int(sizes.min()), num_videos / count, int(sizes.max()))


def estimate_extraction(
    records: Sequence[VideoRecord],
    root: Path,
    parameters: ExtractParameters,
    *,
    num_videos: int | None = None,
    sample_size: int = SAMPLE_SIZE,
) -> Estimate:
    """Extract up to `sample_size` videos spread evenly over `records`, as many as a few seconds allow, and return what
    all `num_videos` (default: all of `records`) will cost. Raises InputError when none of them can be read.
    """
    total = len(records) if num_videos is None else num_videos
    chosen = [records[index] for index in np.unique(np.linspace(0, len(records) - 1, sample_size).round().astype(int))]
    random.Random(0).shuffle(chosen)  # so that a sample that time cuts short is spread, too
    measured = {modality: _sample(chosen, root, parameters, modality) for modality in parameters.modalities}
    fewest = min(measured.values(), key=len)
    if not all(any(ones) for ones in measured.values()):
        raise InputError(f"none of {len(fewest)} sampled videos under {root} can be read; check --root.", path=root)
    return Estimate(
        total,
        len(fewest),
        max(sum(one is None for one in ones) for ones in measured.values()),
        num_shards(total, parameters.videos_per_shard),
        tuple(_modality_price(modality, ones, total) for modality, ones in measured.items()),
    )


def _sample(
    records: Sequence[VideoRecord], root: Path, parameters: ExtractParameters, modality: str
) -> list[tuple[int, int, float] | None]:
    """Measure videos until `SAMPLE_SECONDS` are over, at least one that can be read where there is one.

    The first of those is extracted once before: what a process does at its start (importing, compiling the flow's
    loops, 900 seconds for the first time on a machine) is no cost of a video.
    """
    for record in records:
        if _measure(record, root, parameters, modality) is not None:
            break
    measured, started = [], time.perf_counter()
    for record in records:
        measured.append(_measure(record, root, parameters, modality))
        if any(measured) and time.perf_counter() - started > SAMPLE_SECONDS:
            break
    return measured


def estimate_manifest(
    path: Path, parameters: ExtractParameters, *, root: Path | None = None, sample_size: int = SAMPLE_SIZE
) -> Estimate:
    """Return what the videos of a manifest file will cost, as `estimate_extraction` does, without reading all records.

    `root` is the folder that holds the videos, None for the one that the manifest names.
    """
    root = manifest_root(path, root)
    sizes = plan_sizes(path, videos_per_shard=parameters.videos_per_shard)
    records = sample_records(path, sample_size)
    estimate = estimate_extraction(records, root, parameters, num_videos=sizes.num_videos, sample_size=sample_size)
    return replace(estimate, most_in_shard=sizes.most)


def _measure(
    record: VideoRecord, root: Path, parameters: ExtractParameters, modality: str
) -> tuple[int, int, float] | None:
    """Return one video's rows, bytes and seconds in one modality; None when it cannot be read."""
    section = parameters.section(modality)
    job = VideoJob(str(root / record.path), modality, section, parameters.limits.max_pixels, network=parameters.network)
    started = time.perf_counter()
    try:
        rows = extract_in_sandbox(job, parameters.limits).rows
    except VideoError:
        return None
    return len(rows), rows.num_bytes(), time.perf_counter() - started


def _modality_price(modality: str, measured: list[tuple[int, int, float] | None], num_videos: int) -> ModalityEstimate:
    """Scale what was measured up to all videos; one that cannot be read costs nothing."""
    scale, num_failed = num_videos / len(measured), sum(one is None for one in measured)
    rows, stored_bytes, seconds = (sum(column) * scale for column in zip(*filter(None, measured), strict=True))
    return ModalityEstimate(modality, len(measured), num_failed, round(rows), round(stored_bytes), seconds / 3600)
