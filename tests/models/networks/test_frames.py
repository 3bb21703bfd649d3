"""Networks over many frames: bounded memory at inference, clips and options that cannot be."""

from __future__ import annotations

import pytest
import torch

from tdn_data.models.networks.lstm import LSTM
from tdn_data.models.networks.pooling import ConvPooling, LatePooling, LocalPooling, SlowPooling, TimeConvolution

NARROW = {"num_classes": 4, "backbone": "resnet18", "width": 8}
HEADS = dict.fromkeys((ConvPooling, LatePooling, SlowPooling, LocalPooling, TimeConvolution), {"hidden": 16})
HEADS[LSTM] = {"num_cells": 16, "num_layers": 2}
every_kind = pytest.mark.parametrize("kind", HEADS)


def build(kind, **options):
    torch.manual_seed(0)
    return kind(**{**NARROW, **HEADS[kind], **options}).eval()


@every_kind
def test_120_frames_at_inference_pass_the_backbone_a_few_at_a_time_and_give_the_same_scores(kind):
    network, sizes = build(kind, frames_at_once=7), []
    x = torch.randn(1, 120, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network.backbone.conv1.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    with torch.no_grad():
        chunked = network(x)
        assert max(sizes) == 7 and sum(sizes) == 120
        network.frames_at_once = 120
        torch.testing.assert_close(network(x), chunked)


@every_kind
def test_in_training_all_frames_pass_the_backbone_at_once(kind):
    network, sizes = build(kind, frames_at_once=7).train(), []
    network.backbone.conv1.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    network(torch.zeros(2, 12, 1, 3, 32, 32))
    assert sizes == [24]


@every_kind
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_segments": 0}, "num_segments is 0; it must be at least 1"),
        ({"frames_at_once": -1}, "frames_at_once is -1; it must be at least 1"),
        ({"modality": "sound"}, "modality is 'sound'; known modalities: rgb, flow"),
    ],
)
def test_wrong_options_are_named(kind, options, message):
    with pytest.raises(ValueError, match=message):
        build(kind, **options)


@every_kind
def test_a_wrong_clip_is_named(kind):
    with pytest.raises(ValueError, match=r"clip has shape \(2, 3, 1, 2, 32, 32\)"):
        build(kind)(torch.zeros(2, 3, 1, 2, 32, 32))
    with pytest.raises(ValueError, match="number of frames of the clip, is 0"):
        build(kind)(torch.zeros(2, 0, 1, 3, 32, 32))
