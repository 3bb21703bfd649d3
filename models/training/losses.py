"""What a step of training minimises, for each kind of network.

Ng & Davis, section 3.4: each subnetwork's scores, averaged over the snippets, have a loss of their own; the losses add
up. The LSTM has a loss over its frames' scores instead (dissertation, section 3.3.3). Networks that learn flow have
equations 4.1 to 4.4 of the dissertation: flow alone, or classes and lambda times the flow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.networks.actionflownet import FlowRecognizer
from tdn_data.models.networks.lstm import LSTM, combine_frames, frame_loss

Criterion = Callable[..., Tensor]  # cross_entropy, or binary_cross_entropy_with_logits for several labels


@dataclass(frozen=True)
class Losses:
    """One batch: the loss to minimise, its parts where it has two, and the video scores (N, C) where there are any."""

    total: Tensor
    scores: Tensor | None = None
    classes: Tensor | None = None
    flow: Tensor | None = None


def class_losses(model: nn.Module, clips: Tensor, targets: Tensor, *, criterion: Criterion = F.cross_entropy) -> Losses:
    """Return the classification loss for clips (N, S, K, C, H, W) and targets (N,) or (N, C)."""
    if isinstance(model, LSTM):
        frames = model.frame_scores(clips)
        return Losses(
            frame_loss(frames, targets, criterion=criterion), combine_frames(frames, model.consensus).detach()
        )
    streams = model.forward_streams(clips)
    loss = torch.stack([criterion(scores, targets) for scores in streams.values()]).sum()
    return Losses(loss, torch.stack([scores.detach() for scores in streams.values()]).mean(0))


def flow_losses(model: FlowRecognizer, clips: Tensor, flow: Tensor) -> Losses:
    """Return the flow loss alone (equation 4.1 or 4.3) for true flow (N, S, fields, 2, H, W)."""
    loss = model.flow_loss(clips, flow)
    return Losses(loss, flow=loss.detach())


def joint_losses(
    model: FlowRecognizer, clips: Tensor, targets: Tensor, flow: Tensor, *, criterion: Criterion = F.cross_entropy
) -> Losses:
    """Return the classification loss plus the model's `flow_weight` times the flow loss (equation 4.2 or 4.4)."""
    scores, flows = model.forward_both(clips)
    classes, of_flow = criterion(scores, targets), model.scale_loss(flows, flow)
    return Losses(classes + model.flow_weight * of_flow, scores.detach(), classes.detach(), of_flow.detach())
