"""Receptive fields: published sizes, and what a network's output does and does not depend on."""

from __future__ import annotations

import pytest
import torch

from tdn_data.models.backbones import build_backbone
from tdn_data.models.backbones.receptive_field import ReceptiveField, receptive_field


# sizes and strides of Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019
@pytest.mark.parametrize(
    ("name", "layer", "size", "stride"),
    [
        ("alexnet", "pool5", 195, 32),
        ("vgg16", "pool5", 212, 32),
        ("bninception", "inception_5b", 699, 32),
        ("resnet18", "res2", 43, 4),
    ],
)
def test_sizes_are_the_published_ones(name, layer, size, stride):
    field = receptive_field(build_backbone(name).eval(), layer, 64)
    assert (field.size, field.stride) == (size, stride)


def test_a_field_is_counted_window_by_window():
    field = ReceptiveField().through(7, 2, 3).through(3, 2, 0).through(3, 1, 2, dilation=2)
    assert field == ReceptiveField(stride=4, start=-11, stop=16)
    assert [field.centre(place) for place in (0, 3)] == [2.5, 14.5]


@pytest.mark.parametrize(("name", "layer"), [("googlenet", "inception3a"), ("resnet18", "res3"), ("alexnet", "conv3")])
def test_a_place_depends_on_its_field_to_the_last_pixel_and_on_nothing_else(name, layer):
    torch.manual_seed(0)
    network = build_backbone(name).double().eval()
    image = torch.randn(1, 3, 192, 192, dtype=torch.float64, requires_grad=True)
    features = network.feature_map(image, layer)
    field, place = receptive_field(network, layer, 192), features.shape[-1] // 2
    features[0, :, place, place].square().sum().backward()
    seen = torch.nonzero(image.grad[0].abs().sum((0, 1))).flatten()
    assert seen.min() >= field.start + place * field.stride and seen.max() < field.stop + place * field.stride
    # the outermost pixels win few maxima
    assert len(seen) >= 0.8 * field.size
