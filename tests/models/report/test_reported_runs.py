"""Which runs the report shows, and what it says of each."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import metadata

import numpy as np
import pytest

from tdn_data.models.evaluation.results import write_results
from tdn_data.models.evaluation.run_record import EVALUATION, TRAINING, describe_run, read_record, write_record
from tdn_data.models.evaluation.scores import VideoScores
from tdn_data.models.report.reported_runs import read_results, report_runs
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import DatasetInfo, StoredVideo


class Shards:
    """What a report asks of a reader of shards: their data set and the labels of their videos."""

    info = DatasetInfo("demo", ("x", "y"), False, {})
    videos = (StoredVideo("a", "test", (0,), 3), StoredVideo("b", "test", (1,), 3))
    modality = "rgb"


SCORES = VideoScores(("a", "b"), ((0,), (1,)), np.eye(2, dtype=np.float32))


def folders(root):
    """Every folder below a root by its name."""
    return {path.name: path for path in sorted(root.iterdir())}


def write_run(folder, *, name=None, scores=SCORES, **changes):
    """Write a tested run into a folder of any name; its record says `name`, by default that of the folder."""
    network, _, modality = (name or folder.name).rpartition("-")
    write_results(folder, scores, Shards.info)
    facts = {
        "name": name or folder.name,
        "network": network,
        "modality": modality,
        "dataset": "demo",
        "class_names": ("x", "y"),
        "split": "test",
    }
    facts |= {"multi_label": False, "list_split": None, "parameters": {"rgb": 1.0, "flow": 2.0}} | changes
    write_record(folder / EVALUATION, describe_run(datetime.now(UTC), **facts))


def test_a_curve_starts_at_the_epoch_in_which_it_was_first_logged(tmp_path):
    write_run(tmp_path / "actionflownet-rgb")
    logged = tmp_path / "actionflownet-rgb/training/plots/metrics"
    logged.mkdir(parents=True)
    (logged / "flow_loss.tsv").write_text("step\tflow_loss\n0\t3.0\n1\t2.0\n2\t1.5\n")
    (logged / "accuracy.tsv").write_text("step\taccuracy\n2\t0.5\n")
    (run,), _ = read_results(folders(tmp_path), Shards.info, Shards.videos)
    assert run.curves["flow_loss"] == [3.0, 2.0, 1.5]
    np.testing.assert_array_equal(run.curves["accuracy"], [np.nan, np.nan, 0.5])


def test_only_runs_of_their_name_on_these_shards_are_shown_and_the_others_named(tmp_path):
    write_run(tmp_path / "tdn-rgb")
    write_run(tmp_path / "tsn-fused")
    write_run(tmp_path / "backup", name="tdn-rgb")
    write_run(tmp_path / "lstm-rgb", class_names=("x", "z"))
    write_run(tmp_path / "tdn_wang-rgb", dataset="hmdb51")
    write_run(tmp_path / "stacked-rgb", scores=VideoScores(("a", "c"), ((0,), (1,)), np.eye(2, dtype=np.float32)))
    write_run(tmp_path / "slow_pooling-rgb", scores=VideoScores(("a",), ((1,),), np.ones((1, 2), np.float32)))
    write_results(tmp_path / "old-rgb", SCORES, Shards.info)
    (tmp_path / "half-rgb").mkdir()
    (tmp_path / "half-rgb/scores.parquet").write_bytes(b"PAR1")
    (tmp_path / "half-rgb" / EVALUATION).write_text("{")
    runs, left_out = read_results(folders(tmp_path), Shards.info, Shards.videos)
    assert [run.name for run in runs] == ["tdn-rgb", "tsn-fused"]
    assert {words.partition(" ")[0]: words for words in left_out} == {
        "backup": "backup is left out: its record is of the run tdn-rgb.",
        "lstm-rgb": "lstm-rgb is left out: it was tested on shards with another class names.",
        "tdn_wang-rgb": "tdn_wang-rgb is left out: it was tested on shards with another dataset.",
        "stacked-rgb": left_out[-2],
        "slow_pooling-rgb": left_out[-3],
        "old-rgb": left_out[-4],
        "half-rgb": left_out[1],
    }
    assert all("its videos or their labels are not those of the shards" in words for words in left_out[-3:-1])


def test_each_run_says_its_own_date_machine_versions_and_parameters(tmp_path):
    write_run(tmp_path / "tdn-rgb", parameters={"epochs": 24, "size": None})
    write_record(tmp_path / "tdn-rgb" / TRAINING, read_record(tmp_path / "tdn-rgb" / EVALUATION))
    (run,), _ = read_results(folders(tmp_path), Shards.info, Shards.videos)
    assert run.made.keys() == {"trained", "tested"}
    words = run.made["tested"]
    assert words.startswith(f"{datetime.now(UTC).date()}, 0 s on ") and f"torch {metadata.version('torch')}" in words
    assert words.endswith("split test; epochs 24")


def test_without_shards_the_records_say_what_was_tested_and_the_page_what_is_not_here(tmp_path):
    write_run(
        tmp_path / "tdn-rgb", scores=VideoScores(("a", "b"), ((0,), (1,)), np.array([[1.0, 0], [3, 0]], np.float32))
    )
    write_run(tmp_path / "lstm-rgb", class_names=("x", "z"))
    runs = {name: tmp_path / name for name in ("untested-rgb", "tdn-rgb", "lstm-rgb")}
    not_here = ["data/shards/demo/rgb holds no finished shards."]
    report_runs(tmp_path / "report.html", runs, dataset="demo", shards=[], not_here=not_here)
    page = (tmp_path / "report.html").read_text()
    assert not_here[0] in page and "lstm-rgb is left out" in page and "No frames are shown" in page
    assert "1 of 2 wrong" in page and "<b>y</b> 0.05, taken for <b>x</b> 0.95<br>b" in page
    with pytest.raises(InputError, match="no shards of hmdb51 here, and no run that was tested on it"):
        report_runs(tmp_path / "report.html", runs, dataset="hmdb51", shards=[])
