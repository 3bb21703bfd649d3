"""What is said where the results of a run are asked for and cannot be had; what is printed where they can."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from tdn_data.models import build_model
from tdn_data.models.evaluation.results import write_results
from tdn_data.models.evaluation.run_record import EVALUATION, describe_run, write_record
from tdn_data.models.evaluation.scores import VideoScores
from tdn_data.models.weights.checkpoint import Checkpoint, save_checkpoint
from tdn_data.pipeline.shards.reader import DatasetInfo
from tdn_data.stages.cli import main
from tests.conftest import write_clip
from tests.models.evaluation.small import COLOURED, write_checkpoint

CLASSES = ("left", "right", "up")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function that writes an evaluated run into an empty project; the working folder is that project."""
    monkeypatch.chdir(tmp_path)

    def write(run, right=0.5, *, num_videos=24, split="test", classes=CLASSES):
        labels = tuple((number % 3,) for number in range(num_videos))
        guesses = [one if number < right * num_videos else (one + 1) % 3 for number, (one,) in enumerate(labels)]
        scores = VideoScores(tuple(map(str, range(num_videos))), labels, 3 * np.eye(3)[guesses])
        write_results(tmp_path / "runs" / run, scores, DatasetInfo("demo", classes, False, {}))
        facts = {"name": run, "network": "tsn", "modality": "rgb", "dataset": "demo", "class_names": classes}
        facts |= {"multi_label": False, "split": split, "list_split": None, "parameters": {}}
        write_record(tmp_path / "runs" / run / EVALUATION, describe_run(datetime.now(UTC), **facts))

    return write


