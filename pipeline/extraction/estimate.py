"""What an extraction will cost, before it starts: a few videos are extracted for real, the rest is multiplication.

A manifest file is read in batches, so that ten million videos need neither the memory nor the minutes that ten million
records would.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tdn_data.pipeline.datasets.manifest import VideoRecord, manifest_root, sample_records
from tdn_data.pipeline.errors import InputError, VideoError
from tdn_data.pipeline.extraction.one_shard import extract_in_sandbox
from tdn_data.pipeline.extraction.rows.job import VideoJob
from tdn_data.pipeline.parameters import ExtractParameters
from tdn_data.pipeline.shards.placement import num_shards, shard_number

SAMPLE_SIZE = 8
SAMPLE_SECONDS = 4.0  # for each modality; the video being measured then is finished
BATCH_ROWS = 1 << 16
EXTENTS = {"duration_seconds": "seconds of video", "size_bytes": "bytes"}  # what cost grows with, the best first


@dataclass(frozen=True)
class ShardSizes:
    """How a manifest divides into shards: their number, and the fewest, mean and most videos in one.

    `extents` are the sums of the columns of `EXTENTS` that no video lacks.
    """

    num_videos: int
    num_shards: int
    fewest: int
    mean: float
    most: int
    extents: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModalityEstimate:
    """One modality's cost, scaled up from its `num_sampled` videos, of which `num_failed` did not open.

    `core_hours_range` holds the true cost 19 times of 20, as far as the sample is like the rest; None for one video.
    """

    modality: str
    num_sampled: int
    num_failed: int
    num_rows: int
    stored_bytes: int
    core_hours: float
    core_hours_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Estimate:
    """The cost of an extraction; `num_sampled` videos were measured, of which `num_failed` did not open.

    `scaled_by` says what the sampled videos' cost was multiplied by: seconds of video, bytes, or their number.
    `most_in_shard`, where all identifiers were read, is the number of videos in the fullest shard.
    """

    num_videos: int
    num_sampled: int
    num_failed: int
    num_shards: int
    modalities: tuple[ModalityEstimate, ...]
    scaled_by: str
    most_in_shard: int | None = None

    def hours_on(self, num_cores: int) -> float:
        """Return the hours that so many cores take, when all are busy all the time."""
        return sum(one.core_hours for one in self.modalities) / num_cores


class _VideoIds(Collection[str]):
    """The identifiers of a manifest file, read when they are asked for, a batch at a time."""

    def __init__(self, file: pq.ParquetFile) -> None:
        self._file = file

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    def __iter__(self) -> Iterator[str]:
        for batch in self._file.iter_batches(BATCH_ROWS, columns=["video_id"]):
            yield from batch["video_id"].to_pylist()

    def __contains__(self, video_id: object) -> bool:
        return any(one == video_id for one in self)


def plan_sizes(manifest: Path, *, videos_per_shard: int) -> ShardSizes:
    """Return how the videos of a manifest file divide into shards, reading identifiers alone, a batch at a time."""
    file = pq.ParquetFile(manifest)
    num_videos = file.metadata.num_rows
    if not num_videos:
        raise InputError(f"{manifest} lists no video.", path=manifest)
    count = num_shards(_VideoIds(file), videos_per_shard)
    sizes, extents, lacking = np.zeros(count, np.int64), dict.fromkeys(EXTENTS, 0.0), set()
    for batch in file.iter_batches(BATCH_ROWS, columns=["video_id", *EXTENTS]):
        numbers = [shard_number(video_id, count) for video_id in batch["video_id"].to_pylist()]
        sizes += np.bincount(numbers, minlength=count)
        for name in EXTENTS:
            extents[name] += pc.sum(batch[name]).as_py() or 0
            lacking |= {name} if batch[name].null_count else set()
    known = {name: total for name, total in extents.items() if name not in lacking}
    return ShardSizes(num_videos, count, int(sizes.min()), num_videos / count, int(sizes.max()), known)


def estimate_extraction(
    records: Sequence[VideoRecord],
    root: Path,
    parameters: ExtractParameters,
    *,
    sizes: ShardSizes | None = None,
    sample_size: int = SAMPLE_SIZE,
) -> Estimate:
    """Extract up to `sample_size` videos spread evenly over `records`, as many as a few seconds allow, and return what
    all will cost: all of `records`, or those that `sizes` tells of. Raises InputError when none of them can be read.
    """
    sizes = sizes or _sizes_of(records, parameters.videos_per_shard)
    chosen = [records[index] for index in np.unique(np.linspace(0, len(records) - 1, sample_size).round().astype(int))]
    random.Random(0).shuffle(chosen)  # so that a sample that time cuts short is spread, too
    measured = {modality: _sample(chosen, root, parameters, modality) for modality in parameters.modalities}
    fewest = min(measured.values(), key=len)
    if not all(any(ones) for ones in measured.values()):
        raise InputError(f"none of {len(fewest)} sampled videos under {root} can be read; check --root.", path=root)
    extent = next((name for name in EXTENTS if sizes.extents.get(name)), None)
    parts = [getattr(record, extent) if extent else 1 for record in chosen]
    whole = sizes.extents[extent] if extent else sizes.num_videos
    return Estimate(
        sizes.num_videos,
        len(fewest),
        max(sum(one is None for one in ones) for ones in measured.values()),
        sizes.num_shards,
        tuple(_scaled(modality, ones, parts, whole, sizes.num_videos) for modality, ones in measured.items()),
        EXTENTS.get(extent, "videos"),
        sizes.most,
    )


def _sizes_of(records: Sequence[VideoRecord], videos_per_shard: int) -> ShardSizes:
    """Return how records divide into shards."""
    count = num_shards([record.video_id for record in records], videos_per_shard)
    sizes = np.bincount([shard_number(record.video_id, count) for record in records], minlength=count)
    columns = {name: [getattr(record, name) for record in records] for name in EXTENTS}
    known = {name: float(sum(column)) for name, column in columns.items() if None not in column}
    return ShardSizes(len(records), count, int(sizes.min()), len(records) / count, int(sizes.max()), known)


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
    return estimate_extraction(records, root, parameters, sizes=sizes, sample_size=sample_size)


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


def _scaled(
    modality: str, measured: list[tuple[int, int, float] | None], parts: list[float], whole: float, num_videos: int
) -> ModalityEstimate:
    """Scale what was measured up from the `parts` of a few videos to the `whole`; unread ones cost nothing.

    This is the ratio estimate of a sample (Cochran, Sampling Techniques, chapter 6), its range that of Student's t with
    the correction for a sample that is much of the whole.
    """
    costs = np.asarray([one or (0, 0, 0.0) for one in measured], float)  # (N, rows bytes seconds)
    extents = np.asarray(parts[: len(measured)], float)
    ratios = costs.sum(axis=0) / max(extents.sum(), 1e-9)
    rows, stored_bytes, seconds = ratios * whole
    num_failed, spread = sum(one is None for one in measured), None
    if len(measured) > 1:
        residuals = costs[:, 2] - ratios[2] * extents
        variance = (residuals**2).sum() / (len(measured) - 1) * (1 - len(measured) / num_videos)
        error = num_videos * np.sqrt(max(variance, 0) / len(measured)) * _student(len(measured) - 1)
        spread = max(seconds - error, costs[:, 2].sum()) / 3600, (seconds + error) / 3600
    return ModalityEstimate(
        modality, len(measured), num_failed, round(rows), round(stored_bytes), float(seconds) / 3600, spread
    )


def _student(freedom: int) -> float:
    """Return what Student's t exceeds once in 40 times, by its degrees of freedom."""
    known = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
    return known[freedom - 1] if freedom <= len(known) else 1.96 + 2.5 / freedom
