"""Residual networks: published names, published logits, named layers."""

from __future__ import annotations

import pytest
import torch

from tdn_data.models.backbones import BACKBONES, build_backbone


def test_logits_are_those_of_the_public_network(reference) -> None:
    network = build_backbone("resnet18").eval()
    network.load_state_dict(reference.weights("resnet18"))
    with torch.no_grad():
        logits = network(reference.images())[:, :16]
    expected = torch.tensor(reference.golden["resnet18"]["logits"])
    assert (logits - expected).abs().max() <= 1e-3 * expected.abs().max()
    assert sum(parameter.numel() for parameter in network.parameters()) == reference.golden["resnet18"]["params"]


@pytest.mark.parametrize(("name", "num_parameters"), [("resnet34", 21797672), ("resnet50", 25557032),
                                                      ("resnet101", 44549160)])  # fmt: skip
def test_number_of_parameters_is_the_published_one(name: str, num_parameters: int) -> None:
    with torch.device("meta"):
        network = build_backbone(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters


@pytest.mark.parametrize(("name", "expansion"), [("resnet18", 1), ("resnet50", 4)])
def test_layers_have_the_papers_sizes(name: str, expansion: int) -> None:
    network = build_backbone(name, num_classes=5, width=8).eval()
    with torch.no_grad():
        maps = network.forward_features(torch.zeros(1, 3, 224, 224))
    assert {layer: tuple(x.shape[1:]) for layer, x in maps.items()} == {
        "conv1": (8, 56, 56),
        "res2": (8 * expansion, 56, 56),
        "res3": (16 * expansion, 28, 28),
        "res4": (32 * expansion, 14, 14),
        "res5": (64 * expansion, 7, 7),
    }
    assert network.num_features == 64 * expansion
    assert network.head(maps["res5"]).shape == (1, 5)


def test_later_layers_do_not_overwrite_earlier_maps() -> None:
    network = build_backbone("resnet18", width=8).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = network.forward_features(images)
        for layer in together:
            torch.testing.assert_close(together[layer], network.forward_features(images, until=layer)[layer])


def test_input_channels_are_free() -> None:
    assert build_backbone("resnet18", in_channels=10, width=8, num_classes=4)(torch.zeros(2, 10, 32, 32)).shape == (
        2,
        4,
    )


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="backbone is 'resnet19'; known backbones: resnet18, resnet34"):
        build_backbone("resnet19")
    assert "resnet50" in BACKBONES
