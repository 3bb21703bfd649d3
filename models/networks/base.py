"""What all video networks have in common: the clip, the scores, the losses, the phases, and which weights fit them.

A clip is float32 (N, S, K, C, H, W): S snippets over the video, K consecutive frames in each, C = 3 (RGB, normalised)
or 2 (flow). A network returns video scores before softmax, (N, num_classes).

Training, evaluation, the reading of weights and the benchmark ask a network through `VideoNetwork` and know none by
its name. So a new one is a file with a subclass of it, of which only `forward_streams` must be written, and a line in
`models.networks.MODELS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
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
        """Return the clips that a network was built for.

        Args:
            model: The network, which knows its S and K.
            size: The side of the square that it shall see, in pixels.

        Returns:
            S, K and the side.
        """
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
    `learns_flow` also has `flow_losses` and `joint_losses`, see `actionflownet.FlowRecognizer`.
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

    @property
    def num_fields(self) -> int:
        """Flow fields per snippet, of a network that gives flow: one to each next frame."""
        return self.snippet_length - 1

    @abstractmethod
    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Score clips by each stream alone: what a subclass writes, all else follows from it.

        Args:
            clip: float32 (N, S, K, C, H, W).

        Returns:
            stream -> video scores before softmax, (N, num_classes); a single stream is called `image`.
        """

    def forward(self, clip: Tensor) -> Tensor:
        """Score clips: the mean over the streams.

        Args:
            clip: float32 (N, S, K, C, H, W).

        Returns:
            Video scores before softmax, (N, num_classes).
        """
        scores = [*self.forward_streams(clip).values()]
        return scores[0] if len(scores) == 1 else torch.stack(scores).mean(0)

    def class_losses(self, clips: Tensor, targets: Tensor, *, criterion: Criterion = F.cross_entropy) -> Losses:
        """Return the classification loss of a batch: the streams' own, added up (Ng & Davis, section 3.4).

        Args:
            clips: float32 (N, S, K, C, H, W).
            targets: Class numbers int64 (N,), or for several labels a video 0 and 1, float32 (N, num_classes).
            criterion: The loss of one stream's scores and the targets, a mean over the batch.

        Returns:
            The loss as `total`, and the mean of the streams' scores, without gradients.
        """
        streams = self.forward_streams(clips)
        loss = torch.stack([criterion(scores, targets) for scores in streams.values()]).sum()
        return Losses(loss, torch.stack([scores.detach() for scores in streams.values()]).mean(0))

    @classmethod
    def check_options(cls, options: Mapping[str, object]) -> None:
        """Refuse options that the network cannot be built with, before any weights are made. Here any can.

        Args:
            options: Those of `build_model`, `backbone` among them.

        Raises:
            ValueError: An option, or two together, cannot be.
        """

    @classmethod
    def check_training(cls, options: Mapping[str, object], *, flow_weight: float) -> None:
        """Refuse to train on classes and flow together where the network cannot; asked only if it `learns_flow`.

        Args:
            options: Those of `build_model`.
            flow_weight: The weight of the flow's loss, 0 for classes alone.

        Raises:
            ValueError: A network built with these options does not learn both.
        """

    def place_heads(self) -> dict[str, tuple[Backbone, Callable[[Tensor], Tensor]]]:
        """Return the streams whose score is a mean over places, so that class activation maps can be drawn of them.

        Returns:
            stream -> (backbone, what scores its last map); here there is none. A map is drawn (`evaluation.explain`)
            where that head reads the mean of a map.
        """
        return {}

    @property
    def image_subnetwork(self) -> Backbone | None:
        """The part that phase one of a training leaves as it is but for its classifier, None where there is none."""
        return None if self.image_part is None else self.get_submodule(self.image_part)

    def set_flow_phase(self, flow_only: bool) -> None:
        """Make learnable what a phase of training trains. Here it is always all.

        Args:
            flow_only: Whether the phase trains the flow alone, and not the classes.
        """

    def is_added(self, normalization: nn.Module) -> bool:
        """Tell whether a normalisation is this network's addition to a backbone: no file has statistics for it yet.

        Args:
            normalization: A layer inside one of `backbones`.

        Returns:
            Whether it is none of the backbone's own. Here none is added.
        """
        return False

    def backbones(self) -> tuple[Backbone, ...]:
        """Return the backbones that the network stands on, which published weights go into.

        Returns:
            Each once, in the order in which the network holds them.
        """
        return tuple(module for module in self.modules() if isinstance(module, Backbone))

    def change_maps(self, clip: Tensor) -> dict[str, Tensor]:
        """Return pictures of what the network takes for changes from frame to frame; here there are none.

        Args:
            clip: float32 (N, S, K, C, H, W).

        Returns:
            name -> maps (N, S, K - 1, h, w), large where much changes.
        """
        return {}

    def start_from(self, files: Sequence[tuple[object, StateDict]]) -> list[StateDict]:
        """Return what each of the files that the network starts from gives it, before any is loaded. Here it is all.

        Args:
            files: (path, tensors by name) of each, in the order in which they are loaded.

        Returns:
            Tensors by name for each.

        Raises:
            InputError: The network cannot start from these together.
        """
        return [state for _, state in files]

    def parts_for(self, state: StateDict) -> list[tuple[nn.Module, StateDict]]:
        """Return what a file's weights go into: the network itself, or each of its backbones.

        Weights with names of this network go into itself. Others are taken for the published ones of its backbones
        and go into each, fitted to it (`Backbone.fit_published`).

        Args:
            state: Tensors by name, as the file has them.

        Returns:
            (part, its weights) for each part. Whether they fit in the end is up to who loads them.
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
    """Return a count as it is, if there can be so many.

    Args:
        name: What is counted, as the message calls it.
        value: The count.

    Returns:
        `value`.

    Raises:
        ValueError: It is below 1.

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
