"""What is said of an epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass

WORDS = {  # what a line for a reader says, in this order
    "loss": "loss {:.3g}",
    "class_loss": "class loss {:.3g}",
    "flow_loss": "flow loss {:.3g}",
    "accuracy": "training accuracy {:.1%}",
    "learning_rate": "learning rate {:.2g}",
    "validation_loss": "validation loss {:.3g}",
    "validation_accuracy": "validation accuracy {:.1%}",
    "validation_map": "validation mAP {:.1%}",
}


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

    def values(self) -> dict[str, float]:
        """Return the numbers that the epoch has, name -> value, without its own number."""
        return {name: value for name, value in asdict(self).items() if name in WORDS and value is not None}

    def words(self) -> dict[str, str]:
        """Return the same as words for a reader, in the order of `WORDS`; a share is in percent."""
        values = self.values()
        return {name: words.format(values[name]) for name, words in WORDS.items() if name in values}
