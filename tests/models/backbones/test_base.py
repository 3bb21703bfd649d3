"""What holds for every backbone that is made of named layers, and the conversion of first layers."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from tdn_data.models.backbones import build_backbone
from tdn_data.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD, convert_first_layer, fold_input

# name -> multiply-adds for one 224 x 224 image, as counted on the public implementations
MULTIPLY_ADDS = {
    "bninception": 2_032_600_064,
    "googlenet": 1_498_376_192,
    "vgg16": 15_470_264_320,
    "alexnet": 714_188_480,
}


@pytest.fixture(params=MULTIPLY_ADDS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def abstract(name: str, **options: object) -> torch.nn.Module:
    """The network without memory for its weights: enough for names, shapes and costs."""
    with torch.device("meta"):
        return build_backbone(name, **options).eval()


@functools.cache
def real(name: str) -> torch.nn.Module:
    """The network with random weights, in evaluation mode; shared by the tests, which leave it as it is."""
    torch.manual_seed(0)
    return build_backbone(name, num_classes=5).eval()


def test_names_and_shapes_are_the_published_ones(name, reference):
    found = {key: list(value.shape) for key, value in abstract(name).state_dict().items()}
    assert found == reference.shapes[name]


def test_cost_is_the_published_one(name):
    network, counter = abstract(name), FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.empty(1, 3, 224, 224, device="meta"))
    assert counter.get_total_flops() == 2 * MULTIPLY_ADDS[name]


def test_taps_stand_right_before_each_drop_of_resolution(name):
    network = abstract(name)
    features = network.forward_features(torch.empty(1, 3, 224, 224, device="meta"))
    heights = [(layer, feature.shape[2]) for layer, feature in features.items()]
    drops = [layer for (layer, height), (_, after) in itertools.pairwise(heights) if after < height]
    assert network.taps == tuple(drops)
    assert features[heights[-1][0]].shape[1] == network.num_features


def test_layers_one_by_one_equal_the_whole(name):
    network, x = real(name), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = network.forward_features(x)
        expected = network(x)
    assert torch.equal(network.head([*features.values()][-1]), expected)
    assert expected.shape == (2, 5)
    # a layer's map is not written over by the layers after it
    again = network.forward_features(x, until=network.taps[1])
    assert [*again] == [*features][: len(again)] and [*again][-1] == network.taps[1]
    assert all(torch.equal(again[key], features[key]) for key in again)
    with torch.no_grad():
        assert torch.equal(network.feature_map(x, network.taps[1]), again[network.taps[1]])


def test_an_image_scores_the_same_alone_and_in_a_batch(name):
    network, x = real(name), torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter(name):
    network = abstract(name).train()
    network(torch.empty(2, 3, 64, 64, device="meta")).sum().backward()
    assert not [key for key, value in network.named_parameters() if value.grad is None]


def test_other_channels_and_copies(name):
    network = abstract(name, num_classes=7, in_channels=10)
    assert network(torch.empty(2, 10, 64, 64, device="meta")).shape == (2, 7)
    assert copy.deepcopy(network).layers()[0][0] == network.layers()[0][0]
    assert pickle.loads(pickle.dumps(network)).taps == network.taps


def test_unknown_layer_names_the_known_ones():
    network = abstract("alexnet")
    with pytest.raises(ValueError, match="layer is 'conv9'; layers of AlexNet: conv1, pool1"):
        network.forward_features(torch.empty(1, 3, 64, 64, device="meta"), until="conv9")


def test_first_layer_is_averaged_and_repeated():
    weight = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])[:, :, None, None]
    converted = convert_first_layer(weight, 10)
    assert converted.shape == (2, 10, 1, 1)
    assert torch.equal(converted.flatten(1), torch.tensor([[3.0], [1.0]]).expand(2, 10))
    assert convert_first_layer(weight, 3) is weight
    with pytest.raises(ValueError, match="in_channels is 0"):
        convert_first_layer(weight, 0)


def test_folded_input_gives_the_same_response():
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(4, 3, 3, 3, generator=generator), torch.randn(1, 3, 8, 8, generator=generator)
    gain, offset = torch.tensor([2.0, 0.5, 1.0]), torch.tensor([1.0, -3.0, 0.0])
    folded, shift = fold_input(weight, gain=gain, offset=offset)
    expected = F.conv2d(gain[:, None, None] * x + offset[:, None, None], weight)
    torch.testing.assert_close(F.conv2d(x, folded, shift), expected, rtol=1e-5, atol=1e-4)


def test_images_are_normalised_by_the_numbers_that_torchvisions_weights_were_trained_with():
    assert IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert IMAGENET_STD == (0.229, 0.224, 0.225)
