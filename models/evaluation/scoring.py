"""The scores of a video: its views through a network, a batch at a time, and their average.

Memory is bounded by the batch, not by the number of views: 250 views of a video are made, normalised on the network's
device and forgotten `views_per_batch` at a time, and fewer where they would take more than MAX_BATCH_BYTES.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch
from torch import Tensor

from tdn_data.models.clips.pixels import normalize_batch
from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.networks.base import ClipShape, VideoNetwork
from tdn_data.pipeline.shards.reader import ShardReader, StoredVideo

MAX_BATCH_BYTES = 1 << 28  # of a batch of views as float32, which normalising takes several times


@dataclass(frozen=True)
class Scored:
    """A video's scores, float32: its own (C,), and those of its clips (num_clips, C), each averaged over its views."""

    video: np.ndarray
    clips: np.ndarray


@dataclass(frozen=True)
class Scorer:
    """A network in evaluation mode with the protocol by which it sees a video, in clips of `shape`.

    `mirror_labels` are for each class the number of the class that a mirrored video shows: a view that is mirrored and
    looks like that one speaks for the class itself. Training swaps labels in the same way; left and right must not be
    averaged.
    """

    model: VideoNetwork
    shape: ClipShape
    config: EvaluateConfig
    repeat_to: int | None = None
    mirror_labels: tuple[int, ...] | None = None

    def __call__(self, reader: ShardReader, video: StoredVideo) -> Scored:
        """Return the scores of one of the videos of `reader`."""
        views = self.config.views().of(reader, video, self.shape, repeat_to=self.repeat_to)
        scores, how = self._scores(views), self.config.average
        clips = scores.unflatten(0, (-1, self.config.num_crops)).transpose(0, 1)
        return Scored(_plain(average_scores(scores, how)), _plain(average_scores(clips, how)))

    @torch.inference_mode()
    def _scores(self, views: Iterable[tuple[np.ndarray, bool]]) -> Tensor:
        """Return the scores (V, C) of views, computed a batch at a time."""
        device, mirrored = next(self.model.parameters()).device, []

        def pictures() -> Iterator[np.ndarray]:
            for view, is_mirrored in views:
                mirrored.append(is_mirrored)
                yield view

        scores = torch.cat([self.model(normalize_batch(batch.to(device))) for batch in self._batches(pictures())])
        if self.mirror_labels is None:
            return scores
        partners = scores[:, list(self.mirror_labels)]
        return torch.where(torch.tensor(mirrored, device=device)[:, None], partners, scores)

    def _batches(self, views: Iterator[np.ndarray]) -> Iterator[Tensor]:
        first = next(views)
        at_once = max(1, min(self.config.views_per_batch, MAX_BATCH_BYTES // (4 * first.size)))
        views = chain([first], views)
        while part := list(islice(views, at_once)):
            yield torch.from_numpy(np.stack(part))


def average_scores(scores: Tensor, how: str) -> Tensor:
    """Return the average of scores (V, ..., C) over their first dimension, as scores before softmax.

    `logits` is their mean (Ng & Davis, section 4.2, "the average of the prediction scores"). `softmax` averages
    probabilities and gives the logarithm of that average, whose softmax it is. `log` averages logarithms of
    probabilities, which is the geometric mean of probabilities. The LSTM's scores are such logarithms already, so for
    it `logits` and `log` are the same; the tables of the dissertation's chapter 3 "average all predictions" (section
    3.4), which after its softmax layers is `softmax`.
    """
    if how == "logits":
        return scores.mean(0)
    logarithms = scores.log_softmax(-1)
    return logarithms.mean(0) if how == "log" else logarithms.logsumexp(0) - math.log(len(scores))


def _plain(scores: Tensor) -> np.ndarray:
    return scores.float().cpu().numpy()
