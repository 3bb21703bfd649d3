"""Intervals and verdicts on results whose answer is known."""

import numpy as np
import pytest

from tdn_data.models.claims.book import Claim, Step
from tdn_data.models.claims.verdict import joined_verdict, judge, resampled_means, step_verdict
from tdn_data.models.evaluation.comparison import Interval


def claim(*steps: Step) -> Claim:
    return Claim(paper="P", place="Table 1", says="b is better than a", numbers="1, 2", steps=steps)


BETTER = Step(sum={"b": 1, "a": -1})


def hits(share: float, *, seed: int, num_videos: int = 200) -> np.ndarray:
    """Three seeds' hits, each video hit with the same probability."""
    return np.random.default_rng(seed).uniform(size=(3, num_videos)) < share


def test_a_large_difference_holds_and_its_reverse_fails():
    results = {"a": hits(0.3, seed=1), "b": hits(0.7, seed=2)}
    found = judge(claim(BETTER), results)
    assert found.verdict == "holds"
    assert found.sums[0].value == pytest.approx(results["b"].mean() - results["a"].mean())
    assert judge(claim(BETTER), {"a": results["b"], "b": results["a"]}).verdict == "fails"


def test_a_small_difference_on_few_videos_is_undecided():
    results = {"a": hits(0.50, seed=1, num_videos=30), "b": hits(0.52, seed=2, num_videos=30)}
    assert judge(claim(BETTER), results).verdict == "undecided"


def test_pairing_over_videos_decides_what_the_runs_own_intervals_cannot():
    a = np.tile(np.arange(200) % 2 == 0, (3, 1))
    b = a.copy()
    b[:, 1:40:4] = True  # ten videos more, and none less
    found = judge(claim(BETTER), {"a": a, "b": b})
    assert found.results["a"].high > found.results["b"].low
    assert found.verdict == "holds"


def test_seeds_that_disagree_leave_a_claim_undecided():
    a = np.zeros((3, 1000))
    a[:, :500] = 1
    b = np.zeros((3, 1000))
    b[0, :900] = b[1, :500] = b[2, :200] = 1
    assert judge(claim(BETTER), {"a": a, "b": b}).verdict == "undecided"


def test_variance_over_seeds_is_that_of_the_mean_of_a_sample():
    seeds = np.array([0.2, 0.5, 0.6])
    means = resampled_means({"a": np.repeat(seeds[:, None], 50, 1)}, num_resamples=20_000, seed=0)["a"][1:]
    assert means.var() == pytest.approx(seeds.var(ddof=1) / 3, rel=0.05)


def test_variance_over_videos_is_binomial_where_seeds_agree():
    one = np.arange(400) < 100
    means = resampled_means({"a": np.stack([one, one])}, num_resamples=20_000, seed=0)["a"][1:]
    assert means.var() == pytest.approx(0.25 * 0.75 / 400, rel=0.05)


def test_interval_of_a_difference_holds_the_truth_about_as_often_as_it_says():
    inside = 0
    for trial in range(100):
        results = {"a": hits(0.4, seed=2 * trial), "b": hits(0.5, seed=2 * trial + 1)}
        low, high = judge(claim(BETTER), results, num_resamples=400).sums[0][1:]
        inside += low <= 0.1 <= high
    assert inside >= 88  # 95 are due, and three seeds draw the interval roughly


def test_less_gain_is_a_sum_of_four_runs():
    step = Step(sum={"d": 1, "c": -1, "b": -1, "a": 1})
    results = {
        name: hits(share, seed=number)
        for number, (name, share) in enumerate({"a": 0.9, "b": 0.9, "c": 0.2, "d": 0.8}.items())
    }
    assert judge(claim(step), results).verdict == "holds"


def test_equal_results_are_at_least_equal_and_not_better():
    same = {"a": hits(0.5, seed=1), "b": hits(0.5, seed=1)}
    assert judge(claim(BETTER), same).verdict == "undecided"
    assert judge(claim(Step(sum=BETTER.sum, at_least=True)), same).verdict == "holds"


@pytest.mark.parametrize(
    ("interval", "at_least", "verdict"),
    [
        ((0.1, 0.01, 0.2), False, "holds"),
        ((0.1, 0.0, 0.2), False, "undecided"),
        ((0.1, 0.0, 0.2), True, "holds"),
        ((0.0, -0.01, 0.2), True, "undecided"),
        ((-0.1, -0.2, 0.0), False, "undecided"),
        ((-0.1, -0.2, -0.01), True, "fails"),
    ],
)
def test_verdict_of_a_step(interval, at_least, verdict):
    assert step_verdict(Interval(*interval), at_least=at_least) == verdict


@pytest.mark.parametrize(
    ("steps", "verdict"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "undecided"], "undecided"),
        (["holds", "undecided", "fails"], "fails"),
    ],
)
def test_a_claim_holds_where_every_step_does_and_fails_where_one_does(steps, verdict):
    assert joined_verdict(steps) == verdict


def test_same_results_same_interval():
    results = {"a": hits(0.3, seed=1), "b": hits(0.4, seed=2)}
    assert judge(claim(BETTER), results) == judge(claim(BETTER), results)


def test_one_seed_and_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match="same seeds, two or more"):
        resampled_means({"a": np.ones((1, 5))}, num_resamples=100, seed=0)
    with pytest.raises(ValueError, match="same seeds"):
        resampled_means({"a": np.ones((3, 5)), "b": np.ones((3, 6))}, num_resamples=100, seed=0)
