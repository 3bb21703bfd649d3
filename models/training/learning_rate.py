"""The learning rate at each moment of a training.

    step         divided by ten after each of `lr_steps` (Ng & Davis, section 4.2, after TSN)
    exponential  falls by the same share in each step, to `lr_end` of itself (dissertation, section 3.3.4)
    plateau      divided by ten when validation has not become better `patience` times (Wang et al., section 4.1)
    cosine       half a cosine from the rate to `lr_end` of it (Loshchilov & Hutter 2017)

A moment is counted in epochs, with the share of the epoch under way behind the point, or in steps where a training has
`iterations`. During `warmup` the rate rises in a line from a tenth, and exponential and cosine begin after it.
"""

from __future__ import annotations

import math

import torch

from tdn_data.models.training.config import Part, TrainConfig

WARMUP_START = 0.1  # share of the rate


def learning_rate_at(moment: float, config: TrainConfig, *, part: Part | None = None, left: float = 1.0) -> float:
    """Return the learning rate at a moment, of the network or one part of it; `left` is what a plateau has left of it.

    A part with drops of its own follows these alone.
    """
    base = config.learning_rate if part is None or part.learning_rate is None else part.learning_rate
    if part is not None and part.lr_drops is not None:
        return base / 10 ** sum(moment >= drop for drop in part.lr_drops)
    warm = config.warmup * config.length
    if moment < warm:
        return base * (WARMUP_START + (1 - WARMUP_START) * moment / warm)
    if config.schedule == "step":
        return base / 10 ** sum(moment >= round(step * config.length) for step in config.lr_steps)
    if config.schedule == "plateau":
        return base * left
    passed = (moment - warm) / (config.length - warm)
    if config.schedule == "exponential":
        return base * config.lr_end**passed
    return base * (config.lr_end + (1 - config.lr_end) * (1 + math.cos(math.pi * passed)) / 2)


class Plateau:
    """What is `left` of the learning rate: a tenth each time validation has stopped getting better."""

    def __init__(self, patience: int) -> None:
        self._rate = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        self._watch = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._rate, mode="max", factor=0.1, patience=patience, threshold=0.0, eps=0.0
        )

    @property
    def left(self) -> float:
        """The share of the rate."""
        return self._rate.param_groups[0]["lr"]

    def note(self, result: float) -> None:
        """Take notice of a validation's result; larger is better."""
        self._watch.step(result)

    def state(self) -> dict[str, object]:
        """Return the state as plain values."""
        return {"left": self.left, "watch": self._watch.state_dict()}

    def restore(self, state: dict[str, object]) -> None:
        """Go back to a state that was taken."""
        self._rate.param_groups[0]["lr"] = state["left"]
        self._watch.load_state_dict(state["watch"])
