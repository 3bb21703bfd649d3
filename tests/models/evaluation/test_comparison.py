"""Two runs side by side: intervals over videos, paired differences, classes; and what a run gets wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tdn_data.models.evaluation.comparison import compare_runs, write_comparison
from tdn_data.models.evaluation.metrics import compute_metrics, probabilities_of
from tdn_data.models.evaluation.mistakes import mistakes_of, mistakes_sheet
from tdn_data.models.evaluation.predict import Prediction
from tdn_data.models.evaluation.scores import VideoScores
from tdn_data.pipeline.errors import InputError

CLASSES = ("a", "b", "c")


def run_of(seed: int, skill: float, *, num_videos: int = 120) -> VideoScores:
    """Return a run whose scores tell classes apart the better, the more skill."""
    generator = np.random.default_rng(seed)
    labels = tuple((int(label),) for label in np.arange(num_videos) % 3)
    noise = generator.normal(size=(num_videos, 3)).round(1) + (0, 0.01, 0.02)  # equal scores in a class, not in a video
    scores = noise + skill * np.eye(3)[[one[0] for one in labels]]
    return VideoScores(tuple(f"v{number}" for number in range(num_videos)), labels, scores)


def test_numbers_are_those_of_the_tests_and_intervals_hold_them() -> None:
    runs = run_of(0, 1.0), run_of(1, 2.0)
    found = compare_runs(("x", "y"), *runs, class_names=CLASSES, multi_label=False, measure="AP", num_resamples=200)
    for side, run in zip(("first", "second"), runs, strict=True):
        metrics = compute_metrics(run.scores, run.labels, multi_label=False)
        values = [getattr(one, side) for one in found.metrics]
        assert [value.value for value in values] == pytest.approx([metrics.top1, metrics.mean_ap], abs=1e-6)
        assert all(value.low < value.value < value.high for value in values)
        truth = np.array(run.labels)[:, 0] == 1
        (of_b,) = (getattr(one, side).value for one in found.classes if one.name == "b")
        assert of_b == pytest.approx(average_precision_score(truth, run.scores[:, 1]))  # with ties: one decimal
    top1 = found.metrics[0].difference
    assert top1.low > 0 and top1.value == pytest.approx(found.metrics[0].second.value - found.metrics[0].first.value)


def test_paired_intervals_are_narrower_and_a_run_equals_itself_in_another_order() -> None:
    run = run_of(0, 1.0)
    turned = VideoScores(run.video_ids[::-1], run.labels[::-1], run.scores[::-1])
    found = compare_runs(("x", "y"), run, turned, class_names=CLASSES, multi_label=False, num_resamples=100)
    assert {tuple(one.difference) for one in (*found.metrics, *found.classes)} == {(0.0, 0.0, 0.0)}
    assert found.measure == "accuracy" and not found.extremes(5)


def test_classes_go_from_the_largest_gain_to_the_largest_loss(tmp_path: Path) -> None:
    first, better = run_of(0, 1.0), run_of(0, 1.0).scores.copy()
    better[0::3, 0] += 9  # videos of a are all right now
    better[1::3, 1] -= 9  # and those of b all wrong
    second = replace(first, scores=better)
    found = compare_runs(("x", "y"), first, second, class_names=CLASSES, multi_label=False, num_resamples=100)
    assert [one.name for one in found.classes] == ["a", "c", "b"]
    assert [one.name for one in found.extremes(1)] == ["a", "b"] and found.classes[0].num_videos == 40
    assert [one.name for one in found.of_class("c").classes] == ["c"]
    with pytest.raises(InputError, match="none of the 120 videos that were tested is of the class d"):
        found.of_class("d")
    for name in ("one.png", "two.png"):
        write_comparison(tmp_path / name, found)
    assert cv2.imread(str(tmp_path / "one.png")).shape[1] > 500
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_other_videos_labels_and_measures_are_refused_in_a_sentence() -> None:
    run, options = run_of(0, 1.0), {"class_names": CLASSES, "multi_label": False}
    with pytest.raises(InputError, match="there are scores of 'v119' for x alone; evaluate both"):
        compare_runs(("x", "y"), run, run_of(0, 1.0, num_videos=119), **options)
    with pytest.raises(
        InputError, match="x and y were tested with other labels of 80 of 120 videos: v0, v2, v3 and 77 more"
    ):
        compare_runs(("x", "y"), run, replace(run, labels=run.labels[::-1]), **options)
    with pytest.raises(InputError, match="videos have several labels here, and no class an accuracy"):
        compare_runs(("x", "y"), run, run, class_names=CLASSES, multi_label=True, measure="accuracy")


def test_mistakes_come_the_most_certain_first_and_as_pictures(coloured) -> None:
    ids = tuple(video.video_id for video in coloured.videos)
    labels = tuple(video.labels for video in coloured.videos)
    scores = np.zeros((12, 2), np.float32)
    scores[:, 0] = np.arange(12)  # all red: wrong for the odd ones, ever more certain
    found = mistakes_of(VideoScores(ids, labels, scores), ("red", "green"), multi_label=False)
    assert [one.video_id for one in found] == ["v11", "v09", "v07", "v05", "v03", "v01"]
    assert found[-1].words() == "v01: green 0.27, taken for red 0.73"
    assert not mistakes_of(VideoScores(ids, labels, scores), ("red", "green"), multi_label=False, of_class="red")
    sheet = mistakes_sheet(coloured, found[:2], num_columns=3, height=48)
    assert sheet.dtype == np.uint8 and sheet.shape[0] > 2 * 48 and sheet.std() > 10


def test_an_interval_of_average_precision_holds_its_value_where_resamples_lie_above_it() -> None:
    found = compare_runs(("x", "y"), *(run_of(seed, 0.0) for seed in (0, 1)), class_names=CLASSES, multi_label=False)
    for one in (found.metrics[1].first, found.metrics[1].second):
        assert one.value - one.low == pytest.approx(one.high - one.value, rel=0.5) and one.low < one.value < one.high
    one_video_each = run_of(0, 0.0, num_videos=3)
    found = compare_runs(("x", "y"), *[one_video_each] * 2, class_names=CLASSES, multi_label=False, measure="AP")
    assert all(one.first.low <= one.first.value <= one.first.high for one in (*found.metrics, *found.classes))


def test_the_higher_of_two_scores_that_round_to_one_probability_is_the_guess() -> None:
    run = VideoScores(("v",), ((2,),), np.array([[30, -30, 40]], np.float32))
    assert not mistakes_of(run, CLASSES, multi_label=True)
    (wrong,) = mistakes_of(replace(run, labels=((1,),)), CLASSES, multi_label=True)
    assert wrong.guess == "c" and wrong.score == 1.0
    assert Prediction("v.mp4", CLASSES, run.scores[0], probabilities_of(run.scores[0], multi_label=True)).top(1) == [
        ("c", 1.0)
    ]
