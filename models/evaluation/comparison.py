"""Two runs on the same videos: each metric with its interval, the paired difference, and the classes that differ most.

Intervals are of the bootstrap over videos: the same videos are drawn for both runs, so that the interval of a
difference knows that they were tested on the same. Those of accuracies are percentiles (Efron & Tibshirani 1993,
section 13.3). An average precision is higher on few videos than on many, and higher still on resamples, which hold one
video several times: of its intervals that shift, the mean over resamples minus the value, is taken away (chapter 10),
so that they say how much the value differs between test sets of one size. In a simulation of 100 sets of 100 videos of
20 classes, at a mAP of 9, 43 and 88 %, 95 % percentiles held the mean over such sets in 78, 83 and 93 % of the cases,
shifted ones in 98, 93 and 91 %; of 120 videos of 8 classes, at 16, 56 and 93 %, in 82, 95 and 97 % and in 96, 97 and
96 %. They are no intervals of the mAP on endlessly many videos, which is lower: 34 % where 100 videos of 20 classes
have 43 %, 53 % where 120 of 8 have 56 %. Classes are compared as in the dissertation's section 4.3.3 and Figure 4.6, by
their accuracy or their average precision.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from tdn_data.models.evaluation.metrics import are_hit, label_matrix
from tdn_data.models.evaluation.scores import VideoScores, in_order_of
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_output_file, write_bytes
from tdn_data.pipeline.text import some_of

NUM_RESAMPLES = 1000
PERCENT = (2.5, 97.5)  # of the resamples, below and above which an interval ends
MEASURES = ("accuracy", "AP")
CHUNK_BYTES = 1 << 26
MAX_DRAWN = 100  # classes that gain, and that lose: more make a picture that no viewer opens
GAIN, LOSS = "#2da44e", "#d1480f"


class Interval(NamedTuple):
    """A number and the ends of its 95 % interval, in [0, 1] or, of a difference, in [-1, 1]; NaN where not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Compared:
    """One number of two runs and `difference`, the second's minus the first's; `num_videos` are those it is of."""

    name: str
    num_videos: int
    first: Interval
    second: Interval
    difference: Interval


@dataclass(frozen=True)
class Comparison:
    """Two runs, `runs`, compared; `classes` by their `measure`, from the largest gain to the largest loss."""

    runs: tuple[str, str]
    num_videos: int
    measure: str
    metrics: tuple[Compared, ...]
    classes: tuple[Compared, ...]

    def extremes(self, count: int) -> tuple[Compared, ...]:
        """Return up to `count` classes that gain and as many that lose most, in order."""
        gains = [one for one in self.classes if one.difference.value > 0][:count]
        losses = [one for one in self.classes if one.difference.value < 0][-count:]
        return (*gains, *losses)

    def of_class(self, name: str) -> Comparison:
        """Return the comparison with one of the classes alone; raise InputError where no video has it."""
        classes = tuple(one for one in self.classes if one.name == name)
        if not classes:
            raise InputError(
                f"none of the {self.num_videos:,} videos that were tested is of the class {name}.", key=name
            )
        return replace(self, classes=classes)


