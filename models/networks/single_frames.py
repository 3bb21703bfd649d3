"""What networks over many single frames have in common: one backbone, run over all frames, a few at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tdn_data.models.backbones import build_backbone
from tdn_data.models.backbones.base import Backbone, StateDict, convert_first_layer, fitted_state
from tdn_data.models.networks.base import VideoNetwork, check_count, stack_snippets


class FrameNetwork(VideoNetwork):
    """Clip (N, S, K, C, H, W), one snippet per frame, to scores (N, num_classes); any number S >= 1 of frames passes.

    `num_segments` is the number of frames the network is meant for. Outside of training the backbone takes
    `frames_at_once` frames at a time: 120 frames need no more memory than that for its maps. `backbone_options` go to
    the backbone, e.g. `width=16`.

    It starts from the weights of its own kind for any number of frames, from a TSN's on single frames, which go into
    the backbone, and on flow from those on frames (dissertation, sections 3.3.3 and 3.3.4).
    """

    start_modalities = ("rgb",)

    def __init__(
        self,
        backbone: str,
        *,
        num_segments: int = 30,
        modality: str = "rgb",
        snippet_length: int = 1,
        frames_at_once: int = 16,
        **backbone_options: object,
    ) -> None:
        super().__init__(num_segments=num_segments, modality=modality, snippet_length=snippet_length)
        self.frames_at_once = check_count("frames_at_once", frames_at_once)
        self.backbone = build_backbone(backbone, in_channels=self.in_channels, **backbone_options)

    def parts_for(self, state: StateDict) -> list[tuple[nn.Module, StateDict]]:
        """Return the (part, its weights) pairs that a file's weights go into."""
        state = fitted_state(self, state)
        first = f"backbone.{self.backbone.first_layer}"
        if first in state:
            state[first] = first_channels(state[first], self.in_channels)
        if all(name.startswith("backbone.") for name in state):
            own = {name.removeprefix("backbone."): value for name, value in state.items()}
            return [(self.backbone, self.backbone.fit_weights(own))]
        return super().parts_for(state)

    def over_frames(self, network: Callable[[Tensor], Tensor], clip: Tensor) -> Tensor:
        """Return network(image) for each frame, (N, S, ...); images are (M, K * C, H, W)."""
        snippets = stack_snippets(clip, self.in_channels)
        check_count("S, the number of frames of the clip,", snippets.shape[1])
        images = snippets.flatten(0, 1)
        outputs = run_in_chunks(network, images, at_once=len(images) if self.training else self.frames_at_once)
        return outputs.unflatten(0, snippets.shape[:2])


def first_channels(weight: Tensor, in_channels: int) -> Tensor:
    """Return a first convolution's weight (O, C, ...) for the first `in_channels` of its inputs.

    Flow, x and y, has the places of red and green: the dissertation leaves a third channel of zeros beside them
    (section 3.3.4), which adds nothing. For more channels than C see `convert_first_layer`.
    """
    return weight[:, :in_channels] if in_channels < weight.shape[1] else convert_first_layer(weight, in_channels)


def run_in_chunks(network: Callable[[Tensor], Tensor], images: Tensor, *, at_once: int) -> Tensor:
    """Return network(images), computed for at most `at_once` images at a time; images and result have batch first."""
    if len(images) <= at_once:
        return network(images)
    return torch.cat([network(chunk) for chunk in images.split(at_once)])


def remove_classifier(backbone: Backbone) -> int:
    """Take the softmax layer off, so that the backbone returns the vectors that it read; return their length."""
    for name in ("fc", "last_linear"):
        if hasattr(backbone, name):
            num_features = getattr(backbone, name).in_features
            setattr(backbone, name, nn.Identity())
            return num_features
    num_features = backbone.classifier[-1].in_features
    backbone.classifier[-1] = nn.Identity()
    return num_features
