"""Training: SGD with momentum or Adam and a step schedule, in two phases for networks that have them.

Ng & Davis, sections 3.4 and 4.2: phase one leaves the image subnetwork as it is but for its classifier; phase two
trains everything. Dissertation, sections 4.3.2 and 4.4.3, for networks that learn flow: phase one trains the flow
alone, phase two classes with the flow, or classes alone ("fine-tune" in table 4.1). It trains with Adam, learning rate
1e-4, batches of 128: the flow loss is a sum over pixels, for which SGD's learning rate would have to be tiny.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from tdn_data.models.clips.dataset import ClipDataset
from tdn_data.models.clips.with_flow import FlowClipDataset, FlowPairDataset
from tdn_data.models.networks import build_model
from tdn_data.models.networks.base import ClipShape, Criterion, Losses, VideoNetwork
from tdn_data.models.threads import torch_threads
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.weights.checkpoint import Checkpoint, load_weights, room_for_checkpoint
from tdn_data.models.weights.trained_on import TrainedOn
from tdn_data.pipeline.datasets.base import mirror_labels, repeated_length
from tdn_data.pipeline.datasets.registry import dataset_spec, read_dataset
from tdn_data.pipeline.errors import InputError, PipelineError
from tdn_data.pipeline.shards.reader import ShardReader


@dataclass(frozen=True)
class EpochReport:
    """One epoch: number from 1, mean loss, share of training clips recognised by the video score, learning rate.

    `accuracy` is None where the flow alone is trained. For networks that learn flow the mean parts of the loss:
    `class_loss`, and `flow_loss` not yet multiplied by lambda, None where the epoch has no such part.
    """

    epoch: int
    num_epochs: int
    loss: float
    accuracy: float | None
    learning_rate: float
    class_loss: float | None = None
    flow_loss: float | None = None


@dataclass(frozen=True)
class Phase:
    """Epochs, counted from 0, with one data set and one loss: `classes`, `flow`, or both, `joint`."""

    kind: Literal["classes", "flow", "joint"]
    dataset: Dataset
    epochs: range

    def losses(self, model: VideoNetwork, batch: list[Tensor], criterion: Criterion) -> Losses:
        """Return the losses for a batch: clips, targets if there are any, flow if there is any."""
        if self.kind == "flow":
            return model.flow_losses(batch[0], batch[-1])
        if self.kind == "joint":
            return model.joint_losses(*batch, criterion=criterion)
        return model.class_losses(*batch, criterion=criterion)


def train(
    reader: ShardReader,
    model_name: str,
    *,
    config: TrainConfig,
    out: Path,
    flow: ShardReader | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> Path:
    """Train a network on the training split of finished shards and write its checkpoint to `out`; return `out`.

    `flow` reads the same videos' flow; it is needed where `config.needs_flow`. The same shards, configuration, library
    versions and number of threads give the same weights; global random state is left as it was. Raises ValueError for
    what the network cannot do, InputError for files that do not fit, StorageError before the first epoch where the
    checkpoint has no room (it is kept from then on), PipelineError where the loss is lost to infinity.
    """
    config.check_model(model_name)
    num_classes = len(reader.info.class_names)
    with torch.random.fork_rng(), torch_threads(config.num_threads):
        torch.manual_seed(config.seed)
        options = config.model_options(model_name, reader.modality)
        model = build_model(model_name, num_classes=num_classes, **options)
        model.to(memory_format=model.memory_format)
        for path in config.init:
            load_weights(model, path)
        phases = _phases(reader, flow, model, config)
        criterion = F.binary_cross_entropy_with_logits if reader.info.multi_label else F.cross_entropy
        what = (model_name, options, num_classes, config.size)
        data = TrainedOn.of(reader).as_dict()
        with room_for_checkpoint(Checkpoint(*what, _weights(model), data), out) as save:
            for report in _epochs(model, phases, config, criterion):
                if on_epoch is not None:
                    on_epoch(report)
            save(Checkpoint(*what, _weights(model), data))
    return out


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in model.state_dict().items()}


def _phases(reader: ShardReader, flow: ShardReader | None, model: VideoNetwork, config: TrainConfig) -> list[Phase]:
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


def _epochs(
    model: VideoNetwork, phases: list[Phase], config: TrainConfig, criterion: Criterion
) -> Iterator[EpochReport]:
    """Train epoch after epoch, yielding a report after each.

    Each phase has an optimizer of its own: what Adam keeps of the flow loss's gradients, which are thousands of times
    those of the classification loss, would hold up the next phase for as many steps.
    """
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    for phase in phases:
        optimizer = _optimizer(model, config)
        batches = DataLoader(
            phase.dataset,
            batch_sampler=EpochBatches(
                len(phase.dataset), config.batch_size, seed=config.seed, first_epoch=phase.epochs.start
            ),
            num_workers=config.num_workers,
            persistent_workers=config.num_workers > 0,
        )
        for epoch in phase.epochs:
            rate = learning_rate_at(epoch, config)
            for group in optimizer.param_groups:
                group["lr"] = rate
            set_phase(
                model,
                image_fixed=epoch < round(config.fixed_share * config.epochs),
                pretrained=bool(config.init),
                partial_bn=config.partial_bn,
                flow_only=phase.kind == "flow",
            )
            means = _train_epoch(model, optimizer, batches, phase, criterion)
            if not np.isfinite(means["loss"]):
                raise PipelineError(
                    f"the loss is {means['loss']} in epoch {epoch + 1}; lower learning_rate, or set optimizer to adam."
                )
            yield EpochReport(epoch + 1, config.epochs, learning_rate=rate, **means)


def _optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    options = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), betas=(config.momentum, 0.999), **options)
    return torch.optim.SGD(model.parameters(), momentum=config.momentum, **options)


def _train_epoch(
    model: VideoNetwork, optimizer: torch.optim.Optimizer, batches: DataLoader, phase: Phase, criterion: Criterion
) -> dict[str, float | None]:
    """Take one step for each batch; return the means that an EpochReport has."""
    device = next(model.parameters()).device
    parts, hits = {"loss": [], "class_loss": [], "flow_loss": []}, 0
    for batch in batches:
        batch = [part.to(device) for part in batch]
        losses = phase.losses(model, batch, criterion)
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        optimizer.step()
        for name, value in zip(parts, (losses.total, losses.classes, losses.flow), strict=True):
            if value is not None:
                parts[name].append(value.item())
        if losses.scores is not None:
            hits += _num_hits(losses.scores, batch[1])
    means = {name: float(np.mean(values)) if values else None for name, values in parts.items()}
    return means | {"accuracy": None if phase.kind == "flow" else hits / len(phase.dataset)}


def learning_rate_at(epoch: int, config: TrainConfig) -> float:
    """Return the learning rate of an epoch counted from 0: divided by ten after each of `lr_steps`."""
    passed = sum(epoch >= round(step * config.epochs) for step in config.lr_steps)
    return config.learning_rate / 10**passed


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


class EpochBatches(Sampler):
    """Each time it is gone through: the batches of the next epoch, lists of (epoch, index), shuffled by `seed`.

    Epochs are counted from `first_epoch`. All batches have nearly `batch_size` clips: a last one of a single clip
    would leave normalisation nothing to normalise by.
    """

    def __init__(self, num_clips: int, batch_size: int, *, seed: int, first_epoch: int = 0) -> None:
        self._num_clips, self._generator = num_clips, np.random.default_rng(seed)
        self._num_batches = max(1, round(num_clips / batch_size))
        self._epoch = first_epoch

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        for indices in np.array_split(self._generator.permutation(self._num_clips), self._num_batches):
            yield [(epoch, int(index)) for index in indices]


def _num_hits(scores: Tensor, targets: Tensor) -> int:
    """Return how many clips' highest score belongs to (one of) their classes."""
    best = scores.argmax(1)
    hits = best == targets if targets.ndim == 1 else targets.gather(1, best[:, None])[:, 0] > 0
    return int(hits.sum())
