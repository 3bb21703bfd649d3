"""ActionFlowNet: Ng, Choi, Neumann & Davis, WACV 2018; Ng's dissertation, chapter 4.

One network learns to recognise actions and to estimate optical flow from raw frames:

    frames --> encoder --> mean over space and time --> dropout --> scores
                 |  skips from each stage
                 `-----> decoder --> flow at a quarter of the resolution

`ActionFlowNet` (figure 4.1) takes 16 consecutive frames through a 3D-ResNet-18 and gives 16 flow fields, the last one
towards a frame that it has not seen. `ActionFlowNet2F` (figure 4.3) takes two frames, stacked as six channels, through
a ResNet-18 and gives the flow between them at four scales; without its classifier it is the section's `FlowNet`.
`Stacked` (figure 4.2) classifies what a fixed FlowNet gives with a second ResNet-18 that lacks conv1 and pool1.

Flow is in pixels of the frame per step, component 0 to the right and 1 down. Training goes in two steps: `flow_losses`
first, then `joint_losses` (section 4.3.2). Scores never pass the decoder: `remove_decoder` leaves them as they are.

Departures and gaps filled: the decoder's widths (those of its skips), its slope of 0.1 and the flow handed from scale
to scale follow FlowNet-S (Dosovitskiy et al., ICCV 2015), as does alpha of equation 4.3, the weights 0.005 to 0.08 of
that network's four finest outputs. In three dimensions, where only the finest scale has a loss, no coarser flow is
made. Lambda is not given: the defaults make the flow loss of one pixel's error about a half. True flow is brought to a
scale by averaging; where it is not finite it does not count. A video's scores are the mean of its snippets'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.backbones import build_backbone
from tdn_data.models.backbones.base import Backbone, SelfFitting, StateDict
from tdn_data.models.backbones.convolution import Convolution2d
from tdn_data.models.backbones.resnet import ResNet
from tdn_data.models.backbones.resnet3d import extend_to_time
from tdn_data.models.networks.base import Criterion, Losses, VideoNetwork, check_count, count_channels
from tdn_data.models.networks.single_frames import remove_classifier

SCALE_WEIGHTS = (0.08, 0.02, 0.01, 0.005)  # alpha, from the coarsest scale to the finest
ENCODER_STAGES = ("res2", "res3", "res4", "res5")
FIXED_FLOW = True  # whether a `Stacked` keeps its flow network as it is while it learns classes


class FlowDecoder(nn.Module):
    """From the encoder's four stages up to a quarter of the resolution; for maps with or without time.

    With `every_scale` flow is predicted at each stage's resolution and handed on to the next, otherwise once, at the
    end. A halved time is doubled again.
    """

    def __init__(self, channels: Sequence[int], *, over_time: bool, every_scale: bool) -> None:
        super().__init__()
        finer, num_inputs = channels[-2::-1], channels[-1]
        widths = [num_inputs]
        self.raise_features = nn.ModuleList()
        for width in finer:
            self.raise_features.append(_build_deconvolution(num_inputs, width, over_time=over_time))
            num_inputs = 2 * width + 2 * every_scale
            widths.append(num_inputs)
        predicted = widths if every_scale else widths[-1:]
        self.predict = nn.ModuleList(_build_prediction(width, over_time=over_time) for width in predicted)
        self.raise_flow = nn.ModuleList(
            _build_deconvolution(2, 2, over_time=over_time) for _ in (finer if every_scale else ())
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return flow (N, 2, ...) from the coarsest scale to the finest, for the maps of res2 to res5."""
        x, flows = maps[-1], []
        for level, skip in enumerate(maps[-2::-1]):
            joined = [skip, _fit(F.leaky_relu(self.raise_features[level](x), 0.1), skip)]
            if self.raise_flow:
                flows.append(self.predict[level](x))
                joined.append(_fit(self.raise_flow[level](flows[-1]), skip))
            x = torch.cat(joined, 1)
        return [*flows, self.predict[-1](x)]


