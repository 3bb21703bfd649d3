"""Feature pooling: where the maximum is taken, windows, growing from 1 to 120 frames."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tdn_data.models.backbones import build_backbone
from tdn_data.models.networks.pooling import (
    ConvPooling,
    LatePooling,
    LocalPooling,
    SlowPooling,
    TimeConvolution,
    Towers,
    count_windows,
    pool_windows,
    resample_towers,
    stack_windows,
)

KINDS = (ConvPooling, LatePooling, SlowPooling, LocalPooling, TimeConvolution)
SMALL = {"num_classes": 4, "backbone": "resnet18", "width": 8, "hidden": 16}


def build(kind, **options):
    torch.manual_seed(0)
    return kind(**{**SMALL, **options}).eval()


def clip(num_frames, *, num_videos=2):
    return torch.randn(num_videos, num_frames, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("num_frames", "expected"), [(1, 1), (10, 1), (11, 2), (15, 2), (16, 3), (30, 5), (120, 23)])
def test_windows_of_ten_start_every_five_frames_until_the_last_is_covered(num_frames, expected):
    assert count_windows(num_frames) == expected
    assert 5 * (expected - 1) + 10 >= num_frames
    assert expected == 1 or 5 * (expected - 2) + 10 < num_frames


def test_a_window_gives_the_maximum_of_its_frames():
    frames = torch.tensor([3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])[None, :, None]
    assert pool_windows(frames)[0, :, 0].tolist() == [9, 9]
    assert pool_windows(frames[:, 6:])[0, :, 0].tolist() == [8]


def test_frames_that_a_window_lacks_are_repeated_from_the_start():
    frames = torch.arange(12.0)[None, :, None, None, None]
    assert stack_windows(frames)[0, :, :, 0, 0].tolist() == [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [5, 6, 7, 8, 9, 10, 11, 0, 1, 2],
    ]
    assert stack_windows(frames[:, :3])[0, 0, :, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


def test_each_kind_pools_where_the_dissertation_says():
    """The five formulas written down a second time, on the frames' vectors."""
    frames, x = 17, clip(17)
    for kind in KINDS[:4]:
        network = build(kind, num_segments=frames)
        first, second = network.tail[0], network.tail[3]
        vectors = build_vectors(network, x)
        windows = torch.stack([vectors[:, 0:10].amax(1), vectors[:, 5:15].amax(1), vectors[:, 10:17].amax(1)], 1)
        if kind is ConvPooling:
            expected = network.tail[6](second(first(vectors.amax(1)).relu()).relu())
        elif kind is LatePooling:
            expected = network.tail[6](second(first(vectors).relu()).relu().amax(1))
        elif kind is SlowPooling:
            expected = network.tail[6](second(first(windows).relu().amax(1)).relu())
        else:
            towers = network.tail[6]
            hidden = second(first(windows).relu()).relu()
            expected = sum(hidden[:, w] @ towers.weight[w].T for w in range(3)) + towers.bias
        torch.testing.assert_close(network(x), expected)


def build_vectors(network, x):
    images = x[:, :, 0].flatten(0, 1)
    return network.backbone.forward_features(images)["res5"].mean((2, 3)).unflatten(0, x.shape[:2])


def test_time_domain_convolution_is_a_three_dimensional_one_over_ten_frames_with_stride_five():
    network, x = build(TimeConvolution), clip(20)
    maps = network.backbone.forward_features(x[:, :, 0].flatten(0, 1))["res5"].unflatten(0, (2, 20))
    kernel = network.convolution.weight.unflatten(1, (10, 64)).transpose(1, 2)  # (256, 64, 10, 3, 3)
    assert kernel.shape == (256, 64, 10, 3, 3)
    y = F.conv3d(maps.transpose(1, 2), kernel, network.convolution.bias, stride=(5, 1, 1), padding=(0, 1, 1))
    vector = y.relu().mean((3, 4)).amax(2)
    expected = network.tail[6](network.tail[3](network.tail[0](vector).relu()).relu())
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)


def test_one_frame_of_alexnet_conv_pooling_is_alexnet_and_its_layers_take_alexnet_files():
    torch.manual_seed(0)
    alexnet = build_backbone("alexnet", num_classes=4).eval()
    network = ConvPooling(num_classes=4, backbone="alexnet", num_segments=1).eval()
    network.backbone.load_state_dict(alexnet.state_dict())
    x = torch.randn(2, 1, 1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), alexnet(x[:, 0, 0]))
        assert network.fc(1, network.fc(0, torch.randn(1, 9216))).shape == (1, 4096)
    assert [layer.p for layer in network.backbone.classifier if isinstance(layer, torch.nn.Dropout)] == [0.6, 0.6]


