"""Clips for networks, drawn from shards: S segments, K consecutive frames in each, cut as `cut` says.

Training draws one clip at random, by a generator seeded by epoch and video, so that it depends neither on the order nor
on the machine or the number of workers. What a test sees of a video is in `views`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tdn_data.models.clips.augment import Augment, View
from tdn_data.models.clips.cut import Cut
from tdn_data.models.clips.pixels import as_clip
from tdn_data.models.clips.rows import CACHE_BYTES, CachedRows, RowCache
from tdn_data.models.networks.base import ClipShape
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import ShardReader, StoredVideo

SEGMENTS = Cut("segments")


@dataclass(frozen=True)
class DrawnClip:
    """A training clip and its target, and where they come from.

    `rows` (S, K) of the video and their `pts_seconds` (S, K), the stored frames' `(height, width)`, the view of them.
    """

    clip: Tensor
    target: Tensor
    rows: np.ndarray
    pts_seconds: np.ndarray
    frame_size: tuple[int, int]
    view: View


class ClipDataset(Dataset):
    """One split of a finished extraction as training clips: (epoch, index) -> (clip float32 (S, K, C, H, W), target).

    The target is the class number, int64 (), or for multi-label data 0 and 1, float32 (num_classes,). A clip depends on
    `seed`, the epoch and the index alone, not on the order or the process in which clips are asked for.

    Args:
        reader: The shards.
        split: The split whose videos are drawn from.
        shape: How many snippets S, of how many frames K each.
        augment: How a clip is cropped, mirrored and coloured; its `size` is H and W, in pixels.
        seed: Another one, other clips.
        mirror_labels: For each class the number of the class that a mirrored video shows; None where it is the same.
        repeat_to: Videos of fewer rows are repeated from their start up to there.
        cut: Which rows a clip is made of.
        normalized: False gives clips as levels, uint8 (S, K, H, W, C), of which `pixels.normalize_batch` makes float32,
            a batch at once, on the network's device.
        cache_bytes: How much is kept of decoded rows, in all processes of a loader together.

    Raises:
        InputError: The split has no stored video.

    Example:
        >>> reader = ShardReader("shards", modality="rgb")  # what `tdn-data extract --out shards` made
        >>> shape, augment = ClipShape(num_segments=3, snippet_length=1, size=40), Augment(40, "random", mirror=True)
        >>> clips = ClipDataset(reader, split="train", shape=shape, augment=augment)
        >>> clip, target = clips[0, 2]  # epoch 0, the third video of `clips.videos`
        >>> clip.shape, reader.info.class_names[target]
        (torch.Size([3, 1, 3, 40, 40]), 'right')
        >>> torch.equal(clip, clips[0, 2][0]), torch.equal(clip, clips[1, 2][0])  # the next epoch sees another clip
        (True, False)
    """

    def __init__(
        self,
        reader: ShardReader,
        *,
        split: str,
        shape: ClipShape,
        augment: Augment,
        seed: int = 0,
        mirror_labels: tuple[int, ...] | None = None,
        repeat_to: int | None = None,
        cut: Cut = SEGMENTS,
        normalized: bool = True,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.videos = split_videos(reader, split)
        self._cache = RowCache(cache_bytes)
        self._reader, self._info = reader, reader.info
        self._frames, self._normalized = CachedRows(reader, self._cache), normalized
        self._shape, self._augment, self._seed = shape, augment, seed
        self._mirror_labels, self._repeat_to, self._cut = mirror_labels, repeat_to, cut

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        drawn = self._draw(key)
        return drawn.clip, drawn.target

    def _draw(self, key: tuple[int, int], *, rows_after: int = 0) -> DrawnClip:
        """Draw a clip whose snippets have, where the video is long enough, `rows_after` rows of it behind them."""
        epoch, index = key
        video, generator = self.videos[index], np.random.default_rng((self._seed, epoch, index))
        options = {"repeat_to": self._repeat_to, "after": rows_after, "generator": generator}
        rows = self._cut.rows(self._reader, video, self._shape, **options)
        stored = self._frames.read(video.video_id, rows)
        clip, view = self._augment(stored.pictures, stored.places, generator)
        target = self._target(video, view.mirrored)
        return DrawnClip(as_clip(clip, self._normalized), target, rows, stored.pts_seconds, stored.frame_size, view)

    def _target(self, video: StoredVideo, mirrored: bool) -> Tensor:
        labels = video.labels
        if mirrored and self._mirror_labels is not None:
            labels = tuple(self._mirror_labels[label] for label in labels)
        return target_of(labels, self._info.multi_label, len(self._info.class_names))


def split_videos(reader: ShardReader, split: str) -> tuple[StoredVideo, ...]:
    """Return the videos of one split.

    Args:
        reader: The shards.
        split: "train", "val", "test", or what else the data set calls its splits.

    Returns:
        Those that have stored rows, in order of identifier.

    Raises:
        InputError: There is none; the message counts the videos of every split.
    """
    videos = tuple(video for video in reader.videos if video.split == split)
    if not videos:
        counts = Counter(video.split for video in reader.videos)
        stored = ", ".join(f"{counts[name]} in {name!r}" for name in sorted(counts)) or "none at all"
        raise InputError(
            f"no video of the split {split!r} has frames in the {reader.info.name} shards (stored: {stored}); name one "
            "of these as `split` of the training or of the test, or extract that split too.",
            key=split,
        )
    return videos


def target_of(labels: tuple[int, ...], multi_label: bool, num_classes: int) -> Tensor:
    """Return what a network is to learn of a video.

    Args:
        labels: Its class numbers; at least one where there is one a video.
        multi_label: Whether a video can have several.
        num_classes: How many classes there are.

    Returns:
        The class number int64 (), or for multi-label data 0 and 1, float32 (num_classes,).

    >>> target_of((2,), False, 4), target_of((0, 2), True, 4)
    (tensor(2), tensor([1., 0., 1., 0.]))
    """
    if not multi_label:
        return torch.tensor(labels[0])
    target = torch.zeros(num_classes)
    target[list(labels)] = 1
    return target
