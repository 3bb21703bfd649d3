"""Temporal Difference Network: Ng & Davis, "Temporal Difference Networks for Video Action Recognition", section 3.2.

    snippet 1 --> image subnetwork ----+----+----+--> scores ---.
                     |  (shared)       |    |    |              mean --.
    snippet 2 --> image subnetwork ----+----+----+--> scores ---'      |
                     |                 |    |    |  2 - 1 at each tap  mean of both = video scores
                     v                 v    v    v                     |
               difference subnetwork --+----+----+--> scores --> mean -'

The image subnetwork is a TSN. The difference subnetwork has the same form and weights of its own; it sees the
difference of two neighbouring snippets and, at each tap, adds the difference of the image subnetwork's features to
its own activations. S snippets give S image scores and S - 1 difference scores.

The paper leaves open how the gate of its gated combination is computed (section 3.2); here it is a 1x1 convolution of
both inputs and a sigmoid, and starts as the plain sum. So does the 1x1 convolution of the differences, as identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tdn_data.models.backbones import build_backbone
from tdn_data.models.backbones.base import Backbone, StateDict
from tdn_data.models.backbones.convolution import Convolution2d
from tdn_data.models.networks.base import VideoNetwork, stack_snippets

INPUT = "input"


class TDN(VideoNetwork):
    """Clip (N, S, K, C, H, W), S >= 2, to scores (N, num_classes).

    `taps` names where differences enter: `input`, always, and layers of the backbone, by default each one before the
    resolution drops (for a ResNet `conv1`, `res2`, `res3`, `res4`: the last row of the paper's table 4; shorter lists
    are its other rows). `combination` is `sum`, `conv1x1` or `gated`. `backbone_options` go to both subnetworks.

    A TSN's weights go into the image subnetwork (section 3.4), a backbone's into both.
    """

    training_options = ("taps", "combination")
    image_part = "image"

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: str = "resnet50",
        num_segments: int = 8,
        modality: str = "rgb",
        snippet_length: int = 1,
        taps: Sequence[str] | None = None,
        combination: str = "sum",
        **backbone_options: object,
    ) -> None:
        if num_segments < 2:
            raise ValueError(f"num_segments is {num_segments!r}; differences need at least 2")
        super().__init__(num_segments=num_segments, modality=modality, snippet_length=snippet_length)
        options = {"num_classes": num_classes, "in_channels": self.in_channels, **backbone_options}
        self.image = build_backbone(backbone, **options)
        self.difference = build_backbone(backbone, **options)
        self.taps = _checked_taps(taps, self.image)
        self.combine = nn.ModuleDict(
            {name: build_combination(combination, channels) for name, channels in self._tapped_channels().items()}
        )

    @classmethod
    def check_options(cls, options: Mapping[str, object]) -> None:
        """Raise ValueError for taps that the backbone does not have."""
        if options.get("taps") is not None:
            with torch.device("meta"):
                _checked_taps(options["taps"], build_backbone(options["backbone"]))

    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the scores of the subnetworks, `image` and `difference`, (N, num_classes) each.

        Their mean is the video's score (section 3.2).
        """
        features = self._image_features(clip)
        x, size = _merge(_differences(features[INPUT]))
        for name, layer in self.difference.layers():
            x = layer(x)
            if name in self.combine:
                x = self.combine[name](x, _merge(_differences(features[name]))[0])
        last, num_snippets = _merge(features[self._last_layer])
        return {
            "image": self.image.head(last).unflatten(0, num_snippets).mean(1),
            "difference": self.difference.head(x).unflatten(0, size).mean(1),
        }

    def place_heads(self) -> dict[str, tuple[Backbone, Callable[[Tensor], Tensor]]]:
        """Return each subnetwork and its head (figure 3 of the paper)."""
        return {"image": (self.image, self.image.head), "difference": (self.difference, self.difference.head)}

    def parts_for(self, state: StateDict) -> list[tuple[nn.Module, StateDict]]:
        """Return the (part, its weights) pairs that a file's weights go into; a TSN's go into the image subnetwork."""
        if all(name.startswith("backbone.") for name in state):
            own = {name.removeprefix("backbone."): value for name, value in state.items()}
            return [(self.image, self.image.fit_weights(own))]
        return super().parts_for(state)

    @property
    def _last_layer(self) -> str:
        return self.image.layers()[-1][0]

    def _image_features(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the snippets (N, S, K * C, H, W) as `input`, and the image subnetwork's maps by layer."""
        snippets = stack_snippets(clip, self.in_channels)
        if snippets.shape[1] < 2:
            raise ValueError(f"clip has {snippets.shape[1]} snippet; differences need at least 2")
        maps = self.image.forward_features(snippets.flatten(0, 1))
        return {INPUT: snippets} | {name: x.unflatten(0, snippets.shape[:2]) for name, x in maps.items()}

    def _tapped_channels(self) -> dict[str, int]:
        """Return the channels of each tapped layer, measured on a small blank image without touching any statistics."""
        training = self.image.training
        with torch.no_grad():
            maps = self.image.eval().forward_features(torch.zeros(1, self.in_channels, 64, 64))
        self.image.train(training)
        return {name: maps[name].shape[1] for name in self.taps if name != INPUT}


class Sum(nn.Module):
    """Bottom-up activations plus difference, element by element."""

    def forward(self, x: Tensor, difference: Tensor) -> Tensor:
        """Return the sum of two maps (N, C, H, W)."""
        return x + difference


class ConvolvedSum(nn.Module):
    """The difference passes a 1x1 convolution without bias first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = Convolution2d(channels, channels, 1, bias=False)
        nn.init.dirac_(self.convolution.weight)

    def forward(self, x: Tensor, difference: Tensor) -> Tensor:
        """Return the activations (N, C, H, W) plus the convolved difference."""
        return x + self.convolution(difference)


class GatedSum(nn.Module):
    """Weights g and 2 - g for the two, computed from both at each place and channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = Convolution2d(2 * channels, channels, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, x: Tensor, difference: Tensor) -> Tensor:
        """Return g * x + (2 - g) * difference for maps (N, C, H, W)."""
        gate = 2 * torch.sigmoid(self.gate(torch.cat([x, difference], 1)))
        return gate * x + (2 - gate) * difference


def build_combination(name: str, channels: int) -> nn.Module:
    """Return the module that joins activations and difference; raise ValueError for an unknown name."""
    combinations = {"sum": lambda _: Sum(), "conv1x1": ConvolvedSum, "gated": GatedSum}
    if name not in combinations:
        raise ValueError(f"combination is {name!r}; known combinations: {', '.join(combinations)}")
    return combinations[name](channels)


def _checked_taps(taps: Sequence[str] | None, backbone: nn.Module) -> tuple[str, ...]:
    layers = [name for name, _ in backbone.layers()]
    taps = (INPUT, *backbone.taps) if taps is None else tuple(taps)
    unknown = [name for name in taps if name != INPUT and name not in layers]
    if unknown or taps[:1] != (INPUT,):
        raise ValueError(f"taps is {taps!r}; it must start with 'input', then any of: {', '.join(layers)}")
    return taps


def _differences(features: Tensor) -> Tensor:
    """Return each snippet less the one before it: (N, S, ...) -> (N, S - 1, ...)."""
    return features[:, 1:] - features[:, :-1]


def _merge(maps: Tensor) -> tuple[Tensor, torch.Size]:
    """Return (N, S, c, h, w) as images (N * S, c, h, w), and (N, S) to part them again."""
    return maps.flatten(0, 1), maps.shape[:2]
