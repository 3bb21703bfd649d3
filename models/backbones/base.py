"""What the backbones have in common: named layers, run in order, then a head; and how a file's weights fit them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

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
        """Fit what a file holds for this part to it, in place.

        Args:
            state: The file's tensors by name, of the whole network; it is changed.
            prefix: What the names of this part's tensors begin with.
        """


def _fit_before_loading(part: SelfFitting, state: StateDict, prefix: str, *_: object) -> None:
    part.fit_state(state, prefix)


def fitted_state(network: nn.Module, state: StateDict) -> StateDict:
    """Return a file's weights as they are after each self-fitting part of a network has fitted its own.

    Args:
        network: The network that the weights are for.
        state: The file's tensors by name; it is left as it is.

    Returns:
        The tensors by name.
    """
    fitted = dict(state)
    for name, part in network.named_modules():
        if isinstance(part, SelfFitting):
            part.fit_state(fitted, f"{name}." if name else "")
    return fitted


class Backbone(nn.Module, ABC):
    """Images float32 (N, C, H, W) to logits (N, num_classes) through named layers.

    `taps` names the layers just before each drop of the resolution, low to high: where "Temporal Difference Networks"
    (Ng & Davis, section 3.2, figure 1) takes differences. `num_features` is the number of channels of the last layer,
    `classifiers` what the published files call the parts that make scores of it, `architecture` the name that
    `build_backbone` knows the network by, empty where it was built without one.

    Example:
        >>> import torch
        >>> from tdn_data.models.backbones import build_backbone
        >>> network, images = build_backbone("resnet18", num_classes=5, width=8), torch.zeros(2, 3, 64, 64)
        >>> network(images).shape, network.taps
        (torch.Size([2, 5]), ('conv1', 'res2', 'res3', 'res4'))
        >>> {name: tuple(x.shape[1:]) for name, x in network.forward_features(images, until="res3").items()}
        {'conv1': (8, 16, 16), 'res2': (8, 16, 16), 'res3': (16, 8, 8)}
    """

    architecture: str = ""
    modality: str | None = None  # a backbone by itself takes weights of every modality; see VideoNetwork
    taps: tuple[str, ...]
    classifiers: tuple[str, ...]
    num_features: int

    @abstractmethod
    def layers(self) -> tuple[Layer, ...]:
        """Return the layers in order; applied one after the other they give the last feature map.

        Returns:
            (name, function from feature map to feature map) for each; the first takes images.
        """

    @abstractmethod
    def head(self, x: Tensor) -> Tensor:
        """Score images by their last feature map.

        Args:
            x: The last layer's, (N, num_features, h, w).

        Returns:
            Logits (N, num_classes).
        """

    def forward(self, x: Tensor) -> Tensor:
        """Score images: all layers, then the head.

        Args:
            x: Images, float32 (N, C, H, W).

        Returns:
            Logits (N, num_classes).
        """
        for _, run in self.layers():
            x = run(x)
        return self.head(x)

    def forward_features(self, x: Tensor, *, until: str | None = None) -> dict[str, Tensor]:
        """Return every layer's feature map.

        Args:
            x: Images, float32 (N, C, H, W).
            until: The last layer that is computed; None for all.

        Returns:
            layer -> feature map (N, c, h, w), in order.

        Raises:
            ValueError: There is no such layer; the message names those that there are.
        """
        features = {}
        for name, run in self.layers_until(until):
            features[name] = x = run(x)
        return features

    def feature_map(self, x: Tensor, layer: str) -> Tensor:
        """Return one layer's feature map; no other is kept, and nothing past it is computed.

        Args:
            x: Images, float32 (N, C, H, W).
            layer: Its name.

        Returns:
            The feature map, (N, c, h, w).

        Raises:
            ValueError: There is no such layer; the message names those that there are.
        """
        for _, run in self.layers_until(layer):
            x = run(x)
        return x

    def layers_until(self, last: str | None) -> tuple[Layer, ...]:
        """Return the layers up to one and with it.

        Args:
            last: Its name; None for all layers.

        Returns:
            (name, function from feature map to feature map) for each.

        Raises:
            ValueError: There is no such layer; the message names those that there are.
        """
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
        """Tell whether a parameter belongs to what makes scores from the last feature map.

        Args:
            parameter_name: Its name, or that of the same in a published file.

        Returns:
            Whether one of `classifiers` is a part of the name.
        """
        return any(part in self.classifiers for part in parameter_name.split("."))

    @property
    def first_layer(self) -> str:
        """The name of the weight that the image meets first."""
        return next(name for name, value in self.state_dict().items() if value.ndim >= 4)

    def start_from(self, files: Sequence[tuple[object, StateDict]]) -> list[StateDict]:
        """Return what each of several files gives, as networks do: all that it has.

        Args:
            files: (path, tensors by name) of each.

        Returns:
            Tensors by name for each.
        """
        return [state for _, state in files]

    def parts_for(self, state: StateDict) -> list[tuple[nn.Module, StateDict]]:
        """Return what a published file's weights go into, as networks do: the backbone itself.

        Args:
            state: Tensors by name, as the file has them.

        Returns:
            (this backbone, the weights fitted to it), alone in a list.
        """
        return [(self, self.fit_published(state))]

    def fit_published(self, state: StateDict) -> StateDict:
        """Fit a published file's weights to this network and to our images, see `weights_for_rgb` and `fit_weights`.

        Args:
            state: Tensors by name, as the file has them.

        Returns:
            Tensors by name; they fit only if the file is one of this architecture.
        """
        return self.fit_weights(self.weights_for_rgb(state) if self.first_layer in state else state)

    def fit_weights(self, state: StateDict) -> StateDict:
        """Fit weights of the same network for other images or classes to this one.

        A first layer for other channels is converted (`convert_first_layer`). A classifier of other classes stays as
        it is here; one that this network does not have is left out.

        Args:
            state: Tensors by name.

        Returns:
            Tensors by name, those that needed nothing being the same.
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
        """Return a published file's weights for the images that we give: RGB in [0, 1], normalised as ImageNet's.

        Args:
            state: Tensors by name, as the file has them; of a network that was trained on such images, as here, they
                stay as they are.

        Returns:
            Tensors by name.
        """
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

    >>> import torch
    >>> convert_first_layer(torch.tensor([1.0, 2.0, 6.0]).reshape(1, 3, 1, 1), 2).flatten().tolist()
    [3.0, 3.0]
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
