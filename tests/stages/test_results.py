"""What is printed of the runs, and their mean over train/test splits."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from tdn_data.models.evaluation.results import write_results
from tdn_data.models.evaluation.run_record import EVALUATION, describe_run, write_record
from tdn_data.models.evaluation.scores import VideoScores
from tdn_data.pipeline.shards.reader import DatasetInfo
from tdn_data.stages.cli import main
from tdn_data.stages.params import PARAMS

CONTENT = yaml.safe_load(PARAMS.read_text()) if PARAMS.exists() else {}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function that writes one run's metrics into an empty project; the working folder is that project."""
    monkeypatch.chdir(tmp_path)

    def write(run, *, dataset="hmdb51", tested_on=None, split="test", **metrics):
        folder = tmp_path / run
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(metrics))
        facts = {"name": folder.name, "network": "tsn", "modality": "rgb", "dataset": tested_on or dataset}
        facts |= {"class_names": ("x",), "multi_label": False, "split": split, "list_split": None, "parameters": {}}
        write_record(folder / EVALUATION, describe_run(datetime.now(UTC), **facts))
        (tmp_path / "params.yaml").write_text(
            yaml.safe_dump(CONTENT | {"dataset": {"name": dataset, "root": "x", "lists": "x"}})
        )

    return write


def results(*arguments):
    return CliRunner().invoke(main, ["results", *map(str, arguments)], env={"COLUMNS": "200"})


def test_there_is_no_mean_over_the_results_on_test_and_on_validation_videos(project):
    project("one/tsn-rgb", top1=0.5)
    project("two/tsn-rgb", top1=0.7, split="val")
    answer = CliRunner().invoke(main, ["results", "one", "two"])
    said = " ".join(answer.stderr.split())
    assert answer.exit_code == 2
    assert "tsn-rgb was tested on test of hmdb51 in one and on val of hmdb51 in two, of which there is no mean" in said


def test_the_mean_over_three_splits_is_shown_under_them(project):
    for number, top1 in ((1, 0.50), (2, 0.52), (3, 0.57)):
        project(f"runs-split{number}/tsn-rgb", top1=top1, mAP=0.4, num_videos=1530, list_split=number)
        if number < 3:
            project(f"runs-split{number}/tdn-rgb", top1=0.9, mAP=0.9, num_videos=1530, list_split=number)
    folders = [f"runs-split{number}" for number in (1, 2, 3)]
    printed = results(*folders).stdout
    rows = [[cell.strip() for cell in line.split("│")] for line in printed.splitlines() if "tsn-rgb" in line]
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


def write_split(folder, number, guesses, *, classes=("x", "y"), several=False):
    labels = ((0,), (0,), (1,), (0, 1) if several else (1,))
    scores = VideoScores(("a", "b", "c", "d"), labels, np.eye(2, dtype=np.float32)[guesses])
    write_results(folder, scores, DatasetInfo("hmdb51", classes, several, {}), list_split=number)


def test_each_class_is_averaged_over_the_splits_as_the_whole_is(project, tmp_path):
    for number, guesses in ((1, [0, 0, 1, 0]), (2, [0, 1, 1, 1]), (3, [1, 1, 1, 1])):
        for run in ("tsn-rgb", *(["tdn-rgb"] if number < 3 else [])):
            project(f"split{number}/{run}")
            write_split(tmp_path / f"split{number}/{run}", number, guesses)
    folders = ["split1", "split2", "split3"]
    found = json.loads(results(*folders, "--by-class", "accuracy", "--json").stdout)
    assert found == {"tsn-rgb": pytest.approx({"x": 0.5, "y": 2.5 / 3})}  # TDN lacks split 3
    printed = results(*folders, "--by-class", "accuracy").stdout
    rows = [[cell.strip() for cell in line.split("│")][1:-1] for line in printed.splitlines()]
    assert ["x", "50.0"] in rows and ["y", "83.3"] in rows and "the mean of 3 folders" in printed
    one = json.loads(results("split2", "--by-class", "AP", "--json").stdout)
    assert list(one) == ["tdn-rgb", "tsn-rgb"] and one["tsn-rgb"] == pytest.approx({"x": 0.75, "y": 2 / 3}, abs=0.01)


def test_folders_without_a_run_of_the_same_name_have_no_mean(project, tmp_path):
    for number, run in ((1, "a/tsn-rgb"), (2, "b/tdn-rgb")):
        project(run)
        write_split(tmp_path / run, number, [0, 0, 1, 1])
    answer = results("a", "b", "--by-class", "AP")
    assert answer.exit_code == 2 and "no run is in all of these folders" in answer.stderr


