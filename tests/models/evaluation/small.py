"""A small checkpoint that tests of tests need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from tdn_data.models import build_model
from tdn_data.models.weights.checkpoint import Checkpoint, save_checkpoint
from tdn_data.models.weights.trained_on import NORMALIZATION, TrainedOn

OPTIONS = {"backbone": "resnet18", "width": 8, "num_segments": 2, "modality": "rgb", "snippet_length": 1}


COLOURED = TrainedOn(
    modality="rgb",
    dataset="folder",
    class_names=("red", "green"),
    multi_label=False,
    parameters={"codec": "png"},
    normalization=NORMALIZATION["rgb"],
    digest="0",
)


def write_checkpoint(folder: Path, cut: dict[str, object] | None = None, **changes: object) -> Path:
    """Write an untrained TDN that says it was trained on the coloured videos, but for `changes`; return the file."""
    torch.manual_seed(0)
    state = build_model("tdn", num_classes=2, **OPTIONS).state_dict()
    data = replace(COLOURED, **changes).as_dict()
    save_checkpoint(Checkpoint("tdn", OPTIONS, 2, 24, state, data, cut), folder / "checkpoint.pt")
    return folder / "checkpoint.pt"