class FlowNet(SelfFitting):
    """Snippets of `snippet_length` frames (M, K, C, H, W) to flow: ResNet encoder and decoder (sections 4.3.1, 4.3.3).

    `over_time=False` stacks the frames as channels and gives one flow field at four scales; `over_time=True` is the
    3D network, which gives a field per frame at the finest.
    """

    def __init__(
        self,
        *,
        backbone: str = "resnet18",
        snippet_length: int = 2,
        over_time: bool = False,
        decoder: bool = True,
        **backbone_options: object,
    ) -> None:
        super().__init__()
        self.over_time = over_time
        self.snippet_length = check_count("snippet_length", snippet_length)
        in_channels = count_channels("rgb", 1 if over_time else snippet_length)
        self.encoder = _build_encoder(backbone, in_channels=in_channels, **backbone_options)
        if over_time:
            extend_to_time(self.encoder)
        self.decoder = None
        if decoder:
            self.decoder = FlowDecoder(_stage_channels(self.encoder), over_time=over_time, every_scale=not over_time)

    @property
    def num_fields(self) -> int:
        """Flow fields per snippet: one for each frame over time, else one."""
        return self.snippet_length if self.over_time else 1

    def fit_state(self, state: StateDict, prefix: str) -> None:
        """Take the decoder's weights out of a file's `state` when the network has none."""
        if self.decoder is None:
            for name in [name for name in state if name.startswith(f"{prefix}decoder.")]:
                del state[name]

    def _precision(self) -> AbstractContextManager:
        """Keep 3D convolutions out of autocast on CPUs: in bfloat16 their weights' gradients are wrong there.

        torch 2.13 on a CPU reads memory that it has not written when the map is small, e.g. 512 x 2 x 7 x 7.
        """
        return torch.autocast("cpu", enabled=False) if self.over_time else nullcontext()

    def encode(self, snippets: Tensor) -> dict[str, Tensor]:
        """Return the encoder's maps by layer: (M, c, h, w), or (M, c, t, h, w) over time."""
        x = snippets.transpose(1, 2) if self.over_time else snippets.flatten(1, 2)
        with self._precision():
            return self.encoder.forward_features(x)

    def decode(self, maps: dict[str, Tensor]) -> list[Tensor]:
        """Return flow (M, fields, 2, h, w) from the coarsest scale to the finest; raise ValueError without decoder."""
        if self.decoder is None:
            raise ValueError("decoder is None; it was removed, and without it the network gives scores but no flow")
        with self._precision():
            flows = self.decoder([maps[name] for name in ENCODER_STAGES])
        return [flow.transpose(1, 2) if self.over_time else flow[:, None] for flow in flows]


