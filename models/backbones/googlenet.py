"""GoogLeNet: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, table 1, in its batch-normalised form.

Parameter names are those of torchvision's `googlenet` files, whose weights come from TensorFlow. Departures from the
paper, all as in those files: batch normalisation (epsilon 0.001) instead of local response normalisation and biases,
3x3 instead of 5x5 convolutions in the third branch, and a 2x2 window in the last halving. Training on ImageNet adds
two classifiers half-way (paper, section 5; their losses weigh 0.3): `aux_logits=True` has them, and without it a file's
weights for them are passed over. Those files expect RGB in [-1, 1]; `weights_for_rgb` rewrites them for images
normalised by ImageNet's mean and deviation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.backbones.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Backbone,
    Layer,
    SelfFitting,
    StateDict,
    fold_input,
    init_weights,
)
from tdn_data.models.backbones.convolution import Convolution2d

# block -> 1x1, (reduction, 3x3), (reduction, "5x5"), projection after the pooling; paper, table 1
BLOCKS = {
    "inception3a": (64, (96, 128), (16, 32), 32),
    "inception3b": (128, (128, 192), (32, 96), 64),
    "inception4a": (192, (96, 208), (16, 48), 64),
    "inception4b": (160, (112, 224), (24, 64), 64),
    "inception4c": (128, (128, 256), (24, 64), 64),
    "inception4d": (112, (144, 288), (32, 64), 64),
    "inception4e": (256, (160, 320), (32, 128), 128),
    "inception5a": (256, (160, 320), (32, 128), 128),
    "inception5b": (384, (192, 384), (48, 128), 128),
}


class Outputs(NamedTuple):
    """Logits of the classifier and of the auxiliary ones after inception4d and inception4a, (N, num_classes) each."""

    logits: Tensor
    aux_logits2: Tensor
    aux_logits1: Tensor


class Convolution(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, num_inputs: int, num_outputs: int, size: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = Convolution2d(num_inputs, num_outputs, size, stride, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(num_outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, num_outputs, H / stride, W / stride)."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """Four branches side by side, concatenated over the channels (paper, figure 2b)."""

    def __init__(
        self, num_inputs: int, single: int, triple: tuple[int, int], quintuple: tuple[int, int], projection: int
    ) -> None:
        super().__init__()
        self.branch1 = Convolution(num_inputs, single, 1)
        self.branch2 = nn.Sequential(Convolution(num_inputs, triple[0], 1), Convolution(*triple, 3))
        self.branch3 = nn.Sequential(Convolution(num_inputs, quintuple[0], 1), Convolution(*quintuple, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), Convolution(num_inputs, projection, 1))
        self.num_outputs = single + triple[1] + quintuple[1] + projection

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, num_outputs, H, W)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Auxiliary(nn.Module):
    """The classifier half-way: 4x4 mean pooling, 1x1 convolution, two linear layers with dropout between."""

    def __init__(self, num_inputs: int, num_classes: int) -> None:
        super().__init__()
        self.conv = Convolution(num_inputs, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes)."""
        x = torch.flatten(self.conv(F.adaptive_avg_pool2d(x, 4)), 1)
        return self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))


class GoogLeNet(Backbone, SelfFitting):
    """Image (N, C, H, W) to logits; `forward_with_aux` gives the auxiliary logits too."""

    taps = ("conv1", "conv3", "inception3b", "inception4e")
    classifiers = ("fc", "fc2")  # the second: of the auxiliary ones

    def __init__(
        self, *, num_classes: int = 1000, in_channels: int = 3, aux_logits: bool = False, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.aux_logits = aux_logits
        self.conv1 = Convolution(in_channels, 64, 7, stride=2)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = Convolution(64, 64, 1)
        self.conv3 = Convolution(64, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        channels = {"maxpool2": 192}
        for name, widths in BLOCKS.items():
            block = Inception([*channels.values()][-1], *widths)
            self.add_module(name, block)
            channels[name] = block.num_outputs
        self.num_features = channels["inception5b"]
        if aux_logits:
            self.aux1 = Auxiliary(channels["inception4a"], num_classes)
            self.aux2 = Auxiliary(channels["inception4d"], num_classes)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.num_features, num_classes)
        init_weights(self)

    def fit_state(self, state: StateDict, prefix: str) -> None:
        """Take the auxiliary classifiers' weights out of a file's `state` when the network has none."""
        if not self.aux_logits:
            for name in [name for name in state if name.startswith((f"{prefix}aux1.", f"{prefix}aux2."))]:
                del state[name]

    def layers(self) -> tuple[Layer, ...]:
        """Return the stem, the nine inception blocks and the poolings, in order."""
        names = ["conv1", "maxpool1", "conv2", "conv3", "maxpool2"]
        for name in BLOCKS:
            names += {"inception4a": ["maxpool3"], "inception5a": ["maxpool4"]}.get(name, []) + [name]
        return tuple((name, getattr(self, name)) for name in names)

    def head(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) from `inception5b`'s map (N, 1024, H, W)."""
        return self.fc(self.dropout(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)))

    def forward_with_aux(self, x: Tensor) -> Outputs:
        """Return the logits of all three classifiers for images (N, C, H, W).

        Raises ValueError when the network was built without the auxiliary ones.
        """
        if not self.aux_logits:
            raise ValueError("aux_logits is False; build the network with aux_logits=True to train its classifiers")
        features = self.forward_features(x)
        return Outputs(
            logits=self.head(features["inception5b"]),
            aux_logits2=self.aux2(features["inception4d"]),
            aux_logits1=self.aux1(features["inception4a"]),
        )

    @staticmethod
    def weights_for_rgb(state: StateDict) -> StateDict:
        """Return a public file's weights, changed to take RGB in [0, 1], normalised by ImageNet's mean and deviation.

        Only `conv1` changes; the result is exact but for the image's border (see `fold_input`).
        """
        gain, offset = 2 * torch.tensor(IMAGENET_STD), 2 * torch.tensor(IMAGENET_MEAN) - 1
        weight, shift = fold_input(state["conv1.conv.weight"], gain=gain, offset=offset)
        return {**state, "conv1.conv.weight": weight, "conv1.bn.running_mean": state["conv1.bn.running_mean"] - shift}
