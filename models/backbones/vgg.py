"""VGG-16: Simonyan & Zisserman, "Very Deep Convolutional Networks", ICLR 2015, table 1, configuration D.

Parameter names are those of torchvision's `vgg16` files. As there, an adaptive pooling stands before the classifier, so
that images other than 224 x 224 pass; at 224 it does nothing.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.backbones.base import Backbone, Layer, init_weights
from tdn_data.models.backbones.convolution import Convolution2d

# channels and number of 3x3 convolutions of each group; a 2x2 pooling ends it
GROUPS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class VGG16(Backbone):
    """Image (N, C, H, W) to logits; layers `conv1_1` to `conv5_3` (after ReLU) and `pool1` to `pool5`."""

    taps = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")
    classifiers = ("classifier",)

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        steps, channels = [], in_channels
        for width, count in GROUPS:
            for _ in range(count):
                steps += [Convolution2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            steps.append(nn.MaxPool2d(2))
        self.num_features = channels
        self.features = nn.Sequential(*steps)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        init_weights(self)

    def layers(self) -> tuple[Layer, ...]:
        """Return the 13 convolutions with their ReLUs and the 5 poolings, in order."""
        layers, position = [], 0
        for group, (_, count) in enumerate(GROUPS, start=1):
            for number in range(1, count + 1):
                layers.append((f"conv{group}_{number}", partial(self._convolve, position)))
                position += 2
            layers.append((f"pool{group}", self.features[position]))
            position += 1
        return tuple(layers)

    def _convolve(self, position: int, x: Tensor) -> Tensor:
        return self.features[position + 1](self.features[position](x))

    def head(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) from `pool5`'s map (N, 512, H, W)."""
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, 7), 1))
