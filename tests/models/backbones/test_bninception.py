"""BN-Inception against the public implementation's logits."""

from __future__ import annotations

import torch

from tdn_data.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from tdn_data.models.backbones.bninception import BLOCKS, BNInception


def test_logits_are_those_of_the_public_network(reference):
    network = BNInception().eval()
    network.load_state_dict(reference.weights("bninception"))
    with torch.no_grad():
        logits = network(reference.images())[:, :16]
    expected = torch.tensor(reference.golden["bninception"]["logits"])
    assert (logits - expected).abs().max() < 1e-3 * expected.abs().max()
    assert sum(parameter.numel() for parameter in network.parameters()) == reference.golden["bninception"]["params"]


def test_blocks_end_in_the_widths_of_the_public_files():
    channels, widths = 192, {}
    for name, block in BLOCKS.items():
        widths[name] = channels = block.num_outputs(channels)
    assert list(widths.values()) == [256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024]


def test_branches_agree_on_sizes_that_halve_to_odd_maps():
    with torch.device("meta"):
        network = BNInception(num_classes=3)
        for size in (32, 33, 47, 48, 63, 65, 84, 100):
            assert network(torch.empty(2, 3, size, 64)).shape == (2, 3)


def test_public_weights_can_take_normalised_rgb():
    torch.manual_seed(0)
    network, other = BNInception(num_classes=3).eval(), BNInception(num_classes=3).eval()
    other.load_state_dict(BNInception.weights_for_rgb(network.state_dict()))
    rgb = torch.rand(1, 3, 32, 32)
    bgr = 255 * rgb.flip(1) - torch.tensor([104.0, 117.0, 128.0])[:, None, None]
    normalised = (rgb - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
    with torch.no_grad():
        expected, found = network.conv1_7x7_s2(bgr), other.conv1_7x7_s2(normalised)
    inside = (..., slice(2, -2), slice(2, -2))  # away from the padding
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-3, atol=1e-2)
