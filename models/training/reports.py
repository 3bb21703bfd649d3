"""What is said of an epoch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochReport:
    """One epoch: number from 1, mean loss, share of training clips recognised by the video score, learning rate.

    `accuracy` is None where the flow alone is trained. For networks that learn flow the mean parts of the loss:
    `class_loss`, and `flow_loss` not yet multiplied by lambda, None where the epoch has no such part. After
    a validation: `validation_loss`, `validation_accuracy` (of several labels the best score's, Hit@1) and, with several
    labels a video, `validation_map`, mean average precision.
    """

    epoch: int
    num_epochs: int
    loss: float
    accuracy: float | None
    learning_rate: float
    class_loss: float | None = None
    flow_loss: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    validation_map: float | None = None
