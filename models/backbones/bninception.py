"""BN-Inception: Ioffe & Szegedy, "Batch Normalization: Accelerating Deep Network Training", ICML 2015, figure 5.

Parameter names are those of the public `bninception` files (converted from Caffe): every convolution sits at the top
level with a bias, `inception_3a_3x3_reduce`, and its batch normalisation beside it, `inception_3a_3x3_reduce_bn`.
Those files were trained on BGR images in [0, 255] less the mean (104, 117, 128), not divided by a deviation;
`weights_for_rgb` rewrites them for the normalised RGB images that the other backbones take.

Departures from the paper's figure, both as in the public files: the pooling of 4c and 4d is projected to 128 channels
instead of 96 (so 4e ends in 1056 channels instead of 1024), and the halving max poolings round their size up. Where 3c
and 4e halve an odd map, which no frame of 224 x 224 gives, their pooling is padded like their convolutions, whose size
and places it then has; the public network fails there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.backbones.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Backbone,
    Layer,
    StateDict,
    fold_input,
    init_weights,
)
from tdn_data.models.backbones.convolution import Convolution2d


@dataclass(frozen=True)
class Block:
    """Widths of one inception block (figure 5); without 1x1 branch and projection it halves the resolution."""

    single: int  # 1x1; 0 for none
    triple: tuple[int, int]  # 1x1 reduction, 3x3
    double: tuple[int, int]  # 1x1 reduction, both 3x3
    projection: int  # 1x1 after the pooling; 0 for none
    pooling: str = "mean"  # or "max"

    @property
    def halves(self) -> bool:
        """Whether the 3x3 branches and the pooling step by two and the pooled input is passed on unprojected."""
        return self.projection == 0

    def num_outputs(self, num_inputs: int) -> int:
        """Channels of the concatenated branches."""
        return self.single + self.triple[1] + self.double[1] + (self.projection or num_inputs)


BLOCKS = {
    "inception_3a": Block(64, (64, 64), (64, 96), 32),
    "inception_3b": Block(64, (64, 96), (64, 96), 64),
    "inception_3c": Block(0, (128, 160), (64, 96), 0, "max"),
    "inception_4a": Block(224, (64, 96), (96, 128), 128),
    "inception_4b": Block(192, (96, 128), (96, 128), 128),
    "inception_4c": Block(160, (128, 160), (128, 160), 128),
    "inception_4d": Block(96, (128, 192), (160, 192), 128),
    "inception_4e": Block(0, (128, 192), (192, 256), 0, "max"),
    "inception_5a": Block(352, (192, 320), (160, 224), 128),
    "inception_5b": Block(352, (192, 320), (192, 224), 128, "max"),
}


class BNInception(Backbone):
    """Image (N, C, H, W) to logits (N, num_classes); the files' ImageNet input is 224 x 224, BGR."""

    taps = ("conv1", "conv2", "inception_3b", "inception_4d")
    classifiers = ("last_linear",)

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self._add("conv1_7x7_s2", in_channels, 64, 7, stride=2)
        self._add("conv2_3x3_reduce", 64, 64, 1)
        self._add("conv2_3x3", 64, 192, 3)
        channels = 192
        for name, block in BLOCKS.items():
            self._add_block(name, block, channels)
            channels = block.num_outputs(channels)
        self.num_features = channels
        self.last_linear = nn.Linear(channels, num_classes)
        init_weights(self)

    def _add(self, name: str, num_inputs: int, num_outputs: int, size: int, *, stride: int = 1) -> None:
        """Register one convolution and its batch normalisation under the public files' names."""
        self.add_module(name, Convolution2d(num_inputs, num_outputs, size, stride, padding=size // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(num_outputs))

    def _add_block(self, name: str, block: Block, channels: int) -> None:
        stride = 2 if block.halves else 1
        if block.single:
            self._add(f"{name}_1x1", channels, block.single, 1)
        reduced, width = block.triple
        self._add(f"{name}_3x3_reduce", channels, reduced, 1)
        self._add(f"{name}_3x3", reduced, width, 3, stride=stride)
        reduced, width = block.double
        self._add(f"{name}_double_3x3_reduce", channels, reduced, 1)
        self._add(f"{name}_double_3x3_1", reduced, width, 3)
        self._add(f"{name}_double_3x3_2", width, width, 3, stride=stride)
        if block.projection:
            self._add(f"{name}_pool_proj", channels, block.projection, 1)

    def _run(self, names: tuple[str, ...], x: Tensor) -> Tensor:
        """Apply the named convolutions in turn, each with its batch normalisation and ReLU."""
        for name in names:
            x = F.relu(getattr(self, f"{name}_bn")(getattr(self, name)(x)), inplace=True)
        return x

    def _inception(self, name: str, x: Tensor) -> Tensor:
        """Concatenate the branches of the block called `name`: 1x1, 3x3, double 3x3, pooling."""
        block = BLOCKS[name]
        branches = [self._run((f"{name}_1x1",), x)] if block.single else []
        branches.append(self._run((f"{name}_3x3_reduce", f"{name}_3x3"), x))
        double = tuple(f"{name}_double_3x3_{part}" for part in ("reduce", "1", "2"))
        branches.append(self._run(double, x))
        pooled = _pool(x, block)
        branches.append(self._run((f"{name}_pool_proj",), pooled) if block.projection else pooled)
        return torch.cat(branches, 1)

    def layers(self) -> tuple[Layer, ...]:
        """Return `conv1`, `pool1`, `conv2`, `pool2` and the ten inception blocks, in order."""
        pool = partial(F.max_pool2d, kernel_size=3, stride=2, ceil_mode=True)
        return (
            ("conv1", partial(self._run, ("conv1_7x7_s2",))),
            ("pool1", pool),
            ("conv2", partial(self._run, ("conv2_3x3_reduce", "conv2_3x3"))),
            ("pool2", pool),
            *((name, partial(self._inception, name)) for name in BLOCKS),
        )

    def head(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) from `inception_5b`'s map (N, 1024, H, W)."""
        return self.last_linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))

    @staticmethod
    def weights_for_rgb(state: StateDict) -> StateDict:
        """Return a public file's weights, changed to take RGB in [0, 1], normalised by ImageNet's mean and deviation.

        Only `conv1_7x7_s2` changes; the result is exact but for the image's border (see `fold_input`).
        """
        gain = 255 * torch.tensor(IMAGENET_STD)
        offset = 255 * torch.tensor(IMAGENET_MEAN) - torch.tensor([128.0, 117.0, 104.0])
        weight, shift = fold_input(state["conv1_7x7_s2.weight"].flip(1), gain=gain, offset=offset)
        return {**state, "conv1_7x7_s2.weight": weight, "conv1_7x7_s2.bias": state["conv1_7x7_s2.bias"] + shift}


def _pool(x: Tensor, block: Block) -> Tensor:
    """Pool 3x3 as the block says: mean or maximum, keeping or halving (rounded up) the resolution."""
    if block.halves:
        return F.max_pool2d(x, 3, 2, padding=[length % 2 for length in x.shape[2:]], ceil_mode=True)
    if block.pooling == "max":
        return F.max_pool2d(x, 3, 1, padding=1)
    return F.avg_pool2d(x, 3, 1, padding=1)
