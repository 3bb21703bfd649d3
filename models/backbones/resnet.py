"""ResNet-18, 34, 50 and 101: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1.

Parameter names and the place of the stride (the bottleneck's 3x3 convolution, not its first 1x1 as in the paper) are
those of torchvision's files, so that published weights load. `width` is the paper's 64 channels of the first stage;
smaller ones make nets of the same form for small images and short training. `dropout` acts before the classifier.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tdn_data.models.backbones.base import Backbone, Layer, init_weights
from tdn_data.models.backbones.convolution import Convolution2d


def _convolution(num_inputs: int, num_outputs: int, size: int, *, stride: int = 1) -> nn.Conv2d:
    return Convolution2d(num_inputs, num_outputs, size, stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N, C, H, W) -> (N, C', H / stride, W / stride)."""

    expansion = 1

    def __init__(self, num_inputs: int, width: int, *, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _convolution(num_inputs, width, 3, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(shortcut(x) + F(x))."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; four times `width` channels out."""

    expansion = 4

    def __init__(self, num_inputs: int, width: int, *, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _convolution(num_inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _convolution(width, width * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(shortcut(x) + F(x))."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(Backbone):
    """Image (N, in_channels, H, W) to logits (N, num_classes).

    Layers: `conv1` (7x7 convolution and max pooling, 56x56 for an image of 224x224), `res2` (56x56), `res3` (28x28),
    `res4` (14x14), `res5` (7x7).
    """

    taps = ("conv1", "res2", "res3", "res4")
    classifiers = ("fc",)

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = Convolution2d(in_channels, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        widths = [width * 2**stage for stage in range(4)]
        self.layer1 = _stage(block, width, widths[0], depths[0], stride=1)
        self.layer2 = _stage(block, widths[0] * block.expansion, widths[1], depths[1], stride=2)
        self.layer3 = _stage(block, widths[1] * block.expansion, widths[2], depths[2], stride=2)
        self.layer4 = _stage(block, widths[2] * block.expansion, widths[3], depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.num_features = widths[3] * block.expansion
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.num_features, num_classes)
        init_weights(self)

    def layers(self) -> tuple[Layer, ...]:
        """Return the stem and the four stages, in order."""
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        return (("conv1", self._stem), *((f"res{number}", stage) for number, stage in enumerate(stages, start=2)))

    def _stem(self, x: Tensor) -> Tensor:
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))

    def head(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) from `res5`'s map."""
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))


def _stage(
    block: type[BasicBlock] | type[Bottleneck], num_inputs: int, width: int, depth: int, *, stride: int
) -> nn.Sequential:
    num_outputs = width * block.expansion
    downsample = None
    if stride != 1 or num_inputs != num_outputs:
        downsample = nn.Sequential(_convolution(num_inputs, num_outputs, 1, stride=stride), nn.BatchNorm2d(num_outputs))
    blocks = [block(num_inputs, width, stride=stride, downsample=downsample)]
    blocks += [block(num_outputs, width, stride=1, downsample=None) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def resnet18(**options: float) -> ResNet:
    """18 layers, 11.7 M parameters at 1000 classes; options as in `ResNet`."""
    return ResNet(BasicBlock, (2, 2, 2, 2), **options)


def resnet34(**options: float) -> ResNet:
    """34 layers, 21.8 M parameters at 1000 classes; options as in `ResNet`."""
    return ResNet(BasicBlock, (3, 4, 6, 3), **options)


def resnet50(**options: float) -> ResNet:
    """50 layers, 25.6 M parameters at 1000 classes; options as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **options)


def resnet101(**options: float) -> ResNet:
    """101 layers, 44.5 M parameters at 1000 classes; options as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), **options)
