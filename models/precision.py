"""Average precision, which both a training's validation and a test report."""

from __future__ import annotations

import numpy as np


def average_precisions(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return each class's average precision over all videos, float64 (C,), NaN where no video has the class.

    `scores` are (N, C), `truth` bool (N, C).
    """
    return np.array([_one_class(truth[:, number], scores[:, number]) for number in range(scores.shape[1])])


def mean_of_defined(per_class: np.ndarray) -> float:
    """Return the mean over the classes that have a number, NaN where none has."""
    defined = ~np.isnan(per_class)
    return float(per_class[defined].mean()) if defined.any() else float("nan")


def _one_class(truth: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score  # takes as long as torch to import

    return float(average_precision_score(truth, scores)) if truth.any() else float("nan")
