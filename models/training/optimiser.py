"""The optimiser: SGD with momentum or Adam."""

from __future__ import annotations

import torch
from torch import nn

from tdn_data.models.training.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser of all of a model's parameters; those without a gradient stay as they are."""
    options = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), betas=(config.momentum, 0.999), **options)
    return torch.optim.SGD(model.parameters(), momentum=config.momentum, **options)
