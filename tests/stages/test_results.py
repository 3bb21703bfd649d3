"""What is printed of the runs, and their mean over train/test splits."""

import json
from datetime import UTC, datetime
from importlib import metadata

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from tdn_data.models.evaluation.evaluate import VideoScores
from tdn_data.models.evaluation.run_record import EVALUATION, TRAINING, describe_run, read_record, write_record
from tdn_data.pipeline.shards.reader import DatasetInfo, StoredVideo
from tdn_data.stages.cli import main
from tdn_data.stages.params import PARAMS
from tdn_data.stages.results import metric_words, read_results, result_columns, write_results

CONTENT = yaml.safe_load(PARAMS.read_text()) if PARAMS.exists() else {}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function that writes one run's metrics into an empty project; the working folder is that project."""
    monkeypatch.chdir(tmp_path)

    def write(run, *, dataset="hmdb51", **metrics):
        folder = tmp_path / run
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(CONTENT | {"dataset": {"name": dataset, "root": "x"}}))

    return write


def results(*arguments):
    return CliRunner().invoke(main, ["results", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_mean_over_three_splits_is_shown_under_them(project):
    for number, top1 in ((1, 0.50), (2, 0.52), (3, 0.57)):
        project(f"runs-split{number}/tsn-rgb", top1=top1, mAP=0.4, num_videos=1530, list_split=number)
        if number < 3:
            project(f"runs-split{number}/tdn-rgb", top1=0.9, mAP=0.9, num_videos=1530, list_split=number)
    folders = [f"runs-split{number}" for number in (1, 2, 3)]
    printed = results(*folders).stdout
    rows = [[cell.strip() for cell in line.split("│")] for line in printed.splitlines() if "TSN" in line]
    assert [row[2:4] for row in rows] == [
        ["runs-split1", "50.0"],
        ["runs-split2", "52.0"],
        ["runs-split3", "57.0"],
        ["mean over 3 splits", "53.0"],
    ]
    means = json.loads(results(*folders, "--json").stdout)["mean over 3 splits"]
    assert means == {"tsn-rgb": pytest.approx({"top1": 0.53, "mAP": 0.4, "num_videos": 1530})}  # TDN lacks split 3


def test_runs_of_several_seeds_are_averaged_as_well(project):
    for number, top1 in enumerate((0.5, 0.6)):
        project(f"seed{number}/tsn-rgb", dataset="demo", top1=top1)
    assert json.loads(results("seed0", "seed1", "--json").stdout)["mean of 2"]["tsn-rgb"] == pytest.approx(
        {"top1": 0.55}
    )


def test_a_split_that_would_count_twice_is_refused(project):
    for folder in ("a", "b"):
        project(f"{folder}/tsn-rgb", top1=0.5, list_split=2)
    answer = results("a", "b")
    assert answer.exit_code == 2 and "a and b are both of list split 2; give each once" in answer.stderr


def test_the_pipelines_own_runs_are_shown_without_arguments(project):
    project("runs/tdn-rgb", dataset="sports1m", hit1=0.711, hit5=0.893, mAP=0.6, num_videos=10)
    printed = results().stdout
    assert "rgb Hit@1" in printed and "71.1" in printed and "89.3" in printed and "runs/report.html" in printed
    assert "top-1" not in printed and "mean" not in printed


def test_a_folder_without_results_is_named(project):
    project("runs/tdn-rgb", top1=0.5)
    answer = results("runs/tdn-rgb")
    assert answer.exit_code == 2 and "runs/tdn-rgb holds no evaluated network" in answer.stderr


def test_a_data_sets_own_metrics_come_first_and_then_map():
    several, one = {"hit1": 0.5, "hit5": 0.7, "mAP": 0.3}, {"top1": 0.5, "top5": 0.7, "mAP": 0.3}
    assert list(result_columns("sports1m", [several])) == ["hit1", "hit5", "mAP"]
    assert list(result_columns("fcvid", [several])) == ["mAP"]
    assert list(result_columns("kinetics400", [one])) == ["top1", "top5", "mAP"]
    assert list(result_columns("demo", [one])) == ["top1", "mAP"]
    assert list(result_columns("folder", [several])) == ["mAP"]
    assert metric_words(one | {"num_videos": 3}, "something-v2") == "top-1 50.0, top-5 70.0, mAP 30.0"


class Shards:
    """What a report asks of a reader of shards: their data set and the labels of their videos."""

    info = DatasetInfo("demo", ("x", "y"), False, {})
    videos = (StoredVideo("a", "test", (0,), 3), StoredVideo("b", "test", (1,), 3))
    modality = "rgb"


SCORES = VideoScores(("a", "b"), ((0,), (1,)), np.eye(2, dtype=np.float32))


def write_run(folder, *, name=None, scores=SCORES, **changes):
    """Write a tested run into a folder of any name; its record says `name`, by default that of the folder."""
    network, _, modality = (name or folder.name).rpartition("-")
    write_results(folder, scores, Shards.info)
    facts = {"network": network, "modality": modality, "dataset": "demo", "class_names": ("x", "y"), "split": "test"}
    facts |= {"multi_label": False, "list_split": None, "parameters": {"rgb": 1.0, "flow": 2.0}} | changes
    write_record(folder / EVALUATION, describe_run(datetime.now(UTC), **facts))


def test_a_curve_starts_at_the_epoch_in_which_it_was_first_logged(tmp_path):
    write_run(tmp_path / "actionflownet-rgb")
    logged = tmp_path / "actionflownet-rgb/training/plots/metrics"
    logged.mkdir(parents=True)
    (logged / "flow_loss.tsv").write_text("step\tflow_loss\n0\t3.0\n1\t2.0\n2\t1.5\n")
    (logged / "accuracy.tsv").write_text("step\taccuracy\n2\t0.5\n")
    (run,), _ = read_results(tmp_path, Shards)
    assert run.curves["flow_loss"] == [3.0, 2.0, 1.5]
    np.testing.assert_array_equal(run.curves["accuracy"], [np.nan, np.nan, 0.5])


def test_only_runs_of_their_name_on_these_shards_are_shown_and_the_others_named(tmp_path):
    write_run(tmp_path / "tdn-rgb")
    write_run(tmp_path / "tsn-fused")
    write_run(tmp_path / "backup", name="tdn-rgb")
    write_run(tmp_path / "lstm-rgb", class_names=("x", "z"))
    write_run(tmp_path / "tdm-rgb", dataset="hmdb51")
    write_run(tmp_path / "stacked-rgb", scores=VideoScores(("a", "c"), ((0,), (1,)), np.eye(2, dtype=np.float32)))
    write_run(tmp_path / "slow_pooling-rgb", scores=VideoScores(("a",), ((1,),), np.ones((1, 2), np.float32)))
    write_results(tmp_path / "old-rgb", SCORES, Shards.info)
    (tmp_path / "half-rgb").mkdir()
    (tmp_path / "half-rgb/scores.parquet").write_bytes(b"PAR1")
    (tmp_path / "half-rgb" / EVALUATION).write_text("{")
    runs, left_out = read_results(tmp_path, Shards)
    assert [(run.model, run.modality) for run in runs] == [("tsn", "fused"), ("tdn", "rgb")]
    assert {words.partition(" ")[0]: words for words in left_out} == {
        "backup": "backup is left out: its record is of the run tdn-rgb.",
        "lstm-rgb": "lstm-rgb is left out: it was tested on shards with another class names.",
        "tdm-rgb": "tdm-rgb is left out: it was tested on shards with another dataset.",
        "stacked-rgb": left_out[-2],
        "slow_pooling-rgb": left_out[-3],
        "old-rgb": left_out[-4],
        "half-rgb": left_out[1],
    }
    assert all("its videos or their labels are not those of the shards" in words for words in left_out[-3:-1])


def test_each_run_tells_its_own_date_machine_versions_and_parameters(tmp_path):
    write_run(tmp_path / "tdn-rgb", parameters={"epochs": 24, "size": None})
    write_record(tmp_path / "tdn-rgb" / TRAINING, read_record(tmp_path / "tdn-rgb" / EVALUATION))
    (run,), _ = read_results(tmp_path, Shards)
    assert run.made.keys() == {"trained", "tested"}
    words = run.made["tested"]
    assert words.startswith(f"{datetime.now(UTC).date()}, 0 s on ") and f"torch {metadata.version('torch')}" in words
    assert words.endswith("split test; epochs 24")


def test_a_narrow_screen_gets_whole_numbers(project):
    for modality in ("rgb", "flow", "fused"):
        project(f"runs/tsn-{modality}", top1=0.257, mAP=0.301, num_videos=10)
    answer = CliRunner().invoke(main, ["results"], env={"COLUMNS": "40"})
    assert "tsn-rgb: top-1 25.7, mAP 30.1" in answer.stdout and "…" not in answer.stdout


@pytest.mark.parametrize("content", ["{", "[1]", '{"top1": "x"}'])
def test_damaged_metrics_are_named(project, tmp_path, content):
    project("runs/tsn-rgb", top1=0.5)
    (tmp_path / "runs/tsn-rgb/metrics.json").write_text(content)
    answer = results()
    assert answer.exit_code == 2 and "tsn-rgb/metrics.json" in answer.stderr and "damaged" in answer.stderr


def test_a_folder_of_results_can_be_shown_outside_of_any_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs/tdn-rgb")
    assert "100.0" in results("runs").stdout
