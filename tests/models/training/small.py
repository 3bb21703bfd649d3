"""What trainings in these tests have in common."""

from __future__ import annotations

from pathlib import Path

import torch

from tdn_data.models.training.config import TrainConfig
from tdn_data.models.weights.checkpoint import read_checkpoint

SMALL = TrainConfig(
    backbone="resnet18",
    backbone_options={"width": 8},
    num_segments=2,
    size=32,
    crop="random",
    mirror=False,
    epochs=2,
    batch_size=4,
    learning_rate=0.02,
    fixed_share=0.0,
)


def weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint."""
    return read_checkpoint(path).state_dict
