"""The DVC pipeline itself, whole, on a very small rendering, in a copy of the project."""

import json
import os
import sys

import pytest
import yaml

from tdn_data.pipeline.errors import InputError
from tdn_data.stages.params import load_params


def test_every_stage_leaves_its_outputs(project, run):
    for model in ("tsn", "tdn"):
        for modality in ("rgb", "flow", "fused"):
            metrics = json.loads((project / f"runs/{model}-{modality}/metrics.json").read_text())
            assert metrics["num_videos"] == 8 and 0 <= metrics["top1"] <= metrics["top5"] <= 1
    report = (project / "runs/report.html").read_text()
    assert report.count("<svg") >= 9 and report.count("<img alt=") == 8


def test_a_second_repro_does_nothing(project, run):
    assert "Data and pipelines are up to date" in run(project, "dvc", "repro")


def test_metrics_and_plots_are_shown(project, run):
    metrics = run(project, "dvc", "metrics", "show")
    assert "top1" in metrics and "runs/tdn-rgb/metrics.json" in metrics.replace(os.sep, "/")
    run(project, "dvc", "plots", "show")
    assert (project / "dvc_plots/index.html").stat().st_size > 1000


def test_a_changed_parameter_reruns_only_what_depends_on_it(project, run):
    words = run(project, "dvc", "exp", "run", "-S", "train.epochs=2")
    assert "Running stage 'train@tdn-rgb'" in words and "Running stage 'report'" in words
    for stage in ("demo", "index", "frames", "flow"):
        assert f"Stage '{stage}' didn't change, skipping" in words
    assert "train.epochs" in run(project, "dvc", "params", "diff")


def test_networks_that_learn_flow_run_only_where_they_are_asked_for(project, run):
    assert "with_flow" not in run(project, "dvc", "stage", "list", "--name-only")
    change = ["-S", "with_flow.networks=[actionflownet]", "-S", "with_flow.recipes.actionflownet.epochs=2"]
    words = run(project, "dvc", "exp", "run", *change, "evaluate_with_flow")
    assert "Running stage 'train_with_flow@actionflownet'" in words
    folder = project / "runs/actionflownet-rgb"
    assert json.loads((folder / "metrics.json").read_text())["num_videos"] == 8
    losses = json.loads((folder / "training/metrics.json").read_text())
    assert losses["class_loss"] > 0 and losses["flow_loss"] > 0
    assert "ACTIONFLOWNET" in run(project, sys.executable, "-m", "tdn_data.stages.results")


def test_a_further_network_runs_on_frames_alone_where_it_is_asked_for(project, run):
    assert "others" not in run(project, "dvc", "stage", "list", "--name-only")
    words = run(project, "dvc", "exp", "run", "-S", "others.networks=[tdn_wang]", "evaluate_others")
    assert "Running stage 'train_others@tdn_wang'" in words and "'flow'" not in words
    assert json.loads((project / "runs/tdn_wang-rgb/metrics.json").read_text())["num_videos"] == 8


def test_changed_code_recreates_shards_and_a_comment_does_not(project, run):
    shards = project / "data/shards/rgb"
    before = {path.name: path.read_bytes() for path in shards.glob("frames-*")}
    convert = project / "pipeline/video/convert.py"
    code = convert.read_text()
    convert.write_text("# a comment\n" + code)
    assert "0 of 8 shards new" in " ".join(run(project, "dvc", "repro", "frames").split())
    assert {path.name: path.read_bytes() for path in shards.glob("frames-*")} == before
    assert "np.ascontiguousarray(array)" in code
    convert.write_text(code.replace("np.ascontiguousarray(array)", "255 - np.ascontiguousarray(array)"))
    assert "8 of 8 shards new" in " ".join(run(project, "dvc", "repro", "frames").split())
    assert all(path.read_bytes() != before[path.name] for path in shards.glob("frames-*"))
    convert.write_text(code)


def test_a_wrong_parameter_stops_the_stage_with_its_name(project, run):
    as_found = (project / "params.yaml").read_text()
    params = yaml.safe_load(as_found)
    params["train"]["epoch"] = 3
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    words = run(project, sys.executable, "-m", "tdn_data.stages.train", "tsn", "rgb", code=2)
    (project / "params.yaml").write_text(as_found)
    assert "train.epoch: unknown key" in words and "Traceback" not in words


def test_the_list_split_of_params_reaches_the_shards(project, monkeypatch):
    monkeypatch.chdir(project)
    params = load_params()
    assert params.open_shards("rgb").videos
    second = params.model_copy(update={"dataset": params.dataset.model_copy(update={"list_split": 2})})
    with pytest.raises(InputError, match="has no list split 2"):
        second.open_shards("rgb")
