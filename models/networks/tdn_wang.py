"""TDN of Wang et al.: "TDN: Temporal Difference Networks for Efficient Action Recognition", CVPR 2021.

    5 frames a segment
      | the middle one --------> conv1 --(+)--> res2 --(+)--> res3 --> res4 --> res5 --> scores --> mean over segments
      |                                   ^             ^      L-TDM and temporal
      '- 4 differences, halved -> conv1 --'---> res2 ---'      convolution in each block

Section 3.2 (S-TDM, equation 3), 3.3 (L-TDM), 3.4 (where they stand), tables 1a to 1c and 5 (what the options switch).
The modules and their departures are in `tdn_wang_modules`. Departures here:
- Frames are averaged to half their size before they are subtracted: the same numbers at a quarter of the work.
- The sum of equation 1 is weighted: 1/2 and 1/2 up to 8 segments, 3/4 and 1/4 above, as in the authors' code.
- The authors' convolutions carry biases that the normalisation after them undoes, and a `conv1_temp` that nothing
  uses. `from_mcg_nju` folds the first into running means and drops the second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from tdn_data.models.backbones import build_backbone
from tdn_data.models.backbones.base import Backbone, StateDict
from tdn_data.models.backbones.resnet import ResNet
from tdn_data.models.networks.base import NUM_CHANNELS, VideoNetwork
from tdn_data.models.networks.tdn_wang_modules import (
    LongTermDifference,
    MotionConvolution,
    ShortTermFusion,
    TemporalConvolution,
)

STAGES = ("conv1", "res2", "res3", "res4", "res5")


class TDNWang(VideoNetwork):
    """Clip (N, S, K, C, H, W), S = `num_segments`, K = `snippet_length` frames, to scores (N, num_classes).

    `short_term`, `long_term` and `temporal` name the stages that carry S-TDM, L-TDM and the temporal convolution.
    `short_term_fusion` (table 1a) is explained at `ShortTermFusion`; `long_term_fusion`, `num_scales` and
    `bidirectional` (table 1b) at `LongTermDifference`. `motion_weight` is the share of H in equation 1, by default 1/2
    up to 8 segments and 1/4 above. `equations` names those of 1, 4 and 5 that are computed as the text has them, not as
    the authors' code does, e.g. (1, 4, 5). `backbone` is a ResNet; `backbone_options` go to it, e.g. `dropout=0.5`.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: str = "resnet50",
        num_segments: int = 8,
        modality: str = "rgb",
        snippet_length: int = 5,
        short_term: Sequence[str] = ("conv1", "res2"),
        long_term: Sequence[str] = ("res3", "res4", "res5"),
        temporal: Sequence[str] = ("res3", "res4", "res5"),
        short_term_fusion: str = "add",
        motion_weight: float | None = None,
        long_term_fusion: str = "attention",
        num_scales: int = 3,
        bidirectional: bool = True,
        equations: Sequence[int] = (),
        **backbone_options: object,
    ) -> None:
        _check_counts(num_segments, snippet_length)
        _check_equations(equations, motion_weight)
        super().__init__(num_segments=num_segments, modality=modality, snippet_length=snippet_length)
        self.num_channels = NUM_CHANNELS[modality]
        self.short_term_stages = _checked_stages("short_term", short_term, STAGES)
        self.backbone = _build_resnet(backbone, self.num_channels, num_classes=num_classes, **backbone_options)
        self._add_long_term(
            _checked_stages("long_term", long_term, STAGES[1:]),
            _checked_stages("temporal", temporal, STAGES[1:]),
            {
                "fusion": long_term_fusion,
                "num_scales": num_scales,
                "bidirectional": bidirectional,
                "equations": tuple(equations),
            },
        )
        self.short_term, self.fusion = None, nn.ModuleDict()
        if self.short_term_stages:
            num_differences = (snippet_length - 1) * self.num_channels
            network = _build_resnet(backbone, num_differences, num_classes=1, **backbone_options)
            self.short_term = _cut(network, self.short_term_stages[-1])
            share = (0.5 if num_segments <= 8 else 0.25) if motion_weight is None else motion_weight
            share = None if 1 in equations else share
            for stage in self.short_term_stages:
                channels = _num_outputs(self.backbone, stage)
                self.fusion[stage] = ShortTermFusion(channels, fusion=short_term_fusion, motion_weight=share)

    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the scores by stream; this network has one, `image`, the mean over the segments."""
        self._check(clip)
        motion = self.short_term_features(clip)
        x = clip[:, :, self.snippet_length // 2].flatten(0, 1).contiguous(memory_format=torch.channels_last)
        for name, layer in self.backbone.layers():
            x = layer(x)
            if name in motion:
                x = self.fusion[name](x, motion[name])
        scores = self.backbone.head(x)  # (N * S, num_classes)
        return {"image": scores.unflatten(0, (-1, self.num_segments)).mean(1)}

    def place_heads(self) -> dict[str, tuple[Backbone, Callable[[Tensor], Tensor]]]:
        """Return the one stream's backbone and head."""
        return {"image": (self.backbone, self.backbone.head)}

    def short_term_features(self, clip: Tensor) -> dict[str, Tensor]:
        """Return H(X) of equation 3 before it is enlarged, by the stage that it is fused after: (N * S, c, h, w)."""
        if self.short_term is None:
            return {}
        differences = halved_differences(clip.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        features = self.short_term.forward_features(differences, until=self.short_term_stages[-1])
        return {stage: features[stage] for stage in self.short_term_stages}

    def parts_for(self, state: StateDict) -> list[tuple[nn.Module, StateDict]]:
        """Return the (part, its weights) pairs that a file's weights go into: its own, the authors', or images'.

        The authors' files: see `from_mcg_nju`. A ResNet's ImageNet weights go into the backbone and into S-TDM's
        network; L-TDM and the temporal convolutions stay as they are. First layers for other channels are averaged and
        repeated, a classifier of other classes stays as it is.
        """
        if is_mcg_nju(state):
            return [(self, self._fit_networks(from_mcg_nju(state)))]
        if "layer1.0.conv1.weight" in state:
            return [(self, self._fit_networks(self._around_images(state)))]
        return super().parts_for(state)

    def _around_images(self, images: StateDict) -> StateDict:
        """Return a ResNet's weights at their places in both networks, with this network's own at those it lacks."""
        own = self.state_dict()
        short_term = {f"short_term.{name}": value for name, value in images.items() if f"short_term.{name}" in own}
        motion = {name: value for name, value in own.items() if _is_motion(name)}
        return motion | {f"backbone.{name}": value for name, value in images.items()} | short_term

    def _fit_networks(self, state: StateDict) -> StateDict:
        """Return weights of this form with those of the two networks fitted to them, see `Backbone.fit_weights`."""
        fitted = dict(state)
        for part, network in (("backbone.", self.backbone), ("short_term.", self.short_term)):
            if network is not None:
                given = {name: fitted.pop(name) for name in state if name.startswith(part)}
                given = network.fit_weights({name.removeprefix(part): value for name, value in given.items()})
                fitted |= {f"{part}{name}": value for name, value in given.items()}
        return fitted

    def is_added(self, normalization: nn.Module) -> bool:
        """Tell whether a normalisation belongs to L-TDM, which stands inside the backbone's blocks."""
        return any(_is_motion(f"{name}.") for name, part in self.named_modules() if part is normalization)

    def _add_long_term(self, long_term: tuple[str, ...], temporal: tuple[str, ...], options: dict[str, object]) -> None:
        """Put L-TDM and the temporal convolution before the second convolution of each block of the stages named."""
        count = {"num_segments": self.num_segments}
        for stage, block in _blocks(self.backbone):
            channels = block.conv2.in_channels
            block.conv2 = MotionConvolution(
                block.conv2,
                long_term=LongTermDifference(channels, **count, **options) if stage in long_term else None,
                temporal=TemporalConvolution(channels, **count) if stage in temporal else None,
            )

    def _check(self, clip: Tensor) -> None:
        expected = (self.num_segments, self.snippet_length, self.num_channels)
        if clip.ndim != 6 or clip.shape[1:4] != expected:
            raise ValueError(
                f"clip has shape {tuple(clip.shape)}; expected (N, {', '.join(map(str, expected))}, H, W): "
                "segments, frames, channels"
            )


def _check_equations(equations: Sequence[int], motion_weight: float | None) -> None:
    if not set(equations) <= {1, 4, 5}:
        raise ValueError(f"equations is {equations!r}; it may name 1, 4 and 5")
    if 1 in equations and motion_weight is not None:
        raise ValueError(f"equations names 1, a sum without weights, and motion_weight is {motion_weight!r}")


def halved_differences(snippets: Tensor) -> Tensor:
    """Return each frame less the one before it, averaged over 2x2 pixels: (N, K, C, H, W) -> (N, (K - 1) * C, h, w).

    An odd row or column at the end is left out. Rows are averaged first, then columns: whole rows go through vector
    units, which pooling does not use on this layout.
    """
    height, width = (length // 2 * 2 for length in snippets.shape[-2:])
    rows = torch.lerp(snippets[..., 0:height:2, :width], snippets[..., 1:height:2, :width], 0.5)
    means = torch.lerp(rows[..., 0::2], rows[..., 1::2], 0.5)
    return (means[:, 1:] - means[:, :-1]).flatten(1, 2)


# the authors' names and ours, replaced one after the other
MCG_NJU_NAMES = (
    (r"^(module\.)?(base_model\.)?", ""),
    (r"^(new_fc|fc|conv1|bn1)\.", r"backbone.\1."),
    (r"^backbone\.new_fc\.", "backbone.fc."),
    (r"^layer(\d)_bak\.", r"backbone.layer\1."),
    (r"^resnext_layer(\d)\.", r"short_term.layer\1."),
    (r"^conv1_5\.0\.", "short_term.conv1."),
    (r"^conv1_5\.1\.", "short_term.bn1."),
    (r"\.shift\.conv\.", ".conv2.temporal."),
    (r"\.mse\.", ".conv2.long_term."),
    (r"(long_term)\.(conv|bn)1\.", r"\1.reduce.\2."),
    (r"(long_term)\.conv2\.", r"\1.align."),
    (r"(long_term)\.(conv|bn)3\.", r"\1.expand.\2."),
    (r"(long_term)\.(conv|bn)3_smallscale4\.", r"\1.full_scale.\2."),
    (r"(long_term)\.(conv|bn)3_smallscale2\.", r"\1.half_scale.\2."),
    (r"(long_term\.\w+)\.conv\.", r"\1.convolution."),
    (r"(long_term\.\w+)\.bn\.", r"\1.norm."),
)
CONVOLUTION_BIAS = re.compile(r"(^|.*\.)(conv(\d)|downsample\.0)\.bias$")


def is_mcg_nju(state_dict: StateDict) -> bool:
    """Tell whether a state dict has the names of the authors' files (github.com/MCG-NJU/TDN)."""
    return any("layer2_bak." in name for name in state_dict)


def from_mcg_nju(state_dict: StateDict) -> StateDict:
    """Return the authors' weights under this module's names, with or without `module.` in front; the rest as it is.

    norm(convolution(x) + bias) with running mean m is norm(convolution(x)) with m - bias: biases move there. What the
    network does not use (`conv1_temp`) is left out.
    """
    renamed = {_our_name(name): value for name, value in state_dict.items() if "conv1_temp." not in name}
    biases = {name: match for name in renamed if (match := CONVOLUTION_BIAS.match(name))}
    out = {name: value for name, value in renamed.items() if name not in biases}
    for name, match in biases.items():
        prefix, convolution, number = match.groups()
        mean = f"{prefix}bn{number}.running_mean" if number else f"{prefix}downsample.1.running_mean"
        out[mean] = out[mean] - renamed[name]
    return out


def _is_motion(name: str) -> bool:
    """Tell whether a parameter belongs to what a ResNet does not have."""
    return name.startswith("fusion.") or ".conv2.long_term." in name or ".conv2.temporal." in name


def _our_name(name: str) -> str:
    for pattern, replacement in MCG_NJU_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _build_resnet(name: str, in_channels: int, **options: object) -> ResNet:
    network = build_backbone(name, in_channels=in_channels, **options)
    if not isinstance(network, ResNet):
        raise ValueError(
            f"backbone is {name!r}; this network stands on a ResNet: resnet18, resnet34, resnet50, resnet101"
        )
    return network


def _cut(network: ResNet, last_stage: str) -> ResNet:
    """Return the network without what follows `last_stage`."""
    for number in range(STAGES.index(last_stage) + 1, len(STAGES)):
        setattr(network, f"layer{number}", nn.Identity())
    network.fc = nn.Identity()
    return network


def _blocks(network: ResNet) -> Iterator[tuple[str, nn.Module]]:
    """Yield (stage, residual block) for every block of the network."""
    for number, stage in enumerate(STAGES[1:], start=1):
        for block in getattr(network, f"layer{number}"):
            yield stage, block


def _num_outputs(network: ResNet, stage: str) -> int:
    """Return the number of channels of a stage's map."""
    if stage == "conv1":
        return network.bn1.num_features
    convolutions = [block for name, block in _blocks(network) if name == stage][-1]
    return [module for module in convolutions.modules() if isinstance(module, nn.BatchNorm2d)][-1].num_features


def _check_counts(num_segments: int, snippet_length: int) -> None:
    if num_segments < 2:
        raise ValueError(f"num_segments is {num_segments!r}; differences between segments need at least 2")
    if snippet_length < 3 or snippet_length % 2 == 0:
        raise ValueError(
            f"snippet_length is {snippet_length!r}; a frame among its neighbours needs an odd number from 3"
        )


def _checked_stages(option: str, stages: Sequence[str], allowed: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [stage for stage in stages if stage not in allowed]:
        raise ValueError(
            f"{option} has {', '.join(map(repr, unknown))}; stages that can carry it: {', '.join(allowed)}"
        )
    return tuple(stage for stage in allowed if stage in stages)
