"""VGG-16 against configuration D written down a second time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tdn_data.models.backbones.vgg import VGG16

# positions of the convolutions in the published files; a pooling ends each group
POSITIONS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))


def feature_map(state, x):
    for group in POSITIONS:
        for position in group:
            x = F.relu(F.conv2d(x, state[f"features.{position}.weight"], state[f"features.{position}.bias"], padding=1))
        x = F.max_pool2d(x, 2)
    return x


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return VGG16(num_classes=4).eval()


def test_logits_are_those_of_the_configuration(network):
    state, x = network.state_dict(), torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        hidden = torch.flatten(F.adaptive_avg_pool2d(feature_map(state, x), 7), 1)
        for position in (0, 3):
            weight, bias = state[f"classifier.{position}.weight"], state[f"classifier.{position}.bias"]
            hidden = F.relu(F.linear(hidden, weight, bias))
        expected = F.linear(hidden, state["classifier.6.weight"], state["classifier.6.bias"])
        torch.testing.assert_close(network(x), expected, rtol=1e-3, atol=1e-5)


def test_responses_keep_their_scale_through_thirteen_layers_of_starting_weights(network):
    with torch.no_grad():
        features = network.forward_features(torch.randn(1, 3, 64, 64))
    assert 0.1 < features["conv5_3"].std() / features["conv1_1"].std() < 10
