"""The DVC pipeline itself, whole, on a very small rendering, in a copy of the project."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tdn_data.pipeline.errors import InputError
from tdn_data.stages.params import load_params

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]


RUNS = [f"{network}-{modality}" for network in ("tsn", "tdn") for modality in ("rgb", "flow")]


def test_every_stage_leaves_its_outputs(project, run):
    for folder in (*(f"runs/{name}" for name in RUNS), "fusions/tsn-fused", "fusions/tdn-fused"):
        metrics = json.loads((project / folder / "metrics.json").read_text())
        assert metrics["num_videos"] == 8 and 0 <= metrics["top1"] <= metrics["top5"] <= 1
    report = (project / "report/report.html").read_text()
    num_mistakes = report.count('<img alt="frames of ')
    assert report.count("<svg") >= 9 and report.count("<img alt=") == 8 + len(RUNS) + num_mistakes
    assert report.count(", taken for <b>") == num_mistakes > 0  # so small a training errs


def test_a_second_repro_does_nothing(project, run):
    assert "Data and pipelines are up to date" in run(project, "dvc", "repro")


def test_metrics_and_plots_are_shown_and_can_be_compared_in_a_clone(project, run, tmp_path):
    metrics = run(project, "dvc", "metrics", "show")
    assert "top1" in metrics and "runs/tdn-rgb/metrics.json" in metrics.replace(os.sep, "/")
    run(project, "dvc", "plots", "show")
    assert (project / "dvc_plots/index.html").stat().st_size > 1000
    run(project, "git", "clone", "-q", str(project), str(tmp_path / "clone"))  # metrics are in git, not in DVC's cache
    path = tmp_path / "clone/runs/tdn-rgb/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"top1": 0.0625}))
    changed = run(tmp_path / "clone", "dvc", "metrics", "diff")
    assert "runs/tdn-rgb/metrics.json" in changed and "0.0625" in changed


def test_a_changed_parameter_reruns_only_what_depends_on_it(project, run):
    words = run(project, "dvc", "exp", "run", "-S", "+runs.tdn-rgb.train.epochs=2")
    assert "Running stage 'train@tdn-rgb'" in words and "Running stage 'report'" in words
    for stage in ("demo@demo", "index", "extract@rgb", "extract@flow", "train@tsn-rgb", "train@tdn-flow"):
        assert f"Stage '{stage}' didn't change, skipping" in words
    assert "runs.tdn-rgb.train" in run(project, "dvc", "params", "diff")


def test_a_changed_protocol_does_not_retrain(project, run):
    words = run(project, "dvc", "exp", "run", "-S", "defaults.test.num_clips=2", "evaluate@tsn-flow")
    assert "Running stage 'evaluate@tsn-flow'" in words and "Running stage 'train" not in words


@pytest.fixture
def params(project):
    """The project's parameters, which are as they were after the test."""
    as_found = (project / "params.yaml").read_text()
    yield yaml.safe_load(as_found)
    (project / "params.yaml").write_text(as_found)


