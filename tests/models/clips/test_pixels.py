"""Levels and what a network takes: one formula, from a table or on a device, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tdn_data.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from tdn_data.models.clips.pixels import levels, normalize, normalize_batch
from tdn_data.models.weights.trained_on import NORMALIZATION


def test_normalisation_is_imagenets_for_rgb_and_centred_for_flow() -> None:
    white = normalize(np.full((1, 1, 2, 2, 3), 255, np.uint8))[0, 0, :, 0, 0]
    torch.testing.assert_close(white, (1 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD))
    assert normalize(np.full((1, 1, 2, 2, 2), 128, np.uint8)).abs().max() < 0.01


@pytest.mark.parametrize(("modality", "channels"), [("rgb", 3), ("flow", 2)])
def test_the_table_and_the_batch_give_the_formula_to_the_last_bit(modality: str, channels: int) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (2, 3, 17, 19, channels), dtype=np.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in NORMALIZATION[modality])
    expected = (torch.from_numpy(clip).permute(0, 1, 4, 2, 3).float() / 255 - mean) / std
    assert torch.equal(normalize(clip), expected)
    batch = torch.from_numpy(np.stack([clip, clip[::-1]]))
    assert torch.equal(normalize_batch(batch), torch.stack([expected, expected.flip(0)]))
    assert normalize(clip).is_contiguous() and normalize_batch(batch).is_contiguous()


@pytest.mark.parametrize("channels", [2, 3])
def test_every_level_comes_back(channels: int) -> None:
    clip = np.arange(256, dtype=np.uint8).repeat(channels).reshape(1, 1, 16, 16, channels)
    np.testing.assert_array_equal(levels(normalize(clip)), clip)


def test_a_reversed_clip_is_normalised_as_it_lies() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (1, 2, 5, 6, 3), dtype=np.uint8)
    assert torch.equal(normalize(clip[..., ::-1, :]), normalize(clip).flip(-1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
def test_a_batch_on_a_gpu_is_normalised_there() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (1, 1, 8, 8, 3), dtype=np.uint8)
    batch = normalize_batch(torch.from_numpy(clip).cuda())
    assert batch.is_cuda and torch.equal(batch.cpu(), normalize(clip))
