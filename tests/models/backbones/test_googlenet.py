"""GoogLeNet against its table written down a second time, and its auxiliary classifiers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tdn_data.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from tdn_data.models.backbones.googlenet import GoogLeNet


def convolve(state, name, x, *, stride=1):
    """Convolution, batch normalisation with epsilon 0.001 and ReLU, from the file's names alone."""
    weight = state[f"{name}.conv.weight"]
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
    keys = (f"{name}.bn.running_mean", f"{name}.bn.running_var", f"{name}.bn.weight", f"{name}.bn.bias")
    return F.relu(F.batch_norm(x, *(state[key] for key in keys), eps=1e-3))


def inception(state, name, x):
    branches = [convolve(state, f"{name}.branch1", x)]
    branches += [convolve(state, f"{name}.{b}.1", convolve(state, f"{name}.{b}.0", x)) for b in ("branch2", "branch3")]
    pooled = F.max_pool2d(x, 3, 1, 1)
    return torch.cat([*branches, convolve(state, f"{name}.branch4.1", pooled)], 1)


def logits(state, x):
    x = F.max_pool2d(convolve(state, "conv1", x, stride=2), 3, 2, ceil_mode=True)
    x = convolve(state, "conv3", convolve(state, "conv2", x))
    for window, blocks in ((3, ("3a", "3b")), (3, ("4a", "4b", "4c", "4d", "4e")), (2, ("5a", "5b"))):
        x = F.max_pool2d(x, window, 2, ceil_mode=True)
        for block in blocks:
            x = inception(state, f"inception{block}", x)
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def test_logits_are_those_of_the_table(reference):
    state = reference.weights("googlenet")
    network, x = GoogLeNet().eval(), reference.images()[:, :, :96, :96]
    network.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(network(x), logits(state, x), rtol=1e-3, atol=1e-4)


def test_a_file_with_auxiliary_classifiers_loads_with_and_without_them():
    torch.manual_seed(0)
    full = GoogLeNet(num_classes=4, aux_logits=True).eval()
    names = {name for name in full.state_dict() if name.startswith("aux")}
    assert {"aux1.conv.conv.weight", "aux1.conv.bn.running_var", "aux2.fc1.weight", "aux2.fc2.bias"} <= names
    plain = GoogLeNet(num_classes=4).eval()
    plain.load_state_dict(full.state_dict())
    wrapped = torch.nn.ModuleDict({"backbone": GoogLeNet(num_classes=4)})
    wrapped.load_state_dict({f"backbone.{name}": value for name, value in full.state_dict().items()})
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(plain(x), full(x))
    assert names <= full.state_dict().keys()  # the file itself was left alone


def test_auxiliary_logits_come_by_name_and_train_every_weight():
    with torch.device("meta"):
        network = GoogLeNet(num_classes=4, aux_logits=True)
        outputs = network.forward_with_aux(torch.empty(2, 3, 64, 64))
    assert {name: tuple(value.shape) for name, value in outputs._asdict().items()} == {
        "logits": (2, 4),
        "aux_logits2": (2, 4),
        "aux_logits1": (2, 4),
    }
    (outputs.logits + 0.3 * (outputs.aux_logits1 + outputs.aux_logits2)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    with pytest.raises(ValueError, match="aux_logits is False"):
        GoogLeNet(num_classes=4).forward_with_aux(torch.zeros(2, 3, 64, 64))


def test_public_weights_can_take_normalised_rgb():
    torch.manual_seed(0)
    network, other = GoogLeNet(num_classes=3).eval(), GoogLeNet(num_classes=3).eval()
    other.load_state_dict(GoogLeNet.weights_for_rgb(network.state_dict()))
    rgb = torch.rand(1, 3, 32, 32)
    normalised = (rgb - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
    with torch.no_grad():
        expected, found = network.conv1(2 * rgb - 1), other.conv1(normalised)
    inside = (..., slice(2, -2), slice(2, -2))  # away from the padding
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-4, atol=1e-4)
