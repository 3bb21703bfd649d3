"""Metrics against counts done by hand, and fusion as in section 3.3."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from tdn_data.models.evaluation.metrics import compute_metrics, fuse, hit_at_k, mean_metrics, probabilities_of
from tdn_data.models.evaluation.scores import VideoScores, fuse_scores, remark_on_mixture, search_weights


def test_top_k_and_confusion_count_by_hand() -> None:
    scores = np.array([[3, 2, 1, 0, 0, 0], [3, 2, 1, 0, 0, 0], [6, 5, 4, 3, 2, 1], [0, 1, 0, 0, 0, 0]], float)
    metrics = compute_metrics(scores, [(0,), (1,), (5,), (1,)], multi_label=False)
    assert metrics.top1 == 0.5  # rows 0 and 3
    assert metrics.top5 == 0.75  # all but row 2, whose class comes sixth
    assert metrics.confusion[1].tolist() == [1, 1, 0, 0, 0, 0]
    assert metrics.confusion[5].tolist() == [1, 0, 0, 0, 0, 0]
    assert metrics.confusion.sum() == metrics.num_videos == 4


def test_average_precision_is_precision_at_each_hit() -> None:
    scores = np.array([[0.9], [0.8], [0.7], [0.6]])
    metrics = compute_metrics(scores, [(0,), (), (0,), ()], multi_label=True)
    assert metrics.mean_ap == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_classes_without_positives_are_left_out_and_counted() -> None:
    scores = np.array([[2.0, 1.0, 5.0], [1.0, 2.0, 6.0]])
    metrics = compute_metrics(scores, [(0,), (1,)], multi_label=True)
    assert metrics.num_undefined == 1
    assert np.isnan(metrics.per_class_ap).tolist() == [False, False, True]
    assert metrics.mean_ap == 1


def test_multi_label_data_have_no_accuracy_but_hits() -> None:
    metrics = compute_metrics(np.eye(3), [(0, 1), (1,), (2,)], multi_label=True)
    assert metrics.top1 is metrics.top5 is metrics.confusion is None
    assert list(metrics.as_dict()) == ["hit1", "hit5", "mAP", "num_videos"]
    single = compute_metrics(np.eye(3), [(0,), (1,), (2,)], multi_label=False)
    assert list(single.as_dict()) == ["top1", "top5", "mAP", "num_videos"]


def test_hit_at_k_counts_videos_with_one_of_their_labels_among_the_k_best() -> None:
    scores = np.array([[6, 5, 4, 3, 2, 1]] * 5, float)
    labels = [(0, 5), (1,), (4, 5), (5,), ()]  # best label comes first, second, fifth, sixth, never
    metrics = compute_metrics(scores, labels, multi_label=True)
    assert metrics.hit1 == 1 / 5
    assert metrics.hit5 == 3 / 5


def test_hit_at_k_is_top_k_accuracy_where_every_video_has_one_label() -> None:
    generator = np.random.default_rng(0)
    scores, labels = generator.normal(size=(50, 8)), [(int(label),) for label in generator.integers(0, 8, 50)]
    many, one = (compute_metrics(scores, labels, multi_label=multi) for multi in (True, False))
    assert (many.hit1, many.hit5) == (one.top1, one.top5)


def test_of_equal_scores_the_first_class_counts_in_every_number() -> None:
    metrics = compute_metrics(np.zeros((4, 8)), [(0,), (7,), (7,), (0,)], multi_label=False)
    assert metrics.top1 == metrics.per_class_accuracy[0] / 2 == 0.5 and metrics.top5 == 0.5


def test_the_mean_over_splits_is_of_what_all_of_them_have() -> None:
    splits = [{"top1": 0.5, "mAP": 0.2}, {"top1": 0.6, "mAP": 0.4}, {"top1": 0.7}]
    assert mean_metrics(splits) == pytest.approx({"top1": 0.6})


@pytest.mark.parametrize("num_classes", [2, 3, 8])
def test_perfect_scores_are_perfect(num_classes: int) -> None:
    metrics = compute_metrics(np.eye(num_classes), [(label,) for label in range(num_classes)], multi_label=False)
    assert (metrics.top1, metrics.top5, metrics.mean_ap) == (1, 1, 1)


def test_scores_and_labels_must_agree() -> None:
    with pytest.raises(ValueError, match="2 videos have scores and 1 have labels"):
        compute_metrics(np.eye(2), [(0,)], multi_label=False)


def test_fusion_weighs_l1_normalised_scores_one_to_one_and_a_half() -> None:
    fused = fuse([np.array([[2.0, -2.0]]), np.array([[0.0, 10.0]])], weights=(1.0, 1.5))
    np.testing.assert_allclose(fused, [[(1 * 0.5 + 1.5 * 0) / 2.5, (1 * -0.5 + 1.5 * 1) / 2.5]])


def test_fusion_does_not_depend_on_the_streams_scale() -> None:
    generator = np.random.default_rng(0)
    rgb, flow = generator.normal(size=(2, 5, 4))
    np.testing.assert_allclose(fuse([rgb, flow], weights=(1, 1.5)), fuse([100 * rgb, 0.01 * flow], weights=(1, 1.5)))


def test_scores_may_be_added_as_they_are() -> None:
    fused = fuse([np.array([[2.0, -2.0]]), np.array([[0.0, 10.0]])], weights=(1, 3), normalize="none")
    np.testing.assert_allclose(fused, [[0.5, 7.0]])


def test_fusion_of_nothing_is_nothing() -> None:
    assert not fuse([np.zeros((2, 3))] * 2, weights=(1, 1.5)).any()


def test_fusion_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 3\)"):
        fuse([np.zeros((2, 3)), np.zeros((3, 3))], weights=(1, 1))


def test_equal_scores_rank_in_the_order_of_the_classes() -> None:
    scores = np.zeros((3, 30))
    truth = np.zeros((3, 30), bool)
    truth[0, 0] = truth[1, 1] = truth[2, 29] = True
    assert hit_at_k(scores, truth, 1) == 1 / 3
    assert hit_at_k(scores, truth, 2) == 2 / 3


def test_a_search_finds_the_weights_under_which_two_runs_are_right() -> None:
    labels, ids = tuple((number % 3,) for number in range(30)), tuple(map(str, range(30)))
    good = VideoScores(ids, labels, 2 * np.eye(3)[np.arange(30) % 3])
    bad = VideoScores(ids, labels, 5 * np.eye(3)[(np.arange(30) + 1) % 3])
    weights = search_weights({"good": good, "bad": bad}, multi_label=False, normalize="none")
    assert weights == (0.75, 0.25)  # of those that are right the nearest to equal
    assert sum(search_weights({"a": good, "b": bad, "c": good}, multi_label=False)) == pytest.approx(1)


def test_l1_normalised_scores_are_given_the_size_of_the_runs_own() -> None:
    ids, labels = tuple("ab"), ((0,), (1,))
    small, large = (VideoScores(ids, labels, size * np.array([[2.0, -2.0], [1.0, 3.0]])) for size in (1, 3))
    fused = fuse_scores({"small": small, "large": large}, weights=(1, 1))
    np.testing.assert_allclose(fused.scores, 8 * np.array([[0.5, -0.5], [0.25, 0.75]]))


def test_logarithms_of_probabilities_beside_other_scores_are_remarked_on() -> None:
    other = VideoScores(("a", "b"), ((0,), (1,)), np.array([[2.0, -2.0], [1.0, 3.0]]))
    logarithms = replace(other, scores=np.log(softmax(other.scores, axis=1)))
    assert "scores of lstm are logarithms" in remark_on_mixture({"tsn": other, "lstm": logarithms}, "l1")
    means = replace(other, scores=logarithms.scores - 0.5, about={"protocol": {"average": "log"}})
    assert "scores of means are logarithms" in remark_on_mixture({"tsn": other, "means": means}, "none")
    assert remark_on_mixture({"tsn": other, "lstm": logarithms}, "softmax") is None
    assert remark_on_mixture({"one": logarithms, "two": logarithms}, "l1") is None


def test_probabilities_are_averaged_after_softmax() -> None:
    streams = [np.array([[0.0, 1.0, 2.0]]), np.array([[3.0, 0.0, 0.0]])]
    fused = fuse(streams, weights=(1, 3), normalize="softmax")
    np.testing.assert_allclose(softmax(fused), (softmax(streams[0]) + 3 * softmax(streams[1])) / 4)


def test_logarithms_of_probabilities_are_taken_back_for_several_labels_too() -> None:
    scores = np.array([[2.0, -1.0, 0.0]])
    logs = np.log(softmax(scores, axis=1))
    for multi_label in (True, False):
        np.testing.assert_allclose(probabilities_of(logs, multi_label=multi_label), softmax(scores, axis=1))
    np.testing.assert_allclose(probabilities_of(scores[0], multi_label=True), 1 / (1 + np.exp(-scores[0])))
