import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.datasets.manifest import (
    MANIFEST_SCHEMA,
    VideoRecord,
    read_manifest,
    sample_records,
    write_manifest,
)
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.extraction.estimate import ShardSizes, estimate_extraction, estimate_manifest, plan_sizes
from tdn_data.pipeline.extraction.one_shard import VideoJob, extract_video
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters
from tdn_data.pipeline.shards.placement import shard_number
from tdn_data.pipeline.shards.plan import plan_shards

PARAMETERS = ExtractParameters(frames=FrameParameters(height=48, width=64), videos_per_shard=100)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Let every sampled video be measured, however busy the machine."""
    monkeypatch.setattr("tdn_data.pipeline.extraction.estimate.SAMPLE_SECONDS", float("inf"))


def synthetic_manifest(path, num_videos):
    """Write a manifest of many identifiers, in batches."""
    with pq.ParquetWriter(path, MANIFEST_SCHEMA) as writer:
        for start in range(0, num_videos, 50_000):
            ids = [f"class_{number % 239}/{number:011d}" for number in range(start, min(start + 50_000, num_videos))]
            columns = {name: pa.nulls(len(ids), MANIFEST_SCHEMA.field(name).type) for name in MANIFEST_SCHEMA.names}
            writer.write_table(pa.table(columns | {"video_id": ids}, schema=MANIFEST_SCHEMA))


def test_a_synthetic_fcvid_divides_evenly(tmp_path):
    synthetic_manifest(tmp_path / "m.parquet", 91_223)
    sizes = plan_sizes(tmp_path / "m.parquet", videos_per_shard=64)
    assert (sizes.num_videos, sizes.num_shards) == (91_223, 2048)
    assert 0 < sizes.fewest < sizes.mean < sizes.most < 3 * sizes.mean


def test_a_manifest_file_is_priced_without_reading_its_records(clip_folder, tmp_path, monkeypatch):
    path = tmp_path / "m.parquet"
    write_manifest(index_dataset("folder", clip_folder), path)
    monkeypatch.setattr("tdn_data.pipeline.datasets.manifest.ROW_GROUP_SIZE", 5)
    write_manifest(index_dataset("folder", clip_folder), tmp_path / "groups.parquet")
    records = read_manifest(path).records
    assert sample_records(tmp_path / "groups.parquet", 4) == tuple(records[number] for number in (0, 4, 7, 11))
    estimate = estimate_manifest(path, PARAMETERS, sample_size=12)
    assert (estimate.num_videos, estimate.num_sampled, estimate.num_failed) == (12, 12, 2)
    numbers = [shard_number(record.video_id, estimate.num_shards) for record in records]
    assert estimate.most_in_shard == max(map(numbers.count, numbers))


def test_the_price_of_all_is_the_measured_cost_of_all(clip_folder):
    manifest = index_dataset("folder", clip_folder)
    estimate = estimate_extraction(manifest.records, clip_folder, PARAMETERS, sample_size=len(manifest))
    job = [
        VideoJob(str(clip_folder / r.path), "rgb", PARAMETERS.frames, 1 << 20) for r in manifest if r.problem is None
    ]
    rows = [extract_video(one).rows for one in job if "garbage" not in one.path]
    assert (estimate.num_sampled, estimate.num_failed) == (12, 2)
    assert estimate.modalities[0].num_rows == sum(map(len, rows))
    assert estimate.modalities[0].stored_bytes == sum(one.num_bytes() for one in rows)
    assert estimate.num_shards == len(plan_shards(manifest, PARAMETERS, "rgb"))
    assert estimate.hours_on(2) == pytest.approx(estimate.modalities[0].core_hours / 2) and estimate.hours_on(2) > 0


def test_a_larger_set_costs_in_proportion(clip_folder):
    manifest = index_dataset("folder", clip_folder, limit=4)
    sizes = ShardSizes(4000, 64, 50, 62.5, 70)
    estimate = estimate_extraction(manifest.records, clip_folder, PARAMETERS, sample_size=4, sizes=sizes)
    assert estimate.modalities[0].num_rows == 1000 * (8 + 9 + 10 + 11) and estimate.scaled_by == "videos"
    low, high = estimate.modalities[0].core_hours_range
    assert 0 < low <= estimate.modalities[0].core_hours < high


def test_cost_grows_with_the_seconds_of_video_or_the_bytes(monkeypatch, tmp_path):
    """Long videos are rare in the sample and common in the set: their number alone would say half."""
    records = [VideoRecord(f"v{n}", "p", "train", (0,), size_bytes=1, duration_seconds=1.0 + n) for n in range(9)]
    monkeypatch.setattr(
        "tdn_data.pipeline.extraction.estimate._measure",
        lambda record, *_: (int(record.duration_seconds), 7, 3600 * record.duration_seconds),
    )
    sizes = ShardSizes(1000, 8, 100, 125, 150, {"duration_seconds": 10_000.0, "size_bytes": 5e9})
    estimate = estimate_extraction(records, tmp_path, PARAMETERS, sizes=sizes, sample_size=4)
    (one,) = estimate.modalities
    assert (one.num_rows, estimate.scaled_by) == (10_000, "seconds of video")
    assert one.core_hours == pytest.approx(10_000) and one.core_hours_range == pytest.approx((10_000, 10_000))
    bytes_alone = replace(sizes, extents={"size_bytes": 2000.0})
    estimate = estimate_extraction(records, tmp_path, PARAMETERS, sizes=bytes_alone, sample_size=4)
    assert (estimate.scaled_by, estimate.modalities[0].stored_bytes) == ("bytes", 7 * 2000)


def test_the_range_holds_the_truth_about_nineteen_times_of_twenty(monkeypatch, tmp_path):
    rng, inside = np.random.default_rng(0), 0
    costs = rng.lognormal(0, 0.3, 3000)
    monkeypatch.setattr(
        "tdn_data.pipeline.extraction.estimate._measure", lambda record, *_: (1, 1, costs[record.size_bytes])
    )
    sizes = ShardSizes(3000, 64, 40, 46, 50)
    for _ in range(400):
        records = [VideoRecord("v", "p", "train", (0,), size_bytes=int(n)) for n in rng.choice(3000, 8, replace=False)]
        (one,) = estimate_extraction(records, tmp_path, PARAMETERS, sizes=sizes).modalities
        low, high = one.core_hours_range
        inside += low <= costs.sum() / 3600 <= high
    assert 0.9 < inside / 400 < 0.99


def test_a_root_without_its_videos_is_named(clip_folder, tmp_path):
    manifest = index_dataset("folder", clip_folder)
    with pytest.raises(InputError, match="none of 8 sampled videos under .* can be read"):
        estimate_extraction(manifest.records, tmp_path, PARAMETERS)


def test_without_time_one_readable_video_must_do(clip_folder, monkeypatch):
    monkeypatch.setattr("tdn_data.pipeline.extraction.estimate.SAMPLE_SECONDS", 0)
    estimate = estimate_extraction(index_dataset("folder", clip_folder).records, clip_folder, PARAMETERS)
    assert estimate.num_sampled - estimate.num_failed == 1 and estimate.modalities[0].num_rows > 0


def test_what_a_process_does_at_its_start_is_not_priced(clip_folder, monkeypatch):
    calls = []

    def measure(record, root, parameters, modality):
        calls.append(modality)
        return (10, 100, 3600.0 if calls.count(modality) == 1 else 36.0)

    monkeypatch.setattr("tdn_data.pipeline.extraction.estimate._measure", measure)
    both = PARAMETERS.model_copy(update={"flow": FlowParameters(height=48, width=64)})
    records = [replace(one, size_bytes=None) for one in index_dataset("folder", clip_folder)]
    estimate = estimate_extraction(records, clip_folder, both, sample_size=4)
    assert [one.core_hours for one in estimate.modalities] == pytest.approx([0.12, 0.12])


def test_each_modality_says_how_many_videos_it_was_measured_on(clip_folder, monkeypatch):
    def measure(record, root, parameters, modality):
        seconds = 0.3 if modality == "flow" else 0.0
        time.sleep(seconds)
        return (1, 1, seconds)

    monkeypatch.setattr("tdn_data.pipeline.extraction.estimate._measure", measure)
    monkeypatch.setattr("tdn_data.pipeline.extraction.estimate.SAMPLE_SECONDS", 0.1)
    both = PARAMETERS.model_copy(update={"flow": FlowParameters(height=48, width=64)})
    records = index_dataset("folder", clip_folder, limit=4).records
    estimate = estimate_extraction(records, clip_folder, both, sample_size=4)
    assert {one.modality: one.num_sampled for one in estimate.modalities} == {"rgb": 4, "flow": 1}
    assert estimate.modalities[0].num_rows == 4 and estimate.modalities[1].core_hours_range is None
