"""The learning rate at each moment of a training."""

from __future__ import annotations

from tdn_data.models.training.config import TrainConfig


def learning_rate_at(epoch: int, config: TrainConfig) -> float:
    """Return the learning rate of an epoch counted from 0: divided by ten after each of `lr_steps`."""
    passed = sum(epoch >= round(step * config.epochs) for step in config.lr_steps)
    return config.learning_rate / 10**passed
