"""Batches of clips read from shards, for timing a network together with the reading of what it sees."""

from __future__ import annotations

from itertools import cycle

import torch
from torch import Tensor

from tdn_data.models.clips.augment import Augment
from tdn_data.models.clips.dataset import ClipDataset
from tdn_data.models.clips.pixels import normalize_batch
from tdn_data.models.networks.base import ClipShape
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import ShardReader


class StoredClips:
    """Centre crops of the videos of a reader's first split, in turn; nothing decoded is kept.

    Args:
        reader: Shards of frames.
        shape: (N, S, K, C, H, W) of a batch; C is 3.
        device: Where a batch is to lie.

    Raises:
        InputError: No frames are stored, they are smaller than a crop, or the network reads other channels.
    """

    def __init__(self, reader: ShardReader, shape: tuple[int, ...], device: str) -> None:
        count, num_segments, snippet_length, channels, size, _ = shape
        if channels != 3:
            raise InputError(f"shards of frames have 3 channels; the network reads {channels}.", key="loading")
        if not reader.videos:
            raise InputError("the shards hold no frames of any video; `tdn-data status` says why.", key="loading")
        clip_shape, crop = ClipShape(num_segments, snippet_length, size), Augment(size, "center")
        options = {"shape": clip_shape, "augment": crop, "normalized": False, "cache_bytes": 0}
        self._dataset = ClipDataset(reader, split=reader.videos[0].split, **options)
        self._places, self._count, self._device = cycle(range(len(self._dataset))), count, device
        try:
            self._dataset[0, 0]
        except ValueError as error:  # of a crop that does not fit
            raise InputError(f"{error}; give shards of larger frames, or a smaller --size.", key="loading") from error

    def __call__(self) -> Tensor:
        """Return the next clips, float32 (N, S, K, C, H, W) on the device."""
        clips = [self._dataset[0, next(self._places)][0] for _ in range(self._count)]
        return normalize_batch(torch.stack(clips).to(self._device))
