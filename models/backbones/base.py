"""What the backbones have in common: named layers, run in order, then a head; and how a file's weights fit them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

# what torchvision's files were trained on: RGB in [0, 1], less the mean, over the deviation
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Layer = tuple[str, Callable[[Tensor], Tensor]]
StateDict = dict[str, Tensor]


class SelfFitting(nn.Module, ABC):
    """A part that takes weights of another form than its own and fits them to itself, wherever in a network it stands.

    `load_state_dict` calls `fit_state`; `fitted_state` shows what comes of it before anything is loaded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_load_state_dict_pre_hook(_fit_before_loading)

    @abstractmethod
    def fit_state(self, state: StateDict, prefix: str) -> None:
        """Change, in place, what a file's `state` holds for this part, whose names there start with `prefix`."""


def _fit_before_loading(part: SelfFitting, state: StateDict, prefix: str, *_: object) -> None:
    part.fit_state(state, prefix)


def fitted_state(network: nn.Module, state: StateDict) -> StateDict:
    """Return `state` as it is after each self-fitting part of `network` has fitted it to itself."""
    fitted = dict(state)
    for name, part in network.named_modules():
        if isinstance(part, SelfFitting):
            part.fit_state(fitted, f"{name}." if name else "")
    return fitted


class Backbone(nn.Module, ABC):
    """Image (N, C, H, W) to logits through named layers.

    `taps` names the layers just before each drop of the resolution, low to high: where "Temporal Difference Networks"
    (Ng & Davis, section 3.2, figure 1) takes differences. `num_features` is the number of channels of the last layer,
    `classifiers` what the published files call the parts that make scores of it, `architecture` the name that
    `build_backbone` knows the network by, empty where it was built without one.
    """

    architecture: str = ""
    modality: str | None = None  # a backbone by itself takes weights of every modality; see VideoNetwork
    taps: tuple[str, ...]
    classifiers: tuple[str, ...]
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

    def backbones(self) -> tuple[Backbone, ...]:
        """Return the backbones that the network stands on: itself."""
        return (self,)

    def is_classifier(self, parameter_name: str) -> bool:
        """Return whether a parameter belongs to what makes scores from the last feature map."""
        return any(part in self.classifiers for part in parameter_name.split("."))

    @property
    def first_layer(self) -> str:
        """The name of the weight that the image meets first."""
        return next(name for name, value in self.state_dict().items() if value.ndim >= 4)

    def parts_for(self, state: StateDict) -> list[tuple[nn.Module, StateDict]]:
        """Return the (part, its weights) pairs that a published file's weights go into: the backbone itself."""
        return [(self, self.fit_published(state))]

    def fit_published(self, state: StateDict) -> StateDict:
        """Return a published file's weights for our images, see `weights_for_rgb`, fitted as `fit_weights` does."""
        return self.fit_weights(self.weights_for_rgb(state) if self.first_layer in state else state)

    def fit_weights(self, state: StateDict) -> StateDict:
        """Return weights of the same network for other images or classes, fitted to this one.

        A first layer for other channels is converted (`convert_first_layer`). A classifier of other classes stays as
        it is here; one that this network does not have is left out.
        """
        own, fitted = self.state_dict(), dict(state)
        for name in [name for name in own if name in fitted and fitted[name].shape != own[name].shape]:
            if self.is_classifier(name):
                fitted[name] = own[name]
            elif name == self.first_layer and fitted[name].shape[2:] == own[name].shape[2:]:
                fitted[name] = convert_first_layer(fitted[name], own[name].shape[1])
        return {name: value for name, value in fitted.items() if name in own or not self.is_classifier(name)}

    @staticmethod
    def weights_for_rgb(state: StateDict) -> StateDict:
        """Return a published file's weights for RGB in [0, 1], normalised by ImageNet's mean and deviation."""
        return state


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
