"""The phases of a training: with which data and loss an epoch is gone through, and what of the network learns in it.

Ng & Davis, sections 3.4 and 4.2: phase one leaves the image subnetwork as it is but for its classifier; phase two
trains everything. Dissertation, sections 4.3.2 and 4.4.3, for networks that learn flow: phase one trains the flow
alone, phase two classes with the flow, or classes alone ("fine-tune" in table 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn
from torch.utils.data import Dataset

from tdn_data.models.clips.dataset import ClipDataset
from tdn_data.models.clips.with_flow import FlowClipDataset, FlowPairDataset
from tdn_data.models.networks.base import ClipShape, Criterion, Losses, VideoNetwork
from tdn_data.models.training.batches import num_batches
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.processes import Processes
from tdn_data.pipeline.datasets.base import mirror_labels
from tdn_data.pipeline.datasets.registry import dataset_spec, read_dataset
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import ShardReader


@dataclass(frozen=True)
class Phase:
    """Epochs, counted from 0, with one data set and one loss: `classes`, `flow`, or both, `joint`."""

    kind: Literal["classes", "flow", "joint"]
    dataset: Dataset
    clips: tuple[int, ...]  # of the data set, that an epoch goes through
    epochs: range
    last_step: int | None = None  # of the whole training, at which the phase ends; None: with its last epoch
    length: int | None = None  # steps of the phase where it is counted in them

    def num_steps(self, batch_size: int) -> int:
        """Return how many steps the phase has; its last epoch may end early."""
        return self.length or len(self.epochs) * num_batches(len(self.clips), batch_size)

    def names(self, indices: Iterable[int]) -> list[str]:
        """Return the video ids of clips; image pairs have numbers."""
        names = _names(self.dataset)
        return [names[index] for index in indices]


class PhaseLosses(nn.Module):
    """The losses of a network, as a module: what processes share and torch compiles."""

    def __init__(self, model: VideoNetwork, criterion: Criterion) -> None:
        super().__init__()
        self.model, self.criterion = model, criterion

    def forward(self, kind: str, batch: list[Tensor]) -> Losses:
        """Return the losses of a phase's kind for a batch: clips, targets if there are any, flow if there is any."""
        if kind == "flow":
            return self.model.flow_losses(batch[0], batch[-1])
        if kind == "joint":
            return self.model.joint_losses(*batch, criterion=self.criterion)
        return self.model.class_losses(*batch, criterion=self.criterion)


def training_phases(
    reader: ShardReader,
    flow: ShardReader | None,
    model: VideoNetwork,
    config: TrainConfig,
    *,
    held_out: Iterable[str] = (),
) -> list[Phase]:
    """Return the phases of a training: at most one with flow alone, at most one with classes.

    Videos whose ids are `held_out` are not trained on. Raises InputError where a batch is larger than the set.
    """
    if config.needs_flow and flow is None:
        raise ValueError("flow is None; flow_share and flow_weight take a reader of the videos' flow")
    options = _clip_options(reader, model, config)
    with_flow = None
    if config.needs_flow:
        with_flow = FlowClipDataset(reader, flow, num_fields=model.num_fields, **options)
    phases, excluded = [], frozenset(held_out)
    for kind, length in config.kinds:
        dataset = ClipDataset(reader, **options) if kind == "classes" else with_flow
        if kind == "flow" and config.flow_pairs:
            dataset = _pairs(model, config)
        clips = tuple(index for index, name in enumerate(_names(dataset)) if name not in excluded)
        phases.append(_phase(phases[-1] if phases else None, kind, dataset, clips, length, config))
    return phases


def check_shares(phases: Iterable[Phase], config: TrainConfig, processes: Processes) -> None:
    """Raise InputError where a batch has fewer clips than several processes need, each for all its micro-batches."""
    needed = processes.num_parts(config.micro_batches)
    for phase in phases:
        least = len(phase.clips) // num_batches(len(phase.clips), config.batch_size)
        if processes.size > 1 and least < needed:
            raise InputError(
                f"batch_size is {config.batch_size}, of which some batches have {least} clips, and {processes.size} "
                f"processes part each into {needed} micro-batches; start fewer processes, or raise batch_size.",
                key="batch_size",
            )


def _clip_options(reader: ShardReader, model: VideoNetwork, config: TrainConfig) -> dict[str, object]:
    """Return how clips are drawn."""
    spec, cut = dataset_spec(reader.info.name), config.clip_cut()
    return {
        "split": config.split or spec.train_split,
        "shape": ClipShape.of(model, config.size),
        "augment": config.augment(),
        "seed": config.seed,
        "mirror_labels": mirror_labels(spec, reader.info.class_names),
        "repeat_to": cut.repeat_to(reader.info),
        "cut": cut,
        "normalized": False,  # but on the network's device
    }


