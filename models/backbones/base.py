"""What the backbones have in common: named layers, run in order, then a head; and how a first layer is converted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

# what torchvision's files were trained on: RGB in [0, 1], less the mean, over the deviation
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Layer = tuple[str, Callable[[Tensor], Tensor]]


class Backbone(nn.Module, ABC):
    """Image (N, C, H, W) to logits through named layers.

    `taps` names the layers just before each drop of the resolution, low to high: where "Temporal Difference Networks"
    (Ng & Davis, section 3.2, figure 1) takes differences. `num_features` is the number of channels of the last layer,
    `architecture` the name that `build_backbone` knows the network by, empty where it was built without one.
    """

    architecture: str = ""
    taps: tuple[str, ...]
    num_features: int

    @abstractmethod
    def layers(self) -> tuple[Layer, ...]:
        """Return (name, function) in order; applied one after the other they give the last feature map."""

    @abstractmethod
    def head(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) from the last layer's feature map."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) for images (N, C, H, W)."""
        for _, run in self.layers():
            x = run(x)
        return self.head(x)

    def forward_features(self, x: Tensor, *, until: str | None = None) -> dict[str, Tensor]:
        """Return every layer's feature map by name, in order; with `until` nothing past that layer is computed."""
        features = {}
        for name, run in self.layers_until(until):
            features[name] = x = run(x)
        return features

    def feature_map(self, x: Tensor, layer: str) -> Tensor:
        """Return the feature map of `layer` alone; no other is kept, and nothing past it is computed."""
        for _, run in self.layers_until(layer):
            x = run(x)
        return x

    def layers_until(self, last: str | None) -> tuple[Layer, ...]:
        """Return the layers up to `last` (None: all); raise ValueError, naming them, for an unknown one."""
        layers = self.layers()
        if last is None:
            return layers
        names = [name for name, _ in layers]
        if last not in names:
            raise ValueError(f"layer is {last!r}; layers of {type(self).__name__}: {', '.join(names)}")
        return layers[: names.index(last) + 1]


def init_weights(network: nn.Module) -> None:
    """Draw starting weights: He's normal (fan out) for convolutions, N(0, 0.01) for linear layers, zero biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.zeros_(module.bias)


def convert_first_layer(weight: Tensor, in_channels: int) -> Tensor:
    """Return a first convolution's weight (O, C, ...) for `in_channels` inputs: averaged over C and repeated.

    Cross-modality pre-training of "Temporal Segment Networks" (Wang et al., ECCV 2016, section 3.2): the new weight is
    the same for every input channel. With `in_channels` equal to C the weight comes back as it is.
    """
    if in_channels < 1:
        raise ValueError(f"in_channels is {in_channels}; expected 1 or more")
    if weight.shape[1] == in_channels:
        return weight
    return weight.mean(1, keepdim=True).repeat_interleave(in_channels, dim=1)


def fold_input(weight: Tensor, *, gain: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and output shift (O,) that do to x what `weight` (O, C, H, W) does to gain * x + offset.

    `gain` and `offset` hold one number per channel (C,). Exact except where the window reaches over the border: there
    the padding's zeros stand for another colour.
    """
    return weight * gain[:, None, None], (weight * offset[:, None, None]).sum((1, 2, 3))
