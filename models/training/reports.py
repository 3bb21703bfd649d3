"""What is said of an epoch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochReport:
    """One epoch: number from 1, mean loss, share of training clips recognised by the video score, learning rate.

    `accuracy` is None where the flow alone is trained. For networks that learn flow the mean parts of the loss:
    `class_loss`, and `flow_loss` not yet multiplied by lambda, None where the epoch has no such part.
    """

    epoch: int
    num_epochs: int
    loss: float
    accuracy: float | None
    learning_rate: float
    class_loss: float | None = None
    flow_loss: float | None = None
