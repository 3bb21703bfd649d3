"""What adds up over an epoch: the parts of the loss, and the clips recognised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from tdn_data.models.networks.base import Losses

PARTS = {"loss": "total", "class_loss": "classes", "flow_loss": "flow"}  # in a report -> in `Losses`


@dataclass
class EpochSums:
    """The values of each step so far, by name, how many clips' best score was right, and the first step's rate."""

    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PARTS})
    num_hits: int = 0
    num_clips: int = 0
    learning_rate: float = 0.0

    def add(self, losses: Mapping[str, float], *, num_hits: int, num_clips: int) -> None:
        """Take in one step: its losses by name, how many clips it had, and of how many the best score was right."""
        for name, value in losses.items():
            self.values[name].append(value)
        self.num_hits += num_hits
        self.num_clips += num_clips

    def means(self) -> dict[str, float | None]:
        """Return the mean of each part of the loss, None where no step had it."""
        return {name: float(np.mean(values)) if values else None for name, values in self.values.items()}


def parts_of(losses: Losses) -> dict[str, float]:
    """Return the parts that a batch's loss has, by the names of a report."""
    found = {name: getattr(losses, part) for name, part in PARTS.items()}
    return {name: value.item() for name, value in found.items() if value is not None}


def num_hits(scores: Tensor, targets: Tensor) -> int:
    """Return how many clips' highest score belongs to (one of) their classes."""
    best = scores.argmax(1)
    hits = best == targets if targets.ndim == 1 else targets.gather(1, best[:, None])[:, 0] > 0
    return int(hits.sum())
