"""Runs as they are found beside shards: what is wrong with one is said of it, and the others are shown."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdn_data.pipeline.view.browse.evaluated_runs import pictures_of, read_run, run_folders
from tdn_data.pipeline.view.browse.watched import VideoSource
from tdn_data.stages.cli.explain import METHODS, picture_name


@pytest.fixture(scope="module")
def videos(browsed_shards):
    return VideoSource(str(browsed_shards)).videos


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([[9]], [[1.0, 2.0]], "labels from 9 to 9"),
        ([["left"]], [[1.0, 2.0]], "cannot be read"),
        ([[0]], [1.0], "cannot be read"),
        ([[0], [1]], [[1.0], [1.0, 2.0, 3.0]], "1, 3 scores a video"),
        ([[0]], [[float("inf"), 2.0]], "no finite numbers"),
    ],
)
def test_scores_that_fit_no_video_are_one_sentence(videos, evaluated_run, tmp_path, labels, scores, words):
    run = shutil.copytree(evaluated_run / "tiny", tmp_path / "run")
    ids = videos.ids[: len(labels)]
    pq.write_table(pa.table({"video_id": ids, "labels": labels, "scores": scores}), run / "scores.parquet")
    found = read_run("run", run, videos)
    assert found.scores is None and words in found.notice and found.metrics["top1"] == 0.5


def test_small_files_that_hold_something_else_are_one_sentence(videos, evaluated_run, tmp_path):
    run = shutil.copytree(evaluated_run / "tiny", tmp_path / "run")
    (run / "metrics.json").write_text("[1]")
    (run / "evaluation.json").write_text('{"dataset": "folder", "class_names": null}')
    found = read_run("run", run, videos)
    assert found.metrics == {} and "holds no names with values" in found.notice and "other classes" in found.notice
    (run / "metrics.json").write_text('{"top1": %s, "top5": 1}' % ("9" * 400))
    assert read_run("run", run, videos).metrics == {"top5": 1.0}


def test_runs_of_one_name_in_two_folders_are_both_there(evaluated_run, tmp_path):
    shutil.copytree(evaluated_run / "tiny", tmp_path / "tiny")
    shutil.copytree(evaluated_run / "tiny", tmp_path / "no utf-8 \udcff")
    assert set(run_folders([evaluated_run, tmp_path])) == {f"{evaluated_run}/tiny", f"{tmp_path}/tiny"}


def test_a_picture_stands_on_the_page_of_its_own_video(videos, evaluated_run, tmp_path):
    run = shutil.copytree(evaluated_run / "tiny", tmp_path / "run")
    ids = ["v/clip_1", "v/clip_1_0", "v/clip_1-2", "1", "w/1", "long " * 49, "-dash", "v/clip-cam-2"]
    (run / "explain").mkdir()
    pictures = {one: [picture_name(one, method) for method in sorted(METHODS)] for one in ids}
    pictures["1"] += [picture_name("1", "gradcam", "res2"), picture_name("1", "gradcam", "res2", "runs/tdn-flow")]
    for name in sum(pictures.values(), []):
        (run / "explain" / name).touch()
    found = read_run("run", run, videos)
    assert {one: set(pictures_of(found, one)) for one in ids} == {one: set(names) for one, names in pictures.items()}
