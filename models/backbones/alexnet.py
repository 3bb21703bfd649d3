"""AlexNet in its one-column form: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.

Parameter names are those of torchvision's `alexnet` files. As there, no local response normalisation, and an adaptive
pooling before the classifier, so that images other than 224 x 224 pass; at 224 it does nothing.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.backbones.base import Backbone, Layer, init_weights
from tdn_data.models.backbones.convolution import Convolution2d

# name -> position in `features` (a convolution is followed by its ReLU)
POSITIONS = {"conv1": 0, "pool1": 2, "conv2": 3, "pool2": 5, "conv3": 6, "conv4": 8, "conv5": 10, "pool5": 12}


class AlexNet(Backbone):
    """Image (N, C, H, W) to logits; layers `conv1` to `conv5` (after ReLU) and `pool1`, `pool2`, `pool5`."""

    taps = ("conv1", "conv2", "conv5")
    classifiers = ("classifier",)
    num_features = 256

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(in_channels, 64, 11, stride=4, padding=2),
            nn.MaxPool2d(3, 2),
            *_convolution(64, 192, 5, padding=2),
            nn.MaxPool2d(3, 2),
            *_convolution(192, 384, 3, padding=1),
            *_convolution(384, 256, 3, padding=1),
            *_convolution(256, 256, 3, padding=1),
            nn.MaxPool2d(3, 2),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )
        init_weights(self)

    def layers(self) -> tuple[Layer, ...]:
        """Return the five convolutions with their ReLUs and the three poolings, in order."""
        return tuple(
            (name, partial(self._convolve, position) if name.startswith("conv") else self.features[position])
            for name, position in POSITIONS.items()
        )

    def _convolve(self, position: int, x: Tensor) -> Tensor:
        return self.features[position + 1](self.features[position](x))

    def head(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) from `pool5`'s map (N, 256, H, W)."""
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, 6), 1))


def _convolution(num_inputs: int, num_outputs: int, size: int, *, stride: int = 1, padding: int) -> list[nn.Module]:
    return [Convolution2d(num_inputs, num_outputs, size, stride, padding), nn.ReLU(inplace=True)]
