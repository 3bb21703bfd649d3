"""What all video networks have in common: the clip, the scores, the losses, the phases, and which weights fit them.

A clip is float32 (N, S, K, C, H, W): S snippets over the video, K consecutive frames in each, C = 3 (RGB, normalised)
or 2 (flow). A network returns video scores before softmax, (N, num_classes).

Training, evaluation, the reading of weights and the benchmark ask a network through `VideoNetwork` and know none by
its name. So a new one is a file with a subclass of it, of which only `forward_streams` must be written, and a line in
`models.networks.MODELS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.backbones.base import Backbone, StateDict

NUM_CHANNELS = {"rgb": 3, "flow": 2}
Criterion = Callable[..., Tensor]  # cross_entropy, or binary_cross_entropy_with_logits for several labels


@dataclass(frozen=True)
class ClipShape:
    """How a clip is cut out of a video: segments S, consecutive frames K, and the side of the square in pixels."""

    num_segments: int
    snippet_length: int
    size: int

    @classmethod
    def of(cls, model: VideoNetwork, size: int) -> ClipShape:
        """Return the clips of `size` pixels that a network was built for."""
        return cls(model.num_segments, model.snippet_length, size)


@dataclass(frozen=True)
class Losses:
    """One batch: the loss to minimise, its parts where it has two, and the video scores (N, C) where there are any."""

    total: Tensor
    scores: Tensor | None = None
    classes: Tensor | None = None
    flow: Tensor | None = None


class VideoNetwork(nn.Module, ABC):
    """Clip (N, S, K, C, H, W) to video scores before softmax, (N, num_classes).

    `num_segments` and `snippet_length` are S and K of the clips that it was built for, `modality` says what they show,
    and `in_channels` is K * C, the channels of a snippet whose frames are stacked.

    A network of another kind says so by these: `memory_format` is how its weights and maps lie in memory best;
    `training_options` names the fields of `TrainConfig` that are options of this network alone. One that
    `learns_flow` also has `num_fields`, `flow_losses` and `joint_losses`, see `actionflownet.FlowRecognizer`.
    """

    memory_format: torch.memory_format = torch.channels_last
    training_options: tuple[str, ...] = ()
    learns_flow = False
    gives_flow = False  # whether it has `flow`: clip to (N, S, fields, 2, h, w), in pixels of the frame per step
    image_part: str | None = None  # what the image subnetwork is called, where there is one
    start_modalities: tuple[str, ...] = ()  # beside its own: whose checkpoints it may start from

    def __init__(self, *, num_segments: int, modality: str, snippet_length: int) -> None:
        super().__init__()
        self.in_channels = count_channels(modality, snippet_length)
        self.modality, self.snippet_length = modality, snippet_length
        self.num_segments = check_count("num_segments", num_segments)

    @abstractmethod
    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the video scores of each stream, (N, num_classes), by its name; a single one is called `image`."""

    def forward(self, clip: Tensor) -> Tensor:
        """Return video scores before softmax, (N, num_classes): the mean over the streams."""
        scores = [*self.forward_streams(clip).values()]
        return scores[0] if len(scores) == 1 else torch.stack(scores).mean(0)

    def class_losses(self, clips: Tensor, targets: Tensor, *, criterion: Criterion = F.cross_entropy) -> Losses:
        """Return the classification loss for clips (N, S, K, C, H, W) and targets (N,) or (N, num_classes).

        Each stream's video scores have a loss of their own, and the losses add up (Ng & Davis, section 3.4).
        """
        streams = self.forward_streams(clips)
        loss = torch.stack([criterion(scores, targets) for scores in streams.values()]).sum()
        return Losses(loss, torch.stack([scores.detach() for scores in streams.values()]).mean(0))

    @classmethod
    def check_options(cls, options: Mapping[str, object]) -> None:
        """Raise ValueError for options, `backbone` among them, that cannot be; no weights are made. Here any can."""

    @classmethod
    def check_training(cls, options: Mapping[str, object], *, flow_weight: float) -> None:
        """Raise ValueError where the network, built with `options`, cannot be trained on classes and flow together.

        `flow_weight` is the weight of the flow's loss, 0 for classes alone. It is asked only if the network
        `learns_flow`.
        """

    def place_heads(self) -> dict[str, tuple[Backbone, Callable[[Tensor], Tensor]]]:
        """Return stream -> (backbone, what scores its last map), for streams whose score is the mean of such scores.

        They have class activation maps (`evaluation.explain`) where the head reads the mean of a map. Here none has.
        """
        return {}

    @property
    def image_subnetwork(self) -> Backbone | None:
        """The part that phase one of a training leaves as it is but for its classifier, None where there is none."""
        return None if self.image_part is None else self.get_submodule(self.image_part)

    def set_flow_phase(self, flow_only: bool) -> None:
        """Make learnable what a phase of training trains: the flow alone, or classes too. Here it is always all."""

    def is_added(self, normalization: nn.Module) -> bool:
        """Tell whether a normalisation inside a backbone is not the backbone's own: none has statistics for it yet."""
        return False

    def backbones(self) -> tuple[Backbone, ...]:
        """Return the backbones that the network stands on, in order."""
        return tuple(module for module in self.modules() if isinstance(module, Backbone))

    def change_maps(self, clip: Tensor) -> dict[str, Tensor]:
        """Return maps of what changes from frame to frame, by name, (N, S, K - 1, h, w); here there are none."""
        return {}

    def parts_for(self, state: StateDict) -> list[tuple[nn.Module, StateDict]]:
        """Return the (part, its weights) pairs that a file's weights go into.

        Weights with names of this network go into itself. Others are taken for the published ones of its backbones
        and go into each, fitted to it (`Backbone.fit_published`); whether they fit in the end is up to who loads them.
        """
        backbones = self.backbones()
        if not backbones or not self.state_dict().keys().isdisjoint(state):
            return [(self, state)]
        return [(backbone, backbone.fit_published(state)) for backbone in backbones]


def count_channels(modality: str, snippet_length: int) -> int:
    """Return the channels of a stacked snippet.

    Args:
        modality: "rgb" or "flow".
        snippet_length: K, its frames or flow fields.

    Returns:
        K * C.

    Raises:
        ValueError: The modality is unknown, or K is below 1.

    >>> count_channels("flow", 5)
    10
    """
    if modality not in NUM_CHANNELS:
        raise ValueError(f"modality is {modality!r}; known modalities: {', '.join(NUM_CHANNELS)}")
    return NUM_CHANNELS[modality] * check_count("snippet_length", snippet_length)


def check_count(name: str, value: int) -> int:
    """Return `value`; raise ValueError when it is not at least 1.

    >>> check_count("num_segments", 3)
    3
    """
    if value < 1:
        raise ValueError(f"{name} is {value!r}; it must be at least 1")
    return value


def stack_snippets(clip: Tensor, in_channels: int) -> Tensor:
    """Return the snippets of clips with their frames' channels behind each other.

    Args:
        clip: (N, S, K, C, H, W).
        in_channels: K * C that is expected.

    Returns:
        (N, S, K * C, H, W), a view where it can be one.

    Raises:
        ValueError: The clip has another shape.

    >>> import torch
    >>> stack_snippets(torch.zeros(2, 3, 5, 2, 8, 8), 10).shape
    torch.Size([2, 3, 10, 8, 8])
    """
    if clip.ndim != 6 or clip.shape[2] * clip.shape[3] != in_channels:
        raise ValueError(
            f"clip has shape {tuple(clip.shape)}; expected (N, S, K, C, H, W) with K * C = {in_channels} channels"
        )
    return clip.flatten(2, 3)