def run(*words):
    answer = CliRunner().invoke(main, words, env={"COLUMNS": "100"})
    said = " ".join(answer.stderr.split())
    return SimpleNamespace(code=answer.exit_code, stdout=answer.stdout, said=said)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["compare", "one", "none"],
            "'none' is no run and no folder of one; the runs here are classes, cut, damag",
        ),
        (["compare", "one", "untested"], "untested was never evaluated: runs/untested/scores.parquet is missing"),
        (["compare", "one", "fewer"], "there are scores of '21', '22', '23' for one alone; evaluate both runs"),
        (
            ["compare", "one", "classes"],
            "one and classes know different classes (only one has up; only classes has down); train and",
        ),
        (
            ["compare", "one", "val"],
            "one was tested on the split test and val on val; write the same `split` under `test`",
        ),
        (["fuse", "one", "val"], "one was tested on the split test and val on val; write"),
        (
            ["compare", "one", "cut"],
            "runs/cut/scores.parquet is damaged or holds no scores; delete it, and `dvc repro e",
        ),
        (["compare", "one", "one", "--class", "down"], "no class is called 'down'; the classes are left, right, up"),
        (["mistakes", "one", "--class", "down"], "no class is called 'down'"),
        (["mistakes", "one", "--out", "m.png"], "params.yaml is missing; run the stages from the project's folder"),
        (["predict", ".", "--run", "one"], ". holds no video"),
        (["predict", "x*.mp4", "--run", "one"], "x*.mp4 is no file, no folder and no pattern that fits a file"),
        (["predict", "a.mp4", "--run", "fused"], "fused has no checkpoint.pt: it is a fusion, which has no network"),
        (["fuse", "one", "fused"], "fusions/fused/scores.parquet is missing; `dvc repro fuse@fused` makes it"),
        (
            ["predict", "a.mp4", "--run", "one"],
            "one has no checkpoint.pt: it is not trained yet; `dvc repro train@one` trains it",
        ),
        (["predict", "a.mp4", "--run", "one", "--layer", "res2"], "--layer has no effect without --explain"),
        (["export-model", "one", "--onnx", "one.onnx"], "one has no checkpoint.pt"),
        (["explain", "one", "--video", "1"], "one has no checkpoint.pt"),
        (["explain", "one", "--video", "1", "--layer", "res2"], "--layer has no effect with --method cam"),
        (["explain", "one", "--video", "1", "--beside", "runs/one"], "--beside runs/one is the run itself"),
        (
            ["fuse", "one", "fewer", "--search"],
            "the runs were evaluated on test, the split that results on demo are rep",
        ),
        (["fuse", "one", "runs/one"], "a run is given twice; give each once"),
        (["mistakes", "damaged"], "damaged/scores.parquet holds 3 scores a video, and evaluation.json names 2 classes"),
        (["predict", "a.mp4", "--run", "damaged"], "evaluation.json holds no protocol that a test could have"),
        (["fuse", "one", "list"], "runs/list/evaluation.json is no record of a run"),
        (["fuse", "one", "one", "--weight", "1"], "Give --search, or --weight 2 times, once for each run"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(project, tmp_path, words, sentence):
    project("one")
    project("fewer", num_videos=21)
    project("classes", classes=("left", "right", "down"))
    project("val", split="val")
    project("cut")
    cut = tmp_path / "runs/cut/scores.parquet"
    cut.write_bytes(cut.read_bytes()[:-99])
    (tmp_path / "runs/untested").mkdir()
    (tmp_path / "fusions/fused").mkdir(parents=True)
    for name, changes in (("damaged", {"class_names": CLASSES[:2], "parameters": {"num_clips": "x"}}), ("list", {})):
        project(name)
        record = tmp_path / "runs" / name / EVALUATION
        record.write_text(json.dumps(json.loads(record.read_text()) | (changes or {"parameters": []})))
    if words[1] == "a.mp4":
        (tmp_path / "a.mp4").write_bytes(b"")
    answer = run(*words)
    assert answer.code == 2 and answer.said.startswith("error: ") and sentence in answer.said, answer.said
    assert not answer.stdout and not list(tmp_path.glob("*.png")) + list(tmp_path.glob("*.onnx"))


def test_runs_are_compared_listed_and_fused(project, tmp_path):
    for name, right in (("one", 0.5), ("two", 1.0)):
        project(name, right, split="val")
    compared = run("compare", "one", "two", "--out", "c.png")
    assert "50.0 [29.2, 70.8]" in compared.stdout and "+50.0" in compared.stdout and "c.png" in compared.stdout
    assert (tmp_path / "c.png").stat().st_size > 1000
    all_classes = (tmp_path / "c.png").read_bytes()
    run("compare", "one", "two", "--count", "1", "--out", "c.png")
    assert (tmp_path / "c.png").read_bytes() != all_classes
    one_class = json.loads(run("compare", "one", "two", "--class", "up", "--json").stdout)
    assert [one["name"] for one in one_class["classes"]] == ["up"] and len(one_class["metrics"]) == 2
    plain = json.loads(run("compare", "one", "two", "--json").stdout)
    assert plain["metrics"][0]["difference"]["value"] == pytest.approx(0.5)
    listed = run("mistakes", "one", "--count", "1").stdout
    assert listed.splitlines() == ["12: left 0.05, taken for right 0.91", "12 of 24 videos wrong"]
    fused = run("fuse", "one", "two", "--search", "--normalize", "none")
    assert "0.45 one + 0.55 two: top-1 100.0" in fused.stdout


def test_predict_draws_what_each_score_stands_on(project, tmp_path):
    checkpoint = write_checkpoint(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_clip(tmp_path / name / "x.mp4", num_frames=6)
    (tmp_path / "empty.mp4").write_bytes(b"")
    videos = ["a/x.mp4", "b/x.mp4", "empty.mp4"]
    answer = run("predict", *videos, "--checkpoint", str(checkpoint), "--explain", "--json")
    records = json.loads(answer.stdout)
    assert not records[0]["problem"] and not records[1]["problem"], records
    pictures = [one["picture"] and Path(one["picture"]).relative_to(tmp_path).as_posix() for one in records]
    assert pictures == ["explain/a_x-cam.png", "explain/b_x-cam.png", None] and records[2]["problem"]
    assert all((tmp_path / one).stat().st_size > 1000 for one in pictures[:2])
    one = ("predict", "a/x.mp4", "--checkpoint", str(checkpoint), "--explain", "--method")
    lines = run(*one, "gradcam", "--csv").stdout
    assert lines.splitlines()[1].startswith("a/x.mp4,1,") and lines.rstrip().endswith("explain/x-gradcam.png,")
    answer = run(*one, "flow")
    assert answer.code == 2 and "tdn gives no flow; these networks do: actionflownet" in answer.said


def test_one_frame_has_its_class_with_a_remark_and_no_picture_of_flow(project, tmp_path):
    options = {"backbone": "resnet18", "width": 8, "num_segments": 2, "modality": "rgb"}
    state = build_model("actionflownet_2f", num_classes=2, **options).state_dict()
    checkpoint = tmp_path / "checkpoint.pt"
    save_checkpoint(Checkpoint("actionflownet_2f", options, 2, 32, state, COLOURED.as_dict()), checkpoint)
    write_clip(tmp_path / "one.mp4", num_frames=1)
    options = ("--checkpoint", str(checkpoint), "--explain", "--method", "flow", "--json")
    answer = run("predict", "one.mp4", *options)
    (record,) = json.loads(answer.stdout)
    assert record["classes"] and record["picture"] is None and not (tmp_path / "explain").exists()
    assert "only one frame was sampled of it" in record["remark"]
    assert "no picture: one has no flow to be drawn: there is one frame of it" in record["remark"]