def test_googlenet_conv_pooling_adds_two_layers_of_4096():
    network = ConvPooling(num_classes=4)
    assert [tuple(layer.weight.shape) for layer in network.tail if hasattr(layer, "weight")] == [
        (4096, 1024),
        (4096, 4096),
        (4, 4096),
    ]
    assert not any(name.startswith("backbone.fc") for name in network.state_dict())


@pytest.mark.parametrize("kind", (ConvPooling, LatePooling, SlowPooling))
def test_pooling_does_not_see_the_order_of_frames(kind):
    network, x = build(kind), clip(10)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(network(x), network(x[:, order]))


@pytest.mark.parametrize("kind", KINDS)
def test_expansion_from_1_to_30_to_120_frames_keeps_the_weights_and_a_still_video_its_scores(kind):
    single = build(kind, num_segments=1)
    x = clip(1)
    with torch.no_grad():
        expected = single(x)
        thirty = single.expand(30)
        long = thirty.expand(120)
        assert (single.num_segments, thirty.num_segments, long.num_segments) == (1, 30, 120)
        torch.testing.assert_close(thirty(x.expand(-1, 30, -1, -1, -1, -1)), expected)
        torch.testing.assert_close(long(x.expand(-1, 120, -1, -1, -1, -1)), expected)
    before, after = single.state_dict(), long.state_dict()
    changed = (
        [name for name in before if not torch.equal(before[name], after[name])] if kind is not LocalPooling else []
    )
    assert before.keys() == after.keys() and changed == []


def test_weights_of_a_30_frame_local_pooling_load_into_a_120_frame_one():
    thirty = build(LocalPooling, num_segments=30)
    long = build(LocalPooling, num_segments=120)
    long.load_state_dict(thirty.state_dict())
    assert thirty.tail[6].weight.shape == (5, 4, 16) and long.tail[6].weight.shape == (23, 4, 16)
    x = clip(120, num_videos=1)
    with torch.no_grad():
        torch.testing.assert_close(long(x), thirty(x))


def test_other_numbers_of_windows_take_the_nearest_tower():
    towers = Towers(3, 2, 2)
    x = torch.randn(1, 4, 3)
    expected = (x[:, :2].mean(1) @ towers.weight[0].T + x[:, 2:].mean(1) @ towers.weight[1].T) + towers.bias
    torch.testing.assert_close(towers(x), expected)
    torch.testing.assert_close(towers.resize(4)(x), expected)


@pytest.mark.parametrize("num_frames", (1, 4, 13))
@pytest.mark.parametrize("kind", KINDS)
def test_a_video_of_any_length_passes(kind, num_frames):
    assert build(kind)(clip(num_frames)).shape == (2, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "alexnet", "hidden": 64}, "hidden is 64; the fully connected layers of alexnet have 4096"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ConvPooling(**{"num_classes": 4, **options})


def test_flow_has_two_channels_and_snippets_of_several_frames_are_stacked():
    assert build(ConvPooling, modality="flow")(torch.zeros(1, 3, 1, 2, 32, 32)).shape == (1, 4)
    assert build(ConvPooling, snippet_length=5)(torch.zeros(1, 3, 5, 3, 32, 32)).shape == (1, 4)


@pytest.mark.parametrize(
    ("num_towers", "num_windows", "expected"),
    [(3, 2, [0, 2]), (2, 4, [0, 0, 1, 1]), (2, 3, [0, 1, 1]), (5, 1, [2]), (4, 6, [0, 1, 1, 2, 3, 3])],
)
def test_a_window_takes_the_tower_over_its_own_middle(num_towers, num_windows, expected):
    towers = torch.arange(float(num_towers)).reshape(num_towers, 1, 1)
    resampled = resample_towers(towers, num_windows) * (num_windows / num_towers)
    torch.testing.assert_close(resampled.flatten(), torch.tensor(expected, dtype=torch.float))


def test_average_and_a_fully_connected_layer_pool_in_place_of_the_maximum():
    x = clip(3)
    average = build(ConvPooling, num_segments=3, pooling="average")
    maps = average.over_frames(average.frame_maps, x)
    torch.testing.assert_close(average.combine(maps), average.combine(maps.mean(1, keepdim=True)))
    layer = build(ConvPooling, num_segments=3, pooling="fully_connected")
    assert layer.tail[0].in_features == 3 * average.tail[0].in_features and layer(x).shape == (2, 4)
    assert not torch.allclose(layer(x), layer(x.flip(1)))  # a weight for each frame: order counts
    with pytest.raises(ValueError, match="clip has 2 frames; this network's pooling layer reads 3"):
        layer(x[:, :2])
    with pytest.raises(ValueError, match="pooling is 'sum'; known poolings: max, average, fully_connected"):
        build(ConvPooling, pooling="sum")
