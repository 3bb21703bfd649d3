"""Stored levels, 0 to 255, as what a network takes: RGB by ImageNet's mean and deviation, flow around 0.

    (level / 255 - mean) / deviation        float32, for each channel

A loader that gives levels moves a quarter of the bytes and leaves the arithmetic to the device of the network, where
`normalize_batch` does it; `normalize` does the same to a clip in memory, from a table of all 256 levels. Both round
alike.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from tdn_data.models.weights.trained_on import NORMALIZATION

MODALITIES = {3: "rgb", 2: "flow"}  # by the number of channels


def as_clip(clip: np.ndarray, normalized: bool) -> Tensor:
    """Return uint8 (S, K, H, W, C) as a tensor, normalised or as it is."""
    return normalize(clip) if normalized else torch.from_numpy(clip)


def normalize(clip: np.ndarray) -> Tensor:
    """Return uint8 (S, K, H, W, C) as float32 (S, K, C, H, W), normalised."""
    tables, (height, width, channels) = _tables(clip.shape[-1]), clip.shape[2:]
    out = np.empty((*clip.shape[:2], channels, height, width), np.float32)
    for picture, planes in zip(clip.reshape(-1, height, width, channels), out.reshape(-1, *out.shape[2:]), strict=True):
        for plane, table, target in zip(cv2.split(np.ascontiguousarray(picture)), tables, planes, strict=True):
            cv2.LUT(plane, table, dst=target)
    return torch.from_numpy(out)


def normalize_batch(clips: Tensor) -> Tensor:
    """Return uint8 (..., H, W, C) as float32 (..., C, H, W), normalised on the device that it lies on."""
    mean, std = (torch.tensor(values, device=clips.device) for values in NORMALIZATION[MODALITIES[clips.shape[-1]]])
    scaled = torch.empty((*clips.shape[:-3], clips.shape[-1], *clips.shape[-3:-1]), device=clips.device)
    scaled.copy_(clips.movedim(-1, -3))
    return scaled.div_(255).sub_(mean[:, None, None]).div_(std[:, None, None])


def levels(clips: Tensor) -> np.ndarray:
    """Return normalised float32 (..., C, H, W) as the levels that they stand for, uint8 (..., H, W, C)."""
    mean, std = (torch.tensor(values)[:, None, None] for values in NORMALIZATION[MODALITIES[clips.shape[-3]]])
    scaled = (clips.detach().float().cpu() * std + mean) * 255
    return scaled.round().clamp(0, 255).to(torch.uint8).movedim(-3, -1).contiguous().numpy()


@lru_cache
def _tables(channels: int) -> tuple[np.ndarray, ...]:
    """Return for each channel what every level becomes, float32 (256,)."""
    every = torch.arange(256, dtype=torch.uint8).expand(channels, 256).T.reshape(1, 256, channels)
    return tuple(np.ascontiguousarray(table.reshape(256)) for table in normalize_batch(every).numpy())
