"""A list's videos by shard are the same in memory and on the disk."""

import pytest

from tdn_data.pipeline.datasets.manifest import VideoRecord
from tdn_data.pipeline.shards.placement import shard_number
from tdn_data.pipeline.shards.planned import PlannedVideos

RECORDS = [VideoRecord(f"v{n}", "p", "train", (0, n), size_bytes=n, list_splits=(None, "x")) for n in range(100)]


@pytest.mark.parametrize(("run_rows", "rows_at_once"), [(1000, 1000), (1000, 3), (30, 7), (1, 1)])
@pytest.mark.parametrize("count", [1, 8, 64])
def test_each_shard_has_its_videos_in_order_of_identifier(monkeypatch, run_rows, rows_at_once, count):
    monkeypatch.setattr("tdn_data.pipeline.shards.sorting.RUN_ROWS", run_rows)
    monkeypatch.setattr("tdn_data.pipeline.shards.planned.ROWS_AT_ONCE", rows_at_once)
    videos = PlannedVideos(reversed(RECORDS), count)
    for number in range(count):
        wanted = [record for record in RECORDS if shard_number(record.video_id, count) == number]
        wanted.sort(key=lambda record: record.video_id)
        assert videos.of(number) == wanted and len(videos.of(number)) == len(wanted)
    assert all(videos.get(record.video_id) == record for record in RECORDS) and videos.get("w") is None


def test_no_video_makes_an_empty_shard():
    assert tuple(PlannedVideos([], 1).of(0)) == ()
