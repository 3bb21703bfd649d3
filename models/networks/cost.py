"""What a network costs: parameters, and multiply-adds for one clip.

Counted as the papers count: convolutions and matrix products, a multiplication with its addition as one. Sums,
normalisations, activations and pooling are left out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from tdn_data.models.networks.base import NUM_CHANNELS, ClipShape, VideoNetwork


@dataclass(frozen=True)
class Cost:
    """Numbers of a network for one clip shape."""

    parameters: int
    multiply_adds: int


def model_cost(model: nn.Module, clip_shape: Sequence[int]) -> Cost:
    """Return the cost of one forward pass in evaluation for a clip (N, S, K, C, H, W).

    Nothing is computed: a copy of the network runs on tensors that have shapes and no values.
    Raises ValueError for a shape that is no clip's, and what the network raises for a clip that it does not take.
    """
    if len(clip_shape) != 6 or any(length < 1 for length in clip_shape):
        raise ValueError(f"clip_shape is {tuple(clip_shape)}; expected six numbers from 1: (N, S, K, C, H, W)")
    mode = FakeTensorMode()
    network = _shapes_only(model, mode)
    with torch.no_grad(), mode, FlopCounterMode(display=False) as counter:
        network(torch.empty(tuple(clip_shape)))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, counter.get_total_flops() // 2)


def default_clip_shape(model: VideoNetwork, *, num_videos: int = 1, size: int = 224) -> tuple[int, ...]:
    """Return the clip (N, S, K, C, size, size) that a network was built for."""
    shape = ClipShape.of(model, size)
    return (num_videos, shape.num_segments, shape.snippet_length, NUM_CHANNELS[model.modality], size, size)


def _shapes_only(model: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Return a copy of the network on the CPU, in evaluation mode, whose tensors have no values."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): _like(tensor, mode) for tensor in tensors}).eval()


def _like(tensor: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    with mode:
        empty = torch.empty(tensor.shape, dtype=tensor.dtype)
        return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
