"""Training: SGD with momentum and a step schedule, in two phases for networks with an image trunk.

Ng & Davis, sections 3.4 and 4.2. Phase one leaves the image subnetwork as it is but for its classifier; phase two
trains everything. Each subnetwork's scores, averaged over the snippets, have a loss of their own; the losses add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler

from models import build_model
from models.augment import Augment
from models.backbones import is_classifier
from models.backbones.base import Backbone
from models.checkpoint import Checkpoint, load_weights, save_checkpoint
from models.clip_shape import ClipShape
from models.clips import ClipDataset
from models.lstm import LSTM, combine_frames, frame_loss
from models.threads import torch_threads
from pipeline.datasets import dataset_spec
from pipeline.datasets.base import mirror_labels, repeated_length
from pipeline.shards.reader import ShardReader

FLOW_SNIPPET_LENGTH = 5  # section 3.4: k = 5 for stacks of flow; for frames each network has its own, e.g. k = 1


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run but the data.

    `split` is what is trained on, None for the data set's own training split. `lr_steps` are shares of all epochs after
    which the learning rate is divided by ten, `fixed_share` is the share of epochs of phase one. `init` names files of
    weights, loaded one after the other; "imagenet" stands for the backbone's published one, see `models.published`.
    `num_threads` compute (see `torch_threads`). `num_workers` processes prepare clips; their number changes nothing in
    the result.
    """

    split: str | None = None
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
    init: tuple[str, ...] = ()
    num_threads: int | None = None
    num_workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("num_segments", "size", "epochs", "batch_size", "learning_rate")
        for name in positive:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be above 0")
        for name in ("momentum", "weight_decay", "fixed_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be between 0 and 1")
        if self.num_threads is not None and self.num_threads < 1:
            raise ValueError(f"num_threads is {self.num_threads!r}; it must be at least 1, or null for one per core")
        for name in ("num_workers", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be 0 or more")
        if any(not 0 < step < 1 for step in self.lr_steps):
            raise ValueError(f"lr_steps is {self.lr_steps!r}; each must be a share of all epochs, between 0 and 1")

    def model_options(self, model: str, modality: str) -> dict[str, object]:
        """Return what `build_model` is given for one network and modality."""
        options = {
            "backbone": self.backbone,
            "num_segments": self.num_segments,
            "modality": modality,
            **({"snippet_length": FLOW_SNIPPET_LENGTH} if modality == "flow" else {}),
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
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> Path:
    """Train a network on the training split of finished shards and write its checkpoint to `out`; return `out`.

    The same shards, configuration, library versions and number of threads give the same weights; global random state
    is left as it was.
    """
    num_classes = len(reader.info.class_names)
    with torch.random.fork_rng(), torch_threads(config.num_threads):
        torch.manual_seed(config.seed)
        options = config.model_options(model_name, reader.modality)
        model = build_model(model_name, num_classes=num_classes, **options)
        model.to(memory_format=getattr(model, "memory_format", torch.channels_last))
        for path in config.init:
            load_weights(model, path)
        dataset = _dataset(reader, config, ClipShape.of(model, reader.modality, config.size))
        for report in _epochs(model, dataset, config, multi_label=reader.info.multi_label):
            if on_epoch is not None:
                on_epoch(report)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_checkpoint(Checkpoint(model_name, options, num_classes, config.size, state), out)
    return out


def _dataset(reader: ShardReader, config: TrainConfig, shape: ClipShape) -> ClipDataset:
    spec = dataset_spec(reader.info.name)
    return ClipDataset(
        reader,
        split=config.split or spec.train_split,
        shape=shape,
        augment=Augment(config.size, config.crop, config.mirror),
        seed=config.seed,
        mirror_labels=mirror_labels(spec, reader.info.class_names),
        repeat_to=repeated_length(spec, reader.info.parameters),
    )


def _epochs(model: nn.Module, dataset: ClipDataset, config: TrainConfig, *, multi_label: bool) -> Iterator[EpochReport]:
    """Train epoch after epoch, yielding a report after each."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    batches = DataLoader(
        dataset,
        batch_sampler=EpochBatches(len(dataset), config.batch_size, seed=config.seed),
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
    )
    for epoch in range(config.epochs):
        rate = learning_rate_at(epoch, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        set_phase(
            model,
            image_fixed=epoch < round(config.fixed_share * config.epochs),
            pretrained=bool(config.init),
            partial_bn=config.partial_bn,
        )
        losses, hits = [], 0
        for clips, targets in batches:
            loss, scores = _step(model, optimizer, clips.to(device), targets.to(device), multi_label)
            losses.append(loss)
            hits += _num_hits(scores, targets.to(device))
        yield EpochReport(epoch + 1, config.epochs, float(np.mean(losses)), hits / len(dataset), rate)


def learning_rate_at(epoch: int, config: TrainConfig) -> float:
    """Return the learning rate of an epoch counted from 0: divided by ten after each of `lr_steps`."""
    passed = sum(epoch >= round(step * config.epochs) for step in config.lr_steps)
    return config.learning_rate / 10**passed


def set_phase(model: nn.Module, *, image_fixed: bool, pretrained: bool = True, partial_bn: bool = False) -> None:
    """Put `model` into training mode; with `image_fixed` its image subnetwork learns its classifier only.

    A fixed subnetwork that is `pretrained` also keeps its normalisations' statistics. `partial_bn` (TSN; section 4.2)
    fixes those of every normalisation but each backbone's first. Networks without an image subnetwork have one phase.
    """
    model.train()
    image = getattr(model, "image", None)
    if isinstance(image, Backbone):
        for name, parameter in image.named_parameters():
            parameter.requires_grad_(not image_fixed or is_classifier(name))
        if image_fixed and pretrained:
            _fix_statistics(_normalizations(image))
    if partial_bn:
        for backbone in (module for module in model.modules() if isinstance(module, Backbone)):
            _fix_statistics(_normalizations(backbone)[1:])


def _normalizations(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]


def _fix_statistics(normalizations: list[nn.Module]) -> None:
    for module in normalizations:
        module.eval()


class EpochBatches(Sampler):
    """Each time it is gone through: the batches of the next epoch, lists of (epoch, index), shuffled by `seed`.

    All batches have nearly `batch_size` clips: a last one of a single clip would leave normalisation nothing to
    normalise by.
    """

    def __init__(self, num_clips: int, batch_size: int, *, seed: int) -> None:
        self._num_clips, self._generator = num_clips, np.random.default_rng(seed)
        self._num_batches = max(1, round(num_clips / batch_size))
        self._epoch = 0

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        for indices in np.array_split(self._generator.permutation(self._num_clips), self._num_batches):
            yield [(epoch, int(index)) for index in indices]


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, clips: Tensor, targets: Tensor, multi_label: bool
) -> tuple[float, Tensor]:
    """Take one step of SGD; return the loss and the video scores (N, C).

    The LSTM has a loss over its frames' scores instead.
    """
    criterion = F.binary_cross_entropy_with_logits if multi_label else F.cross_entropy
    if isinstance(model, LSTM):
        frames = model.frame_scores(clips)
        loss = frame_loss(frames, targets, criterion=criterion)
        streams = {"video": combine_frames(frames, model.consensus)}
    else:
        streams = model.forward_streams(clips)
        loss = torch.stack([criterion(scores, targets) for scores in streams.values()]).sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item(), torch.stack([scores.detach() for scores in streams.values()]).mean(0)


def _num_hits(scores: Tensor, targets: Tensor) -> int:
    """Return how many clips' highest score belongs to (one of) their classes."""
    best = scores.argmax(1)
    hits = best == targets if targets.ndim == 1 else targets.gather(1, best[:, None])[:, 0] > 0
    return int(hits.sum())
