"""The report's page and its pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.report import RunResult, sample_videos, write_report


def test_frames_and_flow_of_other_shapes_stand_under_each_other(make_shards) -> None:
    frames = make_shards([("v", "val", (0,), np.zeros((4, 20, 30, 3), np.uint8))], class_names=("x",))
    flow = make_shards([("v", "val", (0,), np.full((3, 20, 20, 2), 128, np.uint8))], class_names=("x",))
    (sample,) = sample_videos(frames, flow, split="val", num_columns=2, height=40)
    assert sample.image.shape == (80, 2 * 60, 3)
    assert (sample.image[40:, 80:] == 255).all() and not sample.image[:40].any()
    assert sample_videos(frames, flow, split="test") == []


def test_the_data_sets_own_metrics_and_split_head_the_table(tmp_path: Path) -> None:
    run = RunResult("lstm", "rgb", {"hit1": 0.711, "hit5": 0.893, "mAP": 0.6}, np.array([0.6, np.nan]))
    write_report(
        tmp_path / "report.html",
        dataset="sports1m",
        class_names=("golf", "chess"),
        runs=[run],
        metric_names={"hit1": "Hit@1", "hit5": "Hit@5"},
        split="test",
        samples=[],
        facts={},
    )
    page = (tmp_path / "report.html").read_text()
    assert "<th>RGB Hit@1</th><th>RGB Hit@5</th>" in page and "71.1" in page and "89.3" in page
    assert "top-1" not in page and "split “test”" in page
