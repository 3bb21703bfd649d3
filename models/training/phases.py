"""The phases of a training: with which data and loss an epoch is gone through, and what of the network learns in it.

Ng & Davis, sections 3.4 and 4.2: phase one leaves the image subnetwork as it is but for its classifier; phase two
trains everything. Dissertation, sections 4.3.2 and 4.4.3, for networks that learn flow: phase one trains the flow
alone, phase two classes with the flow, or classes alone ("fine-tune" in table 4.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn
from torch.utils.data import Dataset

from tdn_data.models.clips.dataset import ClipDataset
from tdn_data.models.clips.with_flow import FlowClipDataset, FlowPairDataset
from tdn_data.models.networks.base import ClipShape, Criterion, Losses, VideoNetwork
from tdn_data.models.training.config import TrainConfig
from tdn_data.pipeline.datasets.base import mirror_labels, repeated_length
from tdn_data.pipeline.datasets.registry import dataset_spec, read_dataset
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import ShardReader


@dataclass(frozen=True)
class Phase:
    """Epochs, counted from 0, with one data set and one loss: `classes`, `flow`, or both, `joint`."""

    kind: Literal["classes", "flow", "joint"]
    dataset: Dataset
    epochs: range

    @property
    def num_clips(self) -> int:
        """How many clips an epoch has."""
        return len(self.dataset)

    def names(self, indices: Iterable[int]) -> list[str]:
        """Return the video ids of clips; image pairs have numbers."""
        videos = getattr(self.dataset, "videos", None)
        return [f"pair {index}" if videos is None else videos[index].video_id for index in indices]

    def losses(self, model: VideoNetwork, batch: list[Tensor], criterion: Criterion) -> Losses:
        """Return the losses for a batch: clips, targets if there are any, flow if there is any."""
        if self.kind == "flow":
            return model.flow_losses(batch[0], batch[-1])
        if self.kind == "joint":
            return model.joint_losses(*batch, criterion=criterion)
        return model.class_losses(*batch, criterion=criterion)


def training_phases(
    reader: ShardReader, flow: ShardReader | None, model: VideoNetwork, config: TrainConfig
) -> list[Phase]:
    """Return the phases of a training: at most one with flow alone, at most one with classes."""
    if config.needs_flow and flow is None:
        raise ValueError("flow is None; flow_share and flow_weight take a reader of the videos' flow")
    spec = dataset_spec(reader.info.name)
    options = {
        "split": config.split or spec.train_split,
        "shape": ClipShape.of(model, config.size),
        "augment": config.augment(),
        "seed": config.seed,
        "mirror_labels": mirror_labels(spec, reader.info.class_names),
        "repeat_to": repeated_length(spec, reader.info.parameters),
    }
    with_flow = None
    if config.needs_flow:
        with_flow = FlowClipDataset(reader, flow, num_fields=model.num_fields, **options)
    pretraining, rest = range(config.num_flow_epochs), range(config.num_flow_epochs, config.epochs)
    phases = []
    if pretraining:
        phases.append(Phase("flow", _pairs(model, config) if config.flow_pairs else with_flow, pretraining))
    if rest and config.flow_weight:
        phases.append(Phase("joint", with_flow, rest))
    elif rest:
        phases.append(Phase("classes", ClipDataset(reader, **options), rest))
    return phases


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
    return FlowPairDataset(pairs, augment=config.augment(), seed=config.seed)


def set_phase(
    model: VideoNetwork,
    *,
    image_fixed: bool,
    pretrained: bool = True,
    partial_bn: bool = False,
    flow_only: bool = False,
) -> None:
    """Put `model` into training mode; with `image_fixed` its image subnetwork learns its classifier only.

    A fixed subnetwork that is `pretrained` also keeps its normalisations' statistics. `partial_bn` (TSN; section 4.2)
    fixes those of every normalisation but each backbone's first. `flow_only` frees a flow network that is fixed in
    other phases.
    """
    model.set_flow_phase(flow_only)
    model.train()
    image = model.image_subnetwork
    if image is not None:
        for name, parameter in image.named_parameters():
            parameter.requires_grad_(not image_fixed or image.is_classifier(name))
        if image_fixed and pretrained:
            _fix_statistics(_normalizations(image))
    if partial_bn:
        for backbone in model.backbones():
            _fix_statistics(_normalizations(backbone)[1:])


def _normalizations(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]


def _fix_statistics(normalizations: list[nn.Module]) -> None:
    for module in normalizations:
        module.eval()