def _phase(
    before: Phase | None, kind: str, dataset: Dataset, clips: tuple[int, ...], length: int, config: TrainConfig
) -> Phase:
    """Return a phase that follows another one, of so many epochs or iterations."""
    if config.batch_size > len(clips):
        raise InputError(
            f"batch_size is {config.batch_size}, and there are only {len(clips)} clips to train on; set it to "
            f"{len(clips)} or less.",
            key="batch_size",
        )
    start = 0 if before is None else before.epochs.stop
    if not config.iterations:
        return Phase(kind, dataset, clips, range(start, start + length))
    num_epochs = math.ceil(length / num_batches(len(clips), config.batch_size))
    last_step = length + (0 if before is None else before.last_step)
    return Phase(kind, dataset, clips, range(start, start + num_epochs), last_step, length)


def _names(dataset: Dataset) -> list[str]:
    """Return the video ids of clips; image pairs have numbers."""
    videos = getattr(dataset, "videos", None)
    return [f"pair {index}" for index in range(len(dataset))] if videos is None else [one.video_id for one in videos]


def _pairs(model: VideoNetwork, config: TrainConfig) -> FlowPairDataset:
    """Return the image pairs to train flow on; raise InputError for networks of more frames and for other data sets."""
    if dataset_spec(config.flow_pairs).kind != "flow pairs":
        raise InputError(
            f"{config.flow_pairs} holds no image pairs with known flow; flying-chairs and sintel do.", key="flow_pairs"
        )
    if (model.snippet_length, model.num_fields) != (2, 1):
        raise InputError(
            f"flow_pairs is {config.flow_pairs}; pairs serve two-frame networks, and this one takes "
            f"{model.snippet_length} frames: set flow_pairs to null.",
            key="flow_pairs",
        )
    pairs = read_dataset(config.flow_pairs, Path(config.flow_pairs_root))
    return FlowPairDataset(pairs, augment=config.augment(), seed=config.seed, normalized=False)


def set_phase(
    model: VideoNetwork,
    *,
    image_fixed: bool,
    pretrained: bool = True,
    partial_bn: bool = False,
    flow_only: bool = False,
    fixed: Collection[str] | None = None,
    free: Collection[str] = (),
    ended: Collection[str] = (),
) -> None:
    """Put `model` into training mode; with `image_fixed` its image subnetwork learns its classifier only.

    Or, where they are given, what begins with `fixed` and not with `free` does not learn then. A part that is fixed and
    `pretrained` also keeps its normalisations' statistics, as does one that has `ended`. `partial_bn` (TSN; section
    4.2) fixes those of every normalisation but each backbone's first and those that a network adds to its backbone.
    `flow_only` frees a flow network that is fixed in other phases.
    """
    if fixed is not None or ended:
        model.requires_grad_(True)
    model.set_flow_phase(flow_only)
    model.train()
    if fixed is None:
        _fix_image(model, image_fixed, pretrained)
    elif image_fixed:
        _fix_named(model, fixed, free, keep_statistics=pretrained)
    _fix_named(model, ended, (), keep_statistics=True)
    if partial_bn:
        for backbone in model.backbones():
            _fix_statistics([part for part in _normalizations(backbone) if not model.is_added(part)][1:])


def _fix_image(model: VideoNetwork, fixed: bool, pretrained: bool) -> None:
    """Let the image subnetwork, if there is one, learn, or its classifier only."""
    image = model.image_subnetwork
    if image is None:
        return
    for name, parameter in image.named_parameters():
        parameter.requires_grad_(not fixed or image.is_classifier(name))
    if fixed and pretrained:
        _fix_statistics(_normalizations(image))


def _fix_named(model: nn.Module, prefixes: Collection[str], free: Collection[str], *, keep_statistics: bool) -> None:
    """Stop the learning of what begins with `prefixes` and not with `free`."""

    def is_fixed(name: str) -> bool:
        return name.startswith(tuple(prefixes)) and not name.startswith(tuple(free))

    for name, parameter in model.named_parameters():
        if is_fixed(name):
            parameter.requires_grad_(False)
    if keep_statistics:
        _fix_statistics([part for name, part in model.named_modules() if _normalizes(part) and is_fixed(f"{name}.")])


def _normalizations(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if _normalizes(part)]


def _normalizes(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def _fix_statistics(normalizations: list[nn.Module]) -> None:
    for module in normalizations:
        module.eval()
