"""What a training minimises: the criterion of a data set, and clips mixed with each other.

One label a video: softmax cross-entropy. Several labels, by `multi_label_loss`:

    sigmoid  each class by itself, summed over the classes (FCVID): published rates carry over
    mean     the same, but averaged over the classes: the gradient is smaller by their number
    softmax  cross-entropy with a target that the video's labels share alike (Sports-1M; dissertation, section 3.3.4)
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from tdn_data.models.networks.base import Criterion
from tdn_data.models.training.config import TrainConfig
from tdn_data.pipeline.errors import InputError


def criterion_of(config: TrainConfig, *, multi_label: bool, smoothed: bool = True) -> Criterion:
    """Return the loss of scores (N, C) and targets (N,) or (N, C); `reduction="none"` gives one number a row or more.

    Scores of less precision are taken as float32. Raises InputError for label smoothing with several labels a video.
    """
    if multi_label and config.label_smoothing:
        raise InputError(
            f"label_smoothing is {config.label_smoothing}; it is for one label a video, and this data set has several.",
            key="label_smoothing",
        )
    if multi_label:
        return partial(_in_float32, MULTI_LABEL[config.multi_label_loss])
    smoothing = {"label_smoothing": config.label_smoothing} if smoothed and config.label_smoothing else {}
    return partial(_in_float32, F.cross_entropy, **smoothing)


def _in_float32(criterion: Criterion, scores: Tensor, targets: Tensor, **options: object) -> Tensor:
    return criterion(scores.float(), targets, **options)


def summed_sigmoid(scores: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the sum over the classes of each one's binary cross-entropy, averaged over the rows or of each row."""
    losses = F.binary_cross_entropy_with_logits(scores, targets, reduction="none").sum(-1)
    return losses.mean() if reduction == "mean" else losses


def shared_softmax(scores: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy with targets (N, C) that a row's labels share; a row without a label has no loss."""
    return F.cross_entropy(scores, targets / targets.sum(-1, keepdim=True).clamp(min=1), reduction=reduction)


MULTI_LABEL = {"mean": F.binary_cross_entropy_with_logits, "sigmoid": summed_sigmoid, "softmax": shared_softmax}


def mixed(clips: Tensor, targets: Tensor, *, alpha: float, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return clips and targets (N, C), each mixed with those of another clip of the batch (mixup, Zhang et al. 2018).

    One weight is drawn for the batch from Beta(alpha, alpha); the larger share is each clip's own.
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    share, order = max(share, 1 - share), torch.randperm(len(clips)).to(clips.device)
    if targets.ndim == 1:
        targets = F.one_hot(targets, num_classes).float()
    return clips.lerp(clips[order], 1 - share), targets.lerp(targets[order], 1 - share)
