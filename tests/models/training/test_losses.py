"""Losses written down a second time, for one batch of a small network of each kind."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tdn_data.models import build_model

SMALL = {"num_classes": 3, "backbone": "resnet18", "width": 8, "num_segments": 3}
TARGETS = torch.tensor([2, 0])


def build(name, **options):
    torch.manual_seed(0)
    return build_model(name, **SMALL, **options).eval()


def clips(num_frames=3):
    return torch.randn(2, num_frames, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_losses_of_both_subnetworks_add_up():
    network = build("tdn")
    streams = network.forward_streams(clips())
    expected = F.cross_entropy(streams["image"], TARGETS) + F.cross_entropy(streams["difference"], TARGETS)
    losses = network.class_losses(clips(), TARGETS)
    torch.testing.assert_close(losses.total, expected)
    torch.testing.assert_close(losses.scores, (streams["image"] + streams["difference"]).detach() / 2)


def test_several_labels_add_up_by_their_own_criterion():
    network, targets = build("tdn"), torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    streams = network.forward_streams(clips()).values()
    expected = sum(F.binary_cross_entropy_with_logits(scores, targets) for scores in streams)
    losses = network.class_losses(clips(), targets, criterion=F.binary_cross_entropy_with_logits)
    torch.testing.assert_close(losses.total, expected)


@pytest.mark.parametrize("consensus", ["last", "max", "sum", "weighted"])
def test_an_lstms_training_scores_are_combined_as_its_video_scores(consensus):
    network = build("lstm", num_layers=1, num_cells=16, consensus=consensus)
    torch.testing.assert_close(network.class_losses(clips(), TARGETS).scores, network(clips()).detach())