def compare_runs(
    names: tuple[str, str],
    first: VideoScores,
    second: VideoScores,
    *,
    class_names: Sequence[str],
    multi_label: bool,
    measure: str | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Return the comparison of two runs, joined by their videos' names.

    `measure` of the classes is `accuracy` or `AP`, by default the first for one label a video. Raises InputError for
    runs on other videos, labels or classes, and for the accuracy of classes where videos have several labels.
    """
    second = in_order_of(first.video_ids, second, names)
    _check_same_labels(names, first, second)
    measure = measure or ("AP" if multi_label else "accuracy")
    if measure == "accuracy" and multi_label:
        raise InputError("videos have several labels here, and no class an accuracy; compare by AP.")
    truth = label_matrix(first.labels, len(class_names))
    weights = _resamples(len(truth), num_resamples, seed)
    hits = [are_hit(run.scores, truth).astype(np.float32) for run in (first, second)]
    precisions = [_average_precisions(run.scores, truth, weights) for run in (first, second)]
    of_classes = precisions if measure == "AP" else [_accuracies(one, truth, weights) for one in hits]
    counts, total = truth.sum(0), len(truth)
    metrics = (
        _compared("Hit@1" if multi_label else "top-1", total, *(_sums(weights, one) / total for one in hits)),
        _compared("mAP", total, *(_mean_of_defined(one) for one in precisions), shifted=True),
    )
    classes = [
        _compared(name, int(counts[number]), *(one[:, number] for one in of_classes), shifted=measure == "AP")
        for number, name in enumerate(class_names)
        if counts[number]
    ]
    classes.sort(key=lambda one: (-one.difference.value, one.name))
    return Comparison(names, total, measure, metrics, tuple(classes))


def _check_same_labels(names: tuple[str, str], first: VideoScores, second: VideoScores) -> None:
    """Raise InputError where two runs on the same videos know other labels of them, or other numbers of classes."""
    both, again = " and ".join(names), "evaluate both on the same shards"
    counts = [run.scores.shape[1] for run in (first, second)]
    if counts[0] != counts[1]:
        raise InputError(f"{both} have scores of {counts[0]} and of {counts[1]} classes; {again}.")
    labels = zip(first.video_ids, first.labels, second.labels, strict=True)
    if other := [video_id for video_id, own, its in labels if own != its]:
        words = f"{len(other):,} of {len(first.labels):,} videos: {some_of(other)}"
        raise InputError(f"{both} were tested with other labels of {words}; {again}.")


def _resamples(num_videos: int, count: int, seed: int) -> np.ndarray:
    """Return how often each video is in each resample, (1 + count, N): the first is all videos once."""
    generator = np.random.default_rng(seed)
    drawn = (np.bincount(generator.integers(num_videos, size=num_videos), minlength=num_videos) for _ in range(count))
    return np.stack([np.ones(num_videos, np.int64), *drawn]).astype(np.float32)


def _accuracies(hits: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of each class's videos that were hit, (resamples, C), NaN where a resample has none."""
    counts = _sums(weights, truth.astype(np.float32))
    right = _sums(weights, truth * hits[:, None])
    return np.divide(right, counts, out=np.full_like(counts, np.nan), where=counts > 0)


def _sums(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sums of zeros and ones, (N, ...), in each resample, float64: float32 counts up to 16 million."""
    return (weights @ values).astype(np.float64)


def _average_precisions(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return each class's average precision, (resamples, C), NaN where a resample has none of its videos."""
    at_once = max(1, CHUNK_BYTES // (8 * len(truth)))
    columns = [
        np.concatenate([_precision(column, own, part) for part in np.array_split(weights, -(-len(weights) // at_once))])
        for column, own in zip(scores.T, truth.T, strict=True)
    ]
    return np.stack(columns, axis=1)


def _precision(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the average precision of one class in each resample: sum of precision times the step in recall.

    Equal scores are one threshold, as in scikit-learn's `average_precision_score`.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of those with an equal score
    drawn = weights[:, order].astype(np.float64)
    found = np.cumsum(drawn * truth[order], axis=1)[:, last]
    ranked = np.cumsum(drawn, axis=1)[:, last]
    steps = np.diff(found, axis=1, prepend=0)
    sums = (steps * found / np.maximum(ranked, 1)).sum(1)
    return np.divide(sums, found[:, -1], out=np.full(len(sums), np.nan), where=found[:, -1] > 0)


def _mean_of_defined(precisions: np.ndarray) -> np.ndarray:
    defined = ~np.isnan(precisions)
    return np.where(defined, precisions, 0).sum(1) / np.maximum(defined.sum(1), 1)


def _compared(name: str, num_videos: int, first: np.ndarray, second: np.ndarray, *, shifted: bool = False) -> Compared:
    numbers = (
        _interval(first, 0, shifted),
        _interval(second, 0, shifted),
        _interval(second - first, -1, shifted),
    )
    return Compared(name, num_videos, *numbers)


def _interval(values: np.ndarray, least: int, shifted: bool) -> Interval:
    """Return the number over all videos, which stands first, and the interval of the resamples that have one.

    A `shifted` one has the mean of the resamples at the number, and stays between `least` and 1.
    """
    value, defined = values[0], values[1:][~np.isnan(values[1:])]
    low, high = np.percentile(defined, PERCENT) if len(defined) else (np.nan, np.nan)
    if shifted and len(defined):
        low, high = np.clip(np.array([low, high]) - (defined.mean() - value), least, 1)
    return Interval(float(value), float(low), float(high))


def comparison_figure(comparison: Comparison, *, count: int = 10) -> Figure:
    """Return the picture of the classes that gain and lose most, in percentage points, with their intervals."""
    shown = comparison.extremes(min(count, MAX_DRAWN))
    figure = Figure(figsize=(7.2, 1.8 + 0.3 * max(len(shown), 1)), layout="constrained", dpi=120)
    axes = figure.subplots()
    for place, one in enumerate(shown):
        value, low, high = (100 * number for number in one.difference)
        axes.barh(place, value, color=GAIN if value > 0 else LOSS, alpha=0.8)
        axes.plot([low, high], [place, place], color="black", linewidth=1.2)
    axes.set_yticks(range(len(shown)), [f"{one.name} ({one.num_videos})" for one in shown], fontsize=8)
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"{comparison.measure}, {comparison.runs[1]} minus {comparison.runs[0]}, percentage points (95 %)")
    metrics = ", ".join(f"{one.name} {100 * one.difference.value:+.1f}" for one in comparison.metrics)
    axes.set_title(f"{' to '.join(comparison.runs)} on {comparison.num_videos:,} videos: {metrics}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def write_comparison(path: Path, comparison: Comparison, *, count: int = 10) -> None:
    """Write the picture of a comparison as PNG; the same comparison gives the same bytes."""
    content = io.BytesIO()
    comparison_figure(comparison, count=count).savefig(content, format="png", metadata={"Software": None})
    write_bytes(check_output_file(path), content.getvalue())