def test_classes_that_cannot_be_put_together_are_named(project, tmp_path):
    for folder, classes in (("a", ("x", "y")), ("b", ("x", "z")), ("c", ("x", "y"))):
        project(f"{folder}/tsn-rgb")
        write_split(tmp_path / folder / "tsn-rgb", len(folder), [0, 0, 1, 1], classes=classes, several=folder == "c")
        (tmp_path / folder / "tsn-rgb/metrics.json").write_text("{}")
    for words, sentence in {
        ("a", "b", "--by-class", "AP"): "a/tsn-rgb and b/tsn-rgb were tested on different classes",
        ("c", "--by-class", "accuracy"): "no class of c/tsn-rgb has an accuracy: videos have several labels there; ask",
    }.items():
        answer = results(*words)
        assert answer.exit_code == 2 and sentence in " ".join(answer.stderr.split()), answer.stderr
    (tmp_path / "a/tsn-rgb/average_precision.csv").write_text("class,average_precision\nx,high\n")
    assert "average_precision.csv is damaged; evaluate the run again" in results("a", "--by-class", "AP").stderr
    (tmp_path / "a/tsn-rgb/average_precision.csv").unlink()
    assert "average_precision.csv is missing; evaluate the run first" in results("a", "--by-class", "AP").stderr


def test_a_split_that_would_count_twice_is_refused(project):
    for folder in ("a", "b"):
        project(f"{folder}/tsn-rgb", top1=0.5, list_split=2)
    answer = results("a", "b")
    assert answer.exit_code == 2 and "a and b are both of list split 2; give each once" in answer.stderr


def test_the_pipelines_own_runs_are_shown_without_arguments(project):
    project("runs/tdn-rgb", dataset="sports1m", hit1=0.711, hit5=0.893, mAP=0.6, num_videos=10)
    printed = results().stdout
    assert "Hit@1" in printed and "71.1" in printed and "89.3" in printed
    assert "top-1" not in printed and "mean" not in printed and "report" not in printed
    Path("report").mkdir()
    Path("report/report.html").touch()
    assert "report: report/report.html" in results().stdout


def test_a_folder_without_results_is_named(project):
    project("runs/tdn-rgb", top1=0.5)
    answer = results("runs/tdn-rgb")
    assert answer.exit_code == 2 and "runs/tdn-rgb holds no evaluated run" in answer.stderr


def test_results_on_other_data_are_not_shown_as_those_of_the_data_set_in_params(project):
    project("runs/tsn-rgb", dataset="folder", tested_on="demo", top1=0.16)
    answer = results()
    assert answer.exit_code == 2 and "16.0" not in answer.stdout
    assert "tsn-rgb is left out: it was tested on demo, not yet on folder" in answer.stderr
    assert "no run of params.yaml is tested on folder yet; `dvc repro` does it" in answer.stderr
    project("runs/tdn-rgb", dataset="folder", top1=0.5)
    assert "50.0" in results().stdout and "16.0" not in results().stdout


def test_a_narrow_screen_gets_whole_numbers(project):
    for folder in ("runs/tsn-rgb", "runs/tsn-flow", "fusions/tsn-fused"):
        project(folder, top1=0.257, mAP=0.301, num_videos=10)
    answer = CliRunner().invoke(main, ["results"], env={"COLUMNS": "20"})
    assert "tsn-rgb: top-1 25.7, mAP 30.1" in answer.stdout and "…" not in answer.stdout


@pytest.mark.parametrize("content", ["{", "[1]", '{"top1": "x"}'])
def test_damaged_metrics_are_named(project, tmp_path, content):
    project("runs/tsn-rgb", top1=0.5)
    (tmp_path / "runs/tsn-rgb/metrics.json").write_text(content)
    answer = results()
    assert answer.exit_code == 2 and "tsn-rgb/metrics.json" in answer.stderr and "damaged" in answer.stderr


def test_a_folder_of_results_can_be_shown_outside_of_any_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info = DatasetInfo("demo", ("x", "y"), False, {})
    folder, scores = tmp_path / "runs/tdn-rgb", VideoScores(("a", "b"), ((0,), (1,)), np.eye(2, dtype=np.float32))
    write_results(folder, scores, info)
    facts = {
        "name": "tdn-rgb",
        "network": "tdn",
        "modality": "rgb",
        "dataset": info.name,
        "class_names": info.class_names,
    }
    facts |= {"multi_label": False, "split": "test", "list_split": None, "parameters": {}}
    write_record(folder / EVALUATION, describe_run(datetime.now(UTC), **facts))
    assert "100.0" in results("runs").stdout
