"""Validation during a training: which videos, and how well the network does on them.

A share of the training videos is chosen by a hash of their ids, class by class: the same videos on every machine, and
those of other classes do not matter. Videos cut from one recording may fall on both sides; where a data set has a
validation split of its own, that is the better choice.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tdn_data.models.clips.dataset import split_videos, target_of
from tdn_data.models.clips.views import video_views
from tdn_data.models.networks.base import ClipShape, Criterion, VideoNetwork
from tdn_data.models.precision import average_precisions, mean_of_defined
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.processes import ALONE, Processes
from tdn_data.models.training.sums import num_hits
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import ShardReader, StoredVideo


@dataclass(frozen=True)
class Measured:
    """Mean loss, share of videos whose best score is right and, with several labels a video, mean average precision."""

    loss: float
    accuracy: float
    mean_ap: float | None

    @property
    def rank(self) -> tuple[float, float]:
        """What is larger for a better network: what the papers report, then less loss."""
        result = self.accuracy if self.mean_ap is None else self.mean_ap
        return (-1.0 if np.isnan(result) else result, -self.loss)


@dataclass(frozen=True)
class Validation:
    """The videos that a training is measured on, each by one clip from the segments' middles in the centre crop."""

    videos: tuple[StoredVideo, ...]
    views: Callable[[StoredVideo], Tensor]
    target: Callable[[StoredVideo], Tensor]
    criterion: Criterion
    batch_size: int

    @torch.no_grad()
    def measure(self, model: VideoNetwork, device: torch.device, processes: Processes = ALONE) -> Measured:
        """Return how well a network does; it is in evaluation mode afterwards.

        Each of the processes takes some of the batches; the result is all the same.
        """
        model.eval()
        starts = range(0, len(self.videos), self.batch_size)
        own = [self._batch(model, device, start) for start in starts[processes.rank :: processes.size]]
        found = processes.gather(own)
        batches = [found[number % processes.size][number // processes.size] for number in range(len(starts))]
        loss, hits = (sum(values) for values in zip(*(batch[:2] for batch in batches), strict=True))
        scores, truth = (torch.cat(values) for values in zip(*(batch[2:] for batch in batches), strict=True))
        count, mean_ap = len(self.videos), None
        if truth.ndim == 2:
            mean_ap = mean_of_defined(average_precisions(scores.numpy(), truth.numpy()))
        return Measured(loss / count, hits / count, mean_ap)

    def _batch(self, model: VideoNetwork, device: torch.device, start: int) -> tuple[float, int, Tensor, Tensor]:
        """Return the summed loss, the number of hits, the scores and the truth of the batch that begins at a video."""
        videos = self.videos[start : start + self.batch_size]
        targets = torch.stack([self.target(video) for video in videos]).to(device)
        clips = torch.cat([self.views(video) for video in videos]).to(device)
        losses = model.class_losses(clips, targets, criterion=self.criterion)
        summed, hits = losses.total.item() * len(videos), num_hits(losses.scores, targets)
        return summed, hits, losses.scores.float().cpu(), targets.cpu() > 0


def validation_of(
    reader: ShardReader, model: VideoNetwork, config: TrainConfig, criterion: Criterion
) -> Validation | None:
    """Return the validation that a configuration asks for, None for none.

    Raises InputError where there is no video for it; its views do where the crop does not fit into the frames.
    """
    if not config.validates:
        return None
    info, shape, cut = reader.info, ClipShape.of(model, config.size), config.clip_cut()
    repeat_to = cut.repeat_to(reader.info)

    def views(video: StoredVideo) -> Tensor:
        return video_views(reader, video, shape, num_clips=1, num_crops=1, repeat_to=repeat_to, cut=cut)

    def target(video: StoredVideo) -> Tensor:
        return target_of(video.labels, info.multi_label, len(info.class_names))

    videos = _validation_videos(reader, config)
    views(videos[0])
    return Validation(videos, views, target, criterion, config.batch_size)


def _validation_videos(reader: ShardReader, config: TrainConfig) -> tuple[StoredVideo, ...]:
    trained = config.split or dataset_spec(reader.info.name).train_split
    if config.validation_split is None:
        return held_out(split_videos(reader, trained), config.validation_share)
    if config.validation_split == trained:
        raise InputError(
            f"validation_split is {trained!r}, the split that is trained on; name another one, or set "
            "validation_share.",
            key="validation_split",
        )
    try:
        return split_videos(reader, config.validation_split)
    except InputError as error:
        raise InputError(
            f"validation_split is {config.validation_split!r}: {error.message}", key="validation_split"
        ) from error


def held_out(videos: Sequence[StoredVideo], share: float) -> tuple[StoredVideo, ...]:
    """Return `share` of the videos of each class (the first label), rounded, but not all; InputError where none is."""
    by_class = defaultdict(list)
    for video in videos:
        by_class[video.labels[:1]].append(video)
    chosen = set()
    for group in by_class.values():
        count = min(round(share * len(group)), len(group) - 1)
        chosen.update(video.video_id for video in sorted(group, key=_hash)[:count])
    if not chosen:
        raise InputError(
            f"validation_share is {share}; of {len(videos)} training videos in {len(by_class)} classes that is none: "
            "raise it, or set it to 0 and train without validation.",
            key="validation_share",
        )
    return tuple(video for video in videos if video.video_id in chosen)


def _hash(video: StoredVideo) -> bytes:
    return hashlib.blake2b(video.video_id.encode()).digest()
