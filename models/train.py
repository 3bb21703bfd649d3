"""Training: SGD with momentum and a step schedule, in two phases for networks with an image trunk.

Ng & Davis, sections 3.4 and 4.2. Phase one leaves the image subnetwork as it is but for its classifier; phase two
trains everything. Each subnetwork's scores, averaged over the snippets, have a loss of their own; the losses add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import build_model
from models.augment import Augment
from models.checkpoint import Checkpoint, load_weights, save_checkpoint
from models.clips import ClipDataset, ClipShape
from pipeline.datasets import dataset_spec
from pipeline.datasets.base import mirror_labels
from pipeline.shards.reader import ShardReader

SNIPPET_LENGTHS = {"rgb": 1, "flow": 5}  # section 3.4: k = 1 for RGB, k = 5 for flow


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run but the data. Rates and shares: `lr_steps` are shares of all epochs after
    which the learning rate is divided by ten, `fixed_share` is the share of epochs of phase one."""

    backbone: str = "resnet50"
    backbone_options: dict[str, object] = field(default_factory=dict)
    num_segments: int = 3
    taps: tuple[str, ...] | None = None
    combination: Literal["sum", "conv1x1", "gated"] = "sum"
    size: int = 224
    crop: Literal["corner", "random", "center"] = "corner"
    mirror: bool = True
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    lr_steps: tuple[float, ...] = (0.4, 0.8)
    fixed_share: float = 0.2
    partial_bn: bool = False
    init: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("num_segments", "size", "epochs", "batch_size", "learning_rate")
        for name in positive:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be above 0")
        for name in ("momentum", "weight_decay", "fixed_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be between 0 and 1")
        if any(not 0 < step < 1 for step in self.lr_steps):
            raise ValueError(f"lr_steps is {self.lr_steps!r}; each must be a share of all epochs, between 0 and 1")

    def model_options(self, model: str, modality: str) -> dict[str, object]:
        """Return what `build_model` is given for one network and modality."""
        options = {
            "backbone": self.backbone,
            "num_segments": self.num_segments,
            "modality": modality,
            "snippet_length": SNIPPET_LENGTHS[modality],
            **self.backbone_options,
        }
        if model == "tdn":
            options |= {"taps": self.taps, "combination": self.combination}
        return options


@dataclass(frozen=True)
class EpochReport:
    """One epoch: number from 1, mean loss, share of training clips recognised by the video score, learning rate."""

    epoch: int
    num_epochs: int
    loss: float
    accuracy: float
    learning_rate: float


def train(
    reader: ShardReader,
    model_name: str,
    *,
    config: TrainConfig,
    out: Path,
    split: str = "train",
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> Path:
    """Train a network on one split of finished shards and write its checkpoint to `out`; return `out`.

    The same shards, configuration, library versions and number of threads give the same weights; global random state
    is left as it was.
    """
    num_classes = len(reader.info.class_names)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        options = config.model_options(model_name, reader.modality)
        model = build_model(model_name, num_classes=num_classes, **options).to(memory_format=torch.channels_last)
        if config.init is not None:
            load_weights(model, config.init)
        dataset = _dataset(reader, split, config)
        for report in _epochs(model, dataset, config, multi_label=reader.info.multi_label):
            if on_epoch is not None:
                on_epoch(report)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_checkpoint(Checkpoint(model_name, options, num_classes, config.size, state), out)
    return out


def _dataset(reader: ShardReader, split: str, config: TrainConfig) -> ClipDataset:
    return ClipDataset(
        reader,
        split=split,
        shape=ClipShape(config.num_segments, SNIPPET_LENGTHS[reader.modality], config.size),
        augment=Augment(config.size, config.crop, config.mirror),
        generator=np.random.default_rng(config.seed),
        mirror_labels=mirror_labels(dataset_spec(reader.info.name), reader.info.class_names),
    )


def _epochs(model: nn.Module, dataset: ClipDataset, config: TrainConfig, *, multi_label: bool) -> Iterator[EpochReport]:
    """Train epoch after epoch, yielding a report after each."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    shuffling = np.random.default_rng(config.seed + 1)
    for epoch in range(config.epochs):
        rate = learning_rate_at(epoch, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        set_phase(model, image_fixed=epoch < round(config.fixed_share * config.epochs), partial_bn=config.partial_bn)
        losses, hits = [], 0
        for clips, targets in _batches(dataset, config.batch_size, shuffling):
            loss, scores = _step(model, optimizer, clips.to(device), targets.to(device), multi_label)
            losses.append(loss)
            hits += _num_hits(scores, targets.to(device))
        yield EpochReport(epoch + 1, config.epochs, float(np.mean(losses)), hits / len(dataset), rate)


def learning_rate_at(epoch: int, config: TrainConfig) -> float:
    """Return the learning rate of an epoch counted from 0: divided by ten after each of `lr_steps`."""
    passed = sum(epoch >= round(step * config.epochs) for step in config.lr_steps)
    return config.learning_rate / 10**passed


def set_phase(model: nn.Module, *, image_fixed: bool, partial_bn: bool = False) -> None:
    """Put `model` into training mode; with `image_fixed` its image subnetwork learns its classifier only.

    A fixed trunk also keeps its normalisation statistics. `partial_bn` (TSN; section 4.2) fixes those of every
    normalisation but the first. Networks without an image subnetwork have one phase.
    """
    model.train()
    image = getattr(model, "image", None)
    if image is not None:
        trunk = [(name, parameter) for name, parameter in image.named_parameters() if not name.startswith("fc.")]
        for _, parameter in trunk:
            parameter.requires_grad_(not image_fixed)
        if image_fixed:
            image.eval()
    if partial_bn:
        normalizations = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        for module in normalizations[1:]:
            module.eval()


def _batches(dataset: ClipDataset, batch_size: int, generator: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch's clips in shuffled batches of nearly equal size: normalisation could not take a last one of 1."""
    order = generator.permutation(len(dataset))
    count = max(1, round(len(dataset) / batch_size))
    for indices in np.array_split(order, count):
        items = [dataset[int(index)] for index in indices]
        yield torch.stack([clip for clip, _ in items]), torch.stack([target for _, target in items])


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, clips: Tensor, targets: Tensor, multi_label: bool
) -> tuple[float, Tensor]:
    """Take one step of SGD; return the loss and the video scores (N, C)."""
    streams = model.forward_streams(clips) if hasattr(model, "forward_streams") else {"video": model(clips)}
    loss_of = F.binary_cross_entropy_with_logits if multi_label else F.cross_entropy
    loss = torch.stack([loss_of(scores, targets) for scores in streams.values()]).sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item(), torch.stack([scores.detach() for scores in streams.values()]).mean(0)


def _num_hits(scores: Tensor, targets: Tensor) -> int:
    """Return how many clips' highest score belongs to (one of) their classes."""
    best = scores.argmax(1)
    hits = best == targets if targets.ndim == 1 else targets.gather(1, best[:, None])[:, 0] > 0
    return int(hits.sum())


def config_record(config: TrainConfig) -> dict[str, object]:
    """Return the configuration as plain data, for logs."""
    return asdict(config)
