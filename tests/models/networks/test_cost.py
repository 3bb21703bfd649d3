"""Costs against hand counts and against the published numbers of whole networks."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from tdn_data.models import build_model
from tdn_data.models.networks.cost import Cost, default_clip_shape, model_cost


class Small(nn.Module):
    """A network whose cost is easily counted by hand."""

    num_segments, in_channels = 2, 3

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.classifier = nn.Linear(6, 4)

    def forward(self, clip):
        x = self.norm(self.convolution(clip.flatten(0, 2)))
        return self.classifier(x.mean((2, 3)))


def test_convolutions_and_matrix_products_count_and_nothing_else():
    # 2 frames; each of 4 x 4 x 6 outputs sees 9 pixels of its group's one channel; then 6 x 4 for the scores
    assert model_cost(Small(), (1, 2, 1, 3, 8, 8)) == Cost(6 * 9 + 12 + 28, 2 * (4 * 4 * 6 * 9 + 6 * 4))


def test_counting_leaves_the_network_as_it_was():
    model = Small().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model_cost(model, (1, 2, 1, 3, 8, 8))
    assert model.training and not any(module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("shape", [(2, 1, 3, 8, 8), (1, 2, 0, 3, 8, 8)])
def test_a_shape_that_is_no_clip_is_refused(shape):
    with pytest.raises(ValueError, match=r"clip_shape is .*expected six numbers from 1"):
        model_cost(Small(), shape)


def test_a_clip_that_the_network_does_not_take_is_refused_as_in_a_real_run():
    model = build_model("tsn", num_classes=2, backbone="resnet18", width=8)
    with pytest.raises(ValueError, match="expected .* 3 channels"):
        model_cost(model, (1, 2, 1, 2, 32, 32))


@pytest.mark.parametrize(("num_segments", "giga"), [(8, 35.6), (16, 71.3)])
def test_tdn_costs_what_its_paper_says(num_segments, giga, shared_reference):
    golden = json.loads((shared_reference / "golden.json").read_text())["mcg_nju_tdn_resnet50"]
    model = build_model("tdn_wang", num_classes=174, num_segments=num_segments)
    cost = model_cost(model, default_clip_shape(model))
    assert cost.multiply_adds == round(golden["gmacs_per_video"] * 1e9) * num_segments // 8
    assert round(cost.multiply_adds / 1e9, 1) == giga
    assert round(cost.parameters / 1e6, 1) == 24.4


@pytest.mark.parametrize(
    ("options", "giga"),
    [
        ({"short_term": (), "long_term": ()}, 33),
        ({}, 36),
        ({"short_term": ("conv1", "res2", "res3"), "long_term": ("res4", "res5")}, 38),
    ],
)
def test_tdn_costs_grow_over_its_stages_as_in_table_5(options, giga):
    with torch.device("meta"):
        model = build_model("tdn_wang", num_classes=174, **options)
    # the paper's numbers are whole
    assert model_cost(model, default_clip_shape(model)).multiply_adds / 1e9 == pytest.approx(giga, abs=0.6)


@pytest.mark.parametrize("name", ["tsn", "lstm"])
def test_default_clips_are_those_a_network_takes(name):
    model = build_model(name, num_classes=2, backbone="resnet18", width=8, num_segments=3)
    assert default_clip_shape(model, num_videos=2, size=64) == (2, 3, 1, 3, 64, 64)
    cost = model_cost(model, default_clip_shape(model, size=64))
    assert cost.parameters == sum(p.numel() for p in model.parameters()) and cost.multiply_adds > 3 * 2e6
