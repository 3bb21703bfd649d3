"""Ways to compute the same training faster: torch.compile, and clips with their channels last in memory."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tdn_data.models.backbones.convolution import unsafe_layers
from tdn_data.pipeline.errors import InputError

if TYPE_CHECKING:  # it brings the shards' reader, which a bare GPU machine cannot import
    from tdn_data.models.training.config import TrainConfig


def compiled_losses(losses: nn.Module, config: TrainConfig) -> nn.Module:
    """Return a module, compiled where a configuration asks for it; it shares its weights."""
    return torch.compile(losses) if config.compile else losses


def laid_out(clips: Tensor) -> Tensor:
    """Return clips (N, S, K, C, H, W), with the channels of a stacked snippet last in memory.

    K and C lie side by side behind the pixels, so that a snippet's K * C channels are last, too: nothing is copied
    again where a network stacks them.
    """
    return clips.permute(0, 1, 4, 5, 2, 3).contiguous().permute(0, 1, 4, 5, 2, 3)


def check_speed(model: nn.Module, config: TrainConfig, device: torch.device) -> None:
    """Raise InputError where there is nothing to compile with, and for layers that a CPU computes wrong.

    Those are dangerous with channels last, in which the weights of most networks lie anyway (see `convolution`).
    """
    if device.type == "cpu" and (layers := unsafe_layers(model)):
        raise InputError(
            f"the network's layer {layers[0]} is a convolution with which torch writes past its memory on a CPU; "
            "make it a models.backbones.convolution.Convolution2d.",
            key="network",
        )
    if config.compile and not _can_compile(device):
        what = "triton" if device.type == "cuda" else "a C++ compiler (g++)"
        raise InputError(f"compile is true, which takes {what}, and none is here; set it to false.", key="compile")


def _can_compile(device: torch.device) -> bool:
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++") if name)