def test_a_run_that_starts_from_another_is_trained_again_after_it(project, run, params):
    params["shards"].pop("flow")  # and what nothing reads is not made
    start = {"network": "tsn", "modality": "rgb", "reads": ["rgb", "rgb"], "train": {}, "test": {}}
    params["runs"] = {"first": start | {"after": ["models"]}}
    params["runs"]["second"] = start | {
        "network": "tdn",
        "after": ["runs/first/checkpoint.pt"],
        "train": {"init": ["first"]},
    }
    params["fusions"] = {"both": {"runs": {"first": 1.0, "second": 2.0}, "normalize": "none"}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    words = run(project, "dvc", "repro")
    assert words.index("Running stage 'train@first'") < words.index("Running stage 'train@second'")
    assert "extract@flow" not in words and "both" in run(project, sys.executable, "-m", "tdn_data.stages.results")
    params["runs"]["first"]["train"] = {"seed": 1}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    words = run(project, "dvc", "repro", "train")
    assert "Running stage 'train@first'" in words and "Running stage 'train@second'" in words


def test_networks_that_learn_flow_and_finished_shards_are_runs_like_others(project, run, params):
    recipe = yaml.safe_load((PROJECT / "recipes/demo-others.yaml").read_text())
    chosen = recipe["runs"]["actionflownet-rgb"]
    chosen["train"] |= {"epochs": 2}
    params |= {"runs": {"actionflownet-rgb": chosen}, "fusions": {}}
    shutil.copytree(project / "data/shards/demo/rgb", project / "finished")
    params["shards"]["rgb"] = "finished"
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    words = run(project, "dvc", "repro")
    assert re.search("^rgb: ", words, flags=re.M) is None and "Running stage 'train@actionflownet-rgb'" in words
    losses = json.loads((project / "runs/actionflownet-rgb/training/metrics.json").read_text())
    assert losses["class_loss"] > 0 and losses["flow_loss"] > 0


def test_changed_code_recreates_shards_and_a_comment_does_not(project, run):
    shards = project / "data/shards/demo/rgb"
    before = {path.name: path.read_bytes() for path in shards.glob("frames-*")}
    convert = project / "pipeline/video/convert.py"
    code = convert.read_text()
    convert.write_text("# a comment\n" + code)
    assert "0 of 8 shards new" in " ".join(run(project, "dvc", "repro", "extract@rgb").split())
    assert {path.name: path.read_bytes() for path in shards.glob("frames-*")} == before
    assert "np.ascontiguousarray(array)" in code
    convert.write_text(code.replace("np.ascontiguousarray(array)", "255 - np.ascontiguousarray(array)"))
    assert "8 of 8 shards new" in " ".join(run(project, "dvc", "repro", "extract@rgb").split())
    assert all(path.read_bytes() != before[path.name] for path in shards.glob("frames-*"))
    convert.write_text(code)


def test_a_wrong_parameter_stops_the_stage_with_its_name(project, run, params):
    params["defaults"]["train"]["epoch"] = 3
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    words = run(project, sys.executable, "-m", "tdn_data.stages.train", "tsn-rgb", code=2)
    assert "defaults: train.epoch: unknown key" in words and "Traceback" not in words


def test_the_list_split_of_params_reaches_the_shards(project, monkeypatch):
    monkeypatch.chdir(project)
    params = load_params()
    assert params.open_shards("rgb").videos
    second = params.model_copy(update={"dataset": params.dataset.model_copy(update={"list_split": 2})})
    with pytest.raises(InputError, match="has no list split 2"):
        second.open_shards("rgb")


def test_a_clone_pulls_networks_and_scores_and_tests_on_copied_shards(first_run, run, tmp_path):
    project = Path(shutil.copytree(first_run, tmp_path / "project", symlinks=True))
    run(project, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    run(project, "dvc", "push", "--quiet")
    run(project, "git", "add", ".")
    run(project, "git", "commit", "-qm", "a remote")
    run(tmp_path, "git", "clone", "-q", str(project), "clone")
    clone = tmp_path / "clone"
    run(clone, "dvc", "pull", "--quiet")
    assert (clone / "report/report.html").exists()
    fused = run(clone, "tdn-data", "fuse", "tdn-rgb", "tdn-flow")
    assert "top-1" in fused
    shutil.copytree(project / "data/shards", clone / "data/shards", dirs_exist_ok=True)
    assert "nothing wrong" in run(clone, "tdn-data", "verify", "data/shards/demo/rgb")
    assert "top-1" in run(clone, "tdn-data", "evaluate", "tdn-rgb")
    status = run(clone, "dvc", "status")
    assert "extract@" not in status and "train@" not in status  # nothing would be decoded or trained again
    assert (clone / "runs/tdn-rgb/metrics.json").read_bytes() == (project / "runs/tdn-rgb/metrics.json").read_bytes()
