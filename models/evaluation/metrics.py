"""What the papers report: top-k accuracy or Hit@k, average precision per class and its mean, confusion; and fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import expit, softmax

from tdn_data.models.precision import average_precisions, mean_of_defined


@dataclass(frozen=True)
class Metrics:
    """`top1` and `top5` in [0, 1], None for multi-label data, as is `confusion`, counts (C, C) with rows actual.

    `hit1` and `hit5` are for multi-label data what top-k accuracy is for one label a video, and None for the latter.
    `per_class_ap`: float64 (C,), NaN for the `num_undefined` classes without a positive; `mean_ap` leaves them out.
    """

    num_videos: int
    top1: float | None
    top5: float | None
    hit1: float | None
    hit5: float | None
    mean_ap: float
    num_undefined: int
    per_class_ap: np.ndarray
    confusion: np.ndarray | None

    @property
    def per_class_accuracy(self) -> np.ndarray | None:
        """The share of each class's videos that is right, float64 (C,), NaN without a video; None as `top1`."""
        if self.confusion is None:
            return None
        counts = self.confusion.sum(axis=1)
        return np.divide(self.confusion.diagonal(), counts, out=np.full(len(counts), np.nan), where=counts > 0)

    def as_dict(self) -> dict[str, float | int]:
        """Return the single numbers by the names that metrics.json has."""
        numbers = {name: getattr(self, name) for name in ("top1", "top5", "hit1", "hit5")}
        numbers |= {"mAP": self.mean_ap, "num_videos": self.num_videos}
        return {name: value for name, value in numbers.items() if value is not None}


def compute_metrics(scores: np.ndarray, labels: Sequence[Sequence[int]], *, multi_label: bool) -> Metrics:
    """Return the metrics of video scores (N, C) before softmax against each video's labels."""
    if len(scores) != len(labels) or not len(scores):
        raise ValueError(f"{len(scores)} videos have scores and {len(labels)} have labels; they must agree, above 0")
    from sklearn.metrics import confusion_matrix  # takes as long as torch to import

    num_classes = scores.shape[1]
    truth = label_matrix(labels, num_classes)
    per_class = average_precisions(scores, truth)
    single = None if multi_label else np.array([row[0] for row in labels])
    return Metrics(
        num_videos=len(scores),
        top1=None if single is None else hit_at_k(scores, truth, 1),
        top5=None if single is None else hit_at_k(scores, truth, 5),
        hit1=hit_at_k(scores, truth, 1) if multi_label else None,
        hit5=hit_at_k(scores, truth, 5) if multi_label else None,
        mean_ap=mean_of_defined(per_class),
        num_undefined=int(np.isnan(per_class).sum()),
        per_class_ap=per_class,
        confusion=None if single is None else confusion_matrix(single, scores.argmax(1), labels=range(num_classes)),
    )


def probabilities_of(scores: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Return the probability of each class by scores (..., C), float64.

    Of several labels a video each class has one of its own, but where scores are logarithms of probabilities that sum
    to 1 already (an LSTM's, those averaged or fused after softmax): then it is these.
    """
    scores = np.asarray(scores, np.float64)
    if multi_label and not are_log_probabilities(np.atleast_2d(scores)):
        return expit(scores)
    return softmax(scores, axis=-1)


def are_log_probabilities(scores: np.ndarray) -> bool:
    """Whether scores (N, C) before softmax are logarithms of probabilities, as those averaged after softmax are.

    >>> are_log_probabilities(np.log([[0.25, 0.75]])), are_log_probabilities(np.array([[0.0, 2.0]]))
    (True, False)
    """
    return bool(np.allclose(softmax(scores, axis=1), np.exp(np.minimum(scores, 1)), atol=1e-4))


def label_matrix(labels: Sequence[Sequence[int]], num_classes: int) -> np.ndarray:
    """Return for each video which classes it has, bool (N, C)."""
    truth = np.zeros((len(labels), num_classes), bool)
    for row, own in enumerate(labels):
        truth[row, list(own)] = True
    return truth


def hit_at_k(scores: np.ndarray, truth: np.ndarray, k: int) -> float:
    """Return the share of videos that are hit, see `are_hit`: Karpathy et al. 2014; dissertation, section 3.4.1."""
    return float(are_hit(scores, truth, k).mean())


def are_hit(scores: np.ndarray, truth: np.ndarray, k: int = 1) -> np.ndarray:
    """Return for each video whether one of its labels is among the k highest scores, bool (N,).

    `scores` and the bool `truth` are (N, C). A video without a label cannot be hit and counts all the same; equal
    scores rank in the order of the classes.

    >>> are_hit(np.array([[0.5, 2.0, 1.0], [3.0, 3.0, 0.0]]), np.array([[False, True, True], [False, True, False]]))
    array([ True, False])
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(truth, best, axis=1).any(1)


def mean_metrics(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over several runs of every number that all of them have, e.g. over a data set's three splits."""
    names = [name for name in runs[0] if all(name in run for run in runs)]
    return {name: float(np.mean([run[name] for run in runs])) for name in names}


def fuse(streams: Sequence[np.ndarray], *, weights: Sequence[float], normalize: str = "l1") -> np.ndarray:
    """Return the weighted mean of several streams' scores (N, C) before softmax.

    Ng & Davis, section 3.3: RGB : flow as 1 : 1.5, each row `l1`-normalised first; `none` adds them as they are. A row
    of zeros stays zero. `softmax` averages probabilities, which have an l1 norm of 1 already, and gives the logarithms
    of the averages, whose softmax they are.
    """
    if len({scores.shape for scores in streams}) > 1:
        shapes = " and ".join(str(scores.shape) for scores in streams)
        raise ValueError(f"scores are {shapes}; streams of the same videos must agree")
    parts = [NORMALIZERS[normalize](scores) for scores in streams]
    mean = sum(weight * part for weight, part in zip(weights, parts, strict=True)) / sum(weights)
    return np.log(np.maximum(mean, np.finfo(np.float32).tiny)) if normalize == "softmax" else mean


def _l1_normalized(scores: np.ndarray) -> np.ndarray:
    norms = np.abs(scores).sum(axis=1, keepdims=True)
    return np.divide(scores, norms, out=np.zeros_like(scores, dtype=np.float64), where=norms > 0)


NORMALIZERS = {"l1": _l1_normalized, "none": np.asarray, "softmax": partial(softmax, axis=1)}
