"""Normalisations are folded in every backbone; what cannot be folded is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tdn_data.models.backbones import BACKBONES, build_backbone
from tdn_data.models.networks.folding import fold_norms


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_the_same_logits(name: str) -> None:
    torch.manual_seed(0)
    network, x = build_backbone(name, num_classes=5).eval(), torch.randn(2, 3, 64, 64)
    for norm in network.modules():
        if isinstance(norm, _BatchNorm):
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        expected = network(x)
        torch.testing.assert_close(fold_norms(network)(x), expected, rtol=1e-3, atol=1e-5)
    assert not any(isinstance(module, _BatchNorm) for module in network.modules())


def test_a_network_in_training_is_refused() -> None:
    with pytest.raises(ValueError, match="training mode"):
        fold_norms(build_backbone("resnet18"))


class NormFirst(nn.Module):
    """A normalisation of the input, with a convolution of another name after it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.layer = nn.Conv2d(3, 4, 1)


def test_a_normalisation_without_its_convolution_is_refused() -> None:
    with pytest.raises(ValueError, match=r"NormFirst\.norm: no convolution"):
        fold_norms(NormFirst().eval())