class FlowRecognizer(VideoNetwork):
    """What the three networks have in common: clip (N, S, K, C, H, W) to scores (N, num_classes) and flow.

    `flow_weight` is lambda of equations 4.2 and 4.4, `dropout` acts before the classifier (section 4.4.2).
    `backbone_options` go to the ResNets, e.g. `width=16`.
    """

    learns_flow = gives_flow = True
    training_options = ("flow_weight",)
    scale_weights: tuple[float, ...] = SCALE_WEIGHTS

    def __init__(
        self,
        *,
        num_classes: int,
        snippet_length: int,
        flow_weight: float,
        backbone: str = "resnet18",
        num_segments: int = 1,
        modality: str = "rgb",
        dropout: float = 0.5,
        over_time: bool = False,
        decoder: bool = True,
        **backbone_options: object,
    ) -> None:
        if modality != "rgb":
            raise ValueError(f"modality is {modality!r}; {type(self).__name__} learns flow from frames and takes 'rgb'")
        super().__init__(num_segments=num_segments, modality=modality, snippet_length=snippet_length)
        self.flow_weight, self.gives_flow = flow_weight, decoder
        options = {"snippet_length": snippet_length, "over_time": over_time, "decoder": decoder}
        self.flownet = FlowNet(backbone=backbone, **options, **backbone_options)
        self.dropout = nn.Dropout(dropout)
        num_features = self._add_recognizer(backbone, **backbone_options)
        self.classifier = _build_classifier(num_features, num_classes)

    def _add_recognizer(self, backbone: str, **backbone_options: object) -> int:
        """Add what the classifier reads, if the flow network's encoder is not it; return how many numbers it gives."""
        return self.flownet.encoder.num_features

    @property
    def num_fields(self) -> int:
        """Flow fields per snippet."""
        return self.flownet.num_fields

    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the scores by stream; there is one, `image`, the mean of the snippets'."""
        scores = self._score(self._encode(self._snippets(clip)))
        return {"image": self._video_scores(scores, clip)}

    def flow(self, clip: Tensor) -> Tensor:
        """Return the finest flow, (N, S, fields, 2, H / 4, W / 4), in pixels of the frame per step."""
        return self.flow_scales(clip)[-1]

    def flow_scales(self, clip: Tensor) -> list[Tensor]:
        """Return the flow at every scale that has a loss, from the coarsest: (N, S, fields, 2, h, w) each."""
        flows = self._decode(self._encode(self._snippets(clip)))
        return [flow.unflatten(0, clip.shape[:2]) for flow in flows]

    def forward_both(self, clip: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the scores, as `forward`, and the flow, as `flow_scales`, in one pass."""
        maps = self._encode(self._snippets(clip))
        flows = [estimate.unflatten(0, clip.shape[:2]) for estimate in self._decode(maps)]
        return self._video_scores(self._score(maps), clip), flows

    def flow_losses(self, clips: Tensor, flow: Tensor) -> Losses:
        """Return the flow loss alone (equation 4.1 or 4.3) for true flow (N, S, fields, 2, H, W)."""
        loss = self.scale_loss(self.flow_scales(clips), flow)
        return Losses(loss, flow=loss.detach())

    def joint_losses(
        self, clips: Tensor, targets: Tensor, flow: Tensor, *, criterion: Criterion = F.cross_entropy
    ) -> Losses:
        """Return the classification loss plus `flow_weight` times the flow loss (equation 4.2 or 4.4)."""
        scores, flows = self.forward_both(clips)
        classes, of_flow = criterion(scores, targets), self.scale_loss(flows, flow)
        return Losses(classes + self.flow_weight * of_flow, scores.detach(), classes.detach(), of_flow.detach())

    def scale_loss(self, flows: list[Tensor], truth: Tensor) -> Tensor:
        """Return equation 4.1 or 4.3, the mean over videos, for what `flow_scales` gave and the true flow."""
        if truth.shape[:4] != flows[-1].shape[:4]:
            expected = ", ".join(map(str, flows[-1].shape[:4]))
            raise ValueError(f"flow has shape {tuple(truth.shape)}; expected ({expected}, H, W)")
        pairs = zip(self.scale_weights, flows, strict=True)
        return sum(weight * summed_end_point_error(flow, truth) for weight, flow in pairs) / len(truth)

    def place_heads(self) -> dict[str, tuple[Backbone, Callable[[Tensor], Tensor]]]:
        """Return the one stream's encoder and what scores its map."""
        backbone = self.recognized
        return {"image": (backbone, lambda x: self.classifier(self.dropout(backbone.head(x))))}

    @property
    def recognized(self) -> Backbone:
        """The backbone whose last map the classifier reads the mean of."""
        return self.flownet.encoder

    def _snippets(self, clip: Tensor) -> Tensor:
        """Return the clip as snippets (N * S, K, C, H, W); raise ValueError when K or C is not right."""
        if clip.ndim != 6 or clip.shape[2:4] != (self.snippet_length, 3) or clip.shape[1] < 1:
            raise ValueError(
                f"clip has shape {tuple(clip.shape)}; expected (N, S, {self.snippet_length}, 3, H, W), S at least 1"
            )
        return clip.flatten(0, 1)

    @staticmethod
    def _video_scores(scores: Tensor, clip: Tensor) -> Tensor:
        return scores.unflatten(0, clip.shape[:2]).mean(1)


class _Multitask(FlowRecognizer):
    """Classifier and decoder on one encoder; with `decoder=False` scores only, and a file's decoder is passed over."""

    def remove_decoder(self) -> Self:
        """Drop the decoder's weights, which scores do not need (section 4.3.2, inference); return the network."""
        self.flownet.decoder, self.gives_flow = None, False
        return self

    def _encode(self, snippets: Tensor) -> dict[str, Tensor]:
        return self.flownet.encode(snippets)

    def _decode(self, maps: dict[str, Tensor]) -> list[Tensor]:
        return self.flownet.decode(maps)

    def _score(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classifier(self.dropout(self.flownet.encoder.head(maps[ENCODER_STAGES[-1]])))


class ActionFlowNet(_Multitask):
    """16 frames (N, S, 16, 3, H, W) to scores and 16 flow fields; sections 4.3.1 and 4.3.2."""

    memory_format = torch.channels_last_3d
    scale_weights = (1.0,)  # equation 4.1: the finest scale only

    def __init__(
        self, *, num_classes: int, snippet_length: int = 16, flow_weight: float = 1e-5, **options: object
    ) -> None:
        own = {"snippet_length": snippet_length, "flow_weight": flow_weight, "over_time": True}
        super().__init__(num_classes=num_classes, **own, **options)


class ActionFlowNet2F(_Multitask):
    """Two frames (N, S, 2, 3, H, W) to scores and the flow between them at four scales; section 4.3.3.2."""

    def __init__(
        self, *, num_classes: int, snippet_length: int = 2, flow_weight: float = 0.02, **options: object
    ) -> None:
        _check_two_frames(snippet_length)
        super().__init__(num_classes=num_classes, snippet_length=2, flow_weight=flow_weight, **options)


class Stacked(FlowRecognizer):
    """Two frames (N, S, 2, 3, H, W) to scores by way of their flow; section 4.3.3.1.

    With `fixed_flow`, as in the dissertation, the flow network is not trained, its batch statistics included, but in a
    phase of its own (`set_flow_phase`); or load it from a trained one by
    `stacked.flownet.load_state_dict(trained.flownet.state_dict())`.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        snippet_length: int = 2,
        flow_weight: float = 0.02,
        fixed_flow: bool = FIXED_FLOW,
        **options: object,
    ) -> None:
        _check_two_frames(snippet_length)
        super().__init__(num_classes=num_classes, snippet_length=2, flow_weight=flow_weight, **options)
        self.fixed_flow = fixed_flow
        self.set_flow_phase(False)

    @classmethod
    def check_training(cls, options: Mapping[str, object], *, flow_weight: float) -> None:
        """Raise ValueError for a flow loss beside that of the classes while the flow network is fixed."""
        if flow_weight and options.get("fixed_flow", FIXED_FLOW):
            raise ValueError(
                f"flow_weight is {flow_weight!r}; stacked keeps its flow network fixed while it learns classes: "
                "set flow_weight to 0, or fixed_flow to false in backbone_options"
            )

    def _add_recognizer(self, backbone: str, **backbone_options: object) -> int:
        self.recognizer = _build_encoder(backbone, in_channels=2, **backbone_options)
        _remove_stem(self.recognizer)
        return self.recognizer.num_features

    @property
    def recognized(self) -> Backbone:
        """The backbone whose last map the classifier reads the mean of."""
        return self.recognizer

    def set_flow_phase(self, flow_only: bool) -> None:
        """Let the flow network learn where the flow alone is trained, and fix it afterwards if it is to be fixed."""
        self._flow_learns = flow_only or not self.fixed_flow
        self.flownet.requires_grad_(self._flow_learns)

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a fixed flow network stays as in evaluation."""
        super().train(mode)
        self.flownet.train(mode and self._flow_learns)
        return self

    def _encode(self, snippets: Tensor) -> list[Tensor]:
        """Return the flow (N * S, 1, 2, h, w) from the coarsest scale to the finest."""
        return self.flownet.decode(self.flownet.encode(snippets))

    def _decode(self, flows: list[Tensor]) -> list[Tensor]:
        return flows

    def _score(self, flows: list[Tensor]) -> Tensor:
        return self.classifier(self.dropout(self.recognizer(flows[-1].squeeze(1))))


def summed_end_point_error(flow: Tensor, truth: Tensor) -> Tensor:
    """Return the sum over all fields and pixels of the distance between `flow` and `truth`, both (..., 2, h, w).

    A truth of another size is averaged to the flow's; its values stay pixels of the frame. Places where it is not
    finite do not count.
    """
    flow, truth = flow.flatten(0, -4).float(), truth.flatten(0, -4).float()
    if truth.shape[-2:] != flow.shape[-2:]:
        truth = F.adaptive_avg_pool2d(truth, flow.shape[-2:])
    known = truth.isfinite().all(1)  # (fields, h, w)
    error = flow - truth.nan_to_num(0, 0, 0)
    return torch.linalg.vector_norm(error, dim=1).masked_fill(~known, 0).sum()


def _check_two_frames(snippet_length: int) -> None:
    if snippet_length != 2:
        raise ValueError(f"snippet_length is {snippet_length!r}; two-frame networks take 2")


def _build_encoder(backbone: str, **options: object) -> ResNet:
    """Return a ResNet without its classifier: its `head` gives the mean of the last map."""
    encoder = build_backbone(backbone, num_classes=1, **options)
    if not isinstance(encoder, ResNet):
        raise ValueError(f"backbone is {backbone!r}; encoders are ResNets: resnet18, resnet34, resnet50, resnet101")
    remove_classifier(encoder)
    return encoder


def _stage_channels(encoder: ResNet) -> list[int]:
    """Return the channels of res2 to res5."""
    return [encoder.num_features >> drop for drop in (3, 2, 1, 0)]


def _build_classifier(num_features: int, num_classes: int) -> nn.Linear:
    classifier = nn.Linear(num_features, num_classes)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
    return classifier


def _build_deconvolution(num_inputs: int, num_outputs: int, *, over_time: bool) -> nn.Module:
    """Return a layer that doubles height and width, 4x4, and time if there is one, three frames long."""
    if not over_time:
        return nn.ConvTranspose2d(num_inputs, num_outputs, 4, 2, padding=1)
    return nn.ConvTranspose3d(num_inputs, num_outputs, (3, 4, 4), 2, padding=1, output_padding=(1, 0, 0))


def _build_prediction(num_inputs: int, *, over_time: bool) -> nn.Module:
    layer = nn.Conv3d if over_time else Convolution2d
    return layer(num_inputs, 2, 3, padding=1)


def _fit(x: Tensor, skip: Tensor) -> Tensor:
    """Cut a raised map (N, C, ...) to the size of the skip: an odd size was rounded up when it was halved."""
    for dim in range(2, x.ndim):
        x = x.narrow(dim, 0, skip.shape[dim])
    return x


def _remove_stem(network: ResNet) -> None:
    """Take conv1 and pool1 off; the first block then reads the two components of the flow."""
    for name in ("conv1", "bn1", "relu", "maxpool"):
        setattr(network, name, nn.Identity())
    first = network.layer1[0]
    width = first.bn1.num_features
    outputs = width * type(first).expansion
    shortcut = nn.Sequential(Convolution2d(2, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
    network.layer1[0] = type(first)(2, width, stride=1, downsample=shortcut)
