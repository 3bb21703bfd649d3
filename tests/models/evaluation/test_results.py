"""Results as they are written, and what is shown of them."""

from __future__ import annotations

import csv
import json

import numpy as np

from tdn_data.models.evaluation.results import metric_words, result_columns, table_heads, table_rows, write_results
from tdn_data.models.evaluation.scores import VideoScores, read_scores
from tdn_data.pipeline.shards.reader import DatasetInfo


def test_a_data_sets_own_metrics_come_first_and_then_map():
    several, one = {"hit1": 0.5, "hit5": 0.7, "mAP": 0.3}, {"top1": 0.5, "top5": 0.7, "mAP": 0.3}
    assert list(result_columns("sports1m", [several])) == ["hit1", "hit5", "mAP"]
    assert list(result_columns("fcvid", [several])) == ["mAP"]
    assert list(result_columns("kinetics400", [one])) == ["top1", "top5", "mAP"]
    assert list(result_columns("demo", [one])) == ["top1", "mAP"]
    assert list(result_columns("folder", [several])) == ["mAP"]
    assert metric_words(one | {"num_videos": 3}, "something-v2") == "top-1 50.0, top-5 70.0, mAP 30.0"


def test_a_runs_folder_holds_scores_metrics_average_precisions_and_confusions(tmp_path):
    scores = VideoScores(("a", "b"), ((0,), (1,)), np.array([[1, 0], [3, 2]], np.float32))
    metrics = write_results(tmp_path / "run", scores, DatasetInfo("demo", ("x", "y"), False, {}), list_split=2)
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == metrics.as_dict() | {"list_split": 2}
    assert metrics.top1 == 0.5
    assert read_scores(tmp_path / "run/scores.parquet").video_ids == ("a", "b")
    rows = {
        name: list(csv.reader((tmp_path / "run" / name).read_text().splitlines()))
        for name in ("average_precision.csv", "confusion.csv")
    }
    heads = ["class", "average_precision", "accuracy"]
    assert rows["average_precision.csv"] == [heads, ["x", "0.5", "1.0"], ["y", "1.0", "0.0"]]
    assert rows["confusion.csv"] == [["actual", "predicted"], ["x", "x"], ["y", "x"]]


def test_the_table_has_a_row_for_each_run_and_folder_and_gaps_where_nothing_was_measured():
    folders = {"one": {"tsn-flow": {"top1": 1.0}, "both": {"top1": 0.5, "mAP": float("nan")}}, "two": {"both": {}}}
    assert table_heads(folders, "demo") == ["top-1", "mAP"]
    assert list(table_rows(folders, "demo")) == [
        ("tsn-flow", "one", ["100.0", ""]),
        ("both", "one", ["50.0", ""]),
        ("both", "two", ["", ""]),
    ]
