"""AlexNet against its layers written down a second time."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tdn_data.models.backbones.alexnet import AlexNet

# position in the published files, stride, padding, whether a 3x3 pooling with stride 2 follows
CONVOLUTIONS = ((0, 4, 2, True), (3, 1, 2, True), (6, 1, 1, False), (8, 1, 1, False), (10, 1, 1, True))


def logits(state, x):
    for position, stride, padding, pooled in CONVOLUTIONS:
        weight, bias = state[f"features.{position}.weight"], state[f"features.{position}.bias"]
        x = F.relu(F.conv2d(x, weight, bias, stride, padding))
        x = F.max_pool2d(x, 3, 2) if pooled else x
    x = torch.flatten(x, 1)  # 6 x 6 already: nothing to pool
    for position in (1, 4):
        x = F.relu(F.linear(x, state[f"classifier.{position}.weight"], state[f"classifier.{position}.bias"]))
    return F.linear(x, state["classifier.6.weight"], state["classifier.6.bias"])


def test_logits_are_those_of_the_layers(reference):
    state = reference.weights("alexnet")
    network, x = AlexNet().eval(), reference.images()
    network.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(network(x), logits(state, x), rtol=1e-3, atol=1e-3)
