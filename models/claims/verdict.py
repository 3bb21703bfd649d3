"""What results over seeds and videos say of a claim: an interval for each sum, and a verdict.

The interval is of the percentile bootstrap (Efron & Tibshirani 1993, section 13.3). Each resample draws the N videos
with replacement, and S - 1 of the S seeds: with S of them the variance over few seeds would come out a factor
(S - 1) / S too small (Rao & Wu 1988, section 2). The same videos and the same seeds are drawn for all runs, so that the
interval of a difference is paired. Three seeds say little of how results vary over seeds; where that matters, an
interval of three is a rough one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tdn_data.models.claims.book import Claim
from tdn_data.models.evaluation.comparison import PERCENT, Interval

NUM_RESAMPLES = 10_000
CHUNK = 500  # resamples computed at once


@dataclass(frozen=True)
class Judged:
    """What was found of a claim: each run's result, each step's sum, each step's verdict, and that of all."""

    results: Mapping[str, Interval]
    sums: tuple[Interval, ...]
    verdicts: tuple[str, ...]
    verdict: str


def judge(claim: Claim, hits: Mapping[str, np.ndarray], *, num_resamples: int = NUM_RESAMPLES) -> Judged:
    """Return what results (seeds, videos) of its runs, in [0, 1], say of a claim; the same results say the same."""
    means = resampled_means({name: hits[name] for name in claim.names}, num_resamples=num_resamples, seed=0)
    sums = tuple(_interval(sum(weight * means[name] for name, weight in step.sum.items())) for step in claim.steps)
    verdicts = tuple(step_verdict(one, at_least=step.at_least) for one, step in zip(sums, claim.steps, strict=True))
    results = {name: _interval(values) for name, values in means.items()}
    return Judged(results, sums, verdicts, joined_verdict(verdicts))


def resampled_means(values: Mapping[str, np.ndarray], *, num_resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Return the mean of each run's results (seeds, videos) in each resample, (1 + resamples,); the first is of all.

    Raises ValueError where runs have other numbers of seeds or videos, or fewer than two seeds.
    """
    (shape, *others) = {array.shape for array in values.values()}
    if others or len(shape) != 2 or shape[0] < 2:
        raise ValueError(f"results are {shape} and {others}; they must be of the same seeds, two or more, and videos")
    generator = np.random.default_rng(seed)
    drawn = {name: [array.mean(keepdims=True)] for name, array in values.items()}
    for start in range(0, num_resamples, CHUNK):
        count = min(CHUNK, num_resamples - start)
        seeds = _shares(generator, shape[0], shape[0] - 1, count)
        videos = _shares(generator, shape[1], shape[1], count)
        for name, array in values.items():
            drawn[name].append(((seeds @ array) * videos).sum(1))
    return {name: np.concatenate([part.ravel() for part in parts]) for name, parts in drawn.items()}


def _shares(generator: np.random.Generator, size: int, num_drawn: int, count: int) -> np.ndarray:
    """Return the share that each of `size` things has in each of `count` draws with replacement, (count, size)."""
    return generator.multinomial(num_drawn, np.full(size, 1 / size), size=count) / num_drawn


def step_verdict(interval: Interval, *, at_least: bool = False) -> str:
    """Return `holds` where the whole interval is above zero (or, `at_least`, not below), `fails` where it is below."""
    if interval.low > 0 or (at_least and interval.low >= 0):
        return "holds"
    return "fails" if interval.high < 0 else "undecided"


def joined_verdict(verdicts: Iterable[str]) -> str:
    """Return the verdict on a claim: it holds where every step does, and fails where one step does."""
    found = set(verdicts)
    return "holds" if found == {"holds"} else "fails" if "fails" in found else "undecided"


def _interval(values: np.ndarray) -> Interval:
    low, high = np.percentile(values[1:], PERCENT)
    return Interval(*(round(float(number), 12) for number in (values[0], low, high)))  # 0.1 + 0.2 - 0.3 is zero
