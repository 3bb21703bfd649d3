"""The three branches on shared features: truths about motion and change, pooling over time, map sizes, options."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tdn_data.models.backbones import BNInception
from tdn_data.models.networks.cost import model_cost
from tdn_data.models.networks.disentangled import Disentangled, fit_motion, pool_time


def build(**options):
    torch.manual_seed(0)
    return Disentangled(**{"num_classes": 4, **options}).eval()


def clip(num_frames=4, *, num_videos=1, num_snippets=1, size=64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_videos, num_snippets, num_frames, 3, size, size, generator=generator)


def moving(shift, *, num_frames=3, size=64):
    """Noise that moves by `shift` pixels (down, right) from frame to frame."""
    image = clip(1, size=size)[:, :, 0]
    return torch.stack([image.roll((t * shift[0], t * shift[1]), (3, 4)) for t in range(num_frames)], 2)


@pytest.fixture(scope="module")
def network():
    return build(temperature=1e-3)


def test_each_branch_gives_1024_numbers_and_scores_are_their_mean(network):
    x = clip(num_videos=2, num_snippets=2)
    with torch.no_grad():
        vectors, streams, scores = network.branch_features(x), network.forward_streams(x), network(x)
    assert {name: tuple(v.shape) for name, v in vectors.items()} == dict.fromkeys(
        ("appearance", "motion", "change"), (2, 2, 1024)
    )
    assert streams.keys() == vectors.keys()
    torch.testing.assert_close(scores, sum(streams.values()) / 3)


@pytest.mark.parametrize(("stride", "size"), [(2, 112), (1, 224)])
def test_maps_of_a_224_frame_have_112_or_224_places_a_side(stride, size):
    network = build(stride=stride, radius=1, branches=("motion",))
    with torch.no_grad():
        flow = network.flow(clip(2, size=224))
    assert flow.shape == (1, 1, 1, 2, size, size) and flow.isfinite().all()
    assert network.matching["radius"] == 1 and build(stride=stride).matching["radius"] == 8 // stride


@pytest.mark.parametrize("stride", (2, 1))
def test_frames_that_move_by_whole_places_give_that_flow(stride):
    network = build(stride=stride, temperature=1e-4, branches=("motion",))
    with torch.no_grad():
        flow = network.flow(moving((2, -4)))  # down, right
    inside = flow[..., 16 // stride : -16 // stride, 16 // stride : -16 // stride]
    assert (inside[:, :, :, 0] + 4).abs().max() < 1e-3 and (inside[:, :, :, 1] - 2).abs().max() < 1e-3


def test_frames_that_only_move_give_no_change_where_nothing_left_the_image(network):
    x = moving((2, -4))
    with torch.no_grad():
        low = network.low_level(x)
        changes = network.changes(low, network.displacements(low))
        plain = build(warped=False).changes(low, None)
    inside = (..., slice(8, -8), slice(8, -8))
    assert changes[inside].abs().max() < 1e-2 * plain[inside].abs().max()
    torch.testing.assert_close(plain, low[:, 1:] - low[:, :-1])


def smooth(shift, *, num_frames=3, size=64):
    """Noise that TV-L1 can follow, moving by `shift` pixels (down, right) from frame to frame."""
    image = F.interpolate(clip(1, size=size // 4)[0, 0], size=(size, size), mode="bicubic")
    return torch.stack([image[0].roll((t * shift[0], t * shift[1]), (1, 2)) for t in range(num_frames)])[None, None]


@pytest.mark.parametrize("stride", (2, 1))
@pytest.mark.parametrize("change_of", ("features", "frames"))
@pytest.mark.parametrize("motion_by", ("cost_volume", "tvl1"))
def test_rows_of_tables_4_and_6_warp_what_changes_by_either_motion(motion_by, change_of, stride):
    options = {"motion_by": motion_by, "change_of": change_of, "stride": stride, "temperature": 1e-3}
    network, x = build(**options), smooth((2, -4))
    with torch.no_grad():
        flow = network.flow(x)[..., 8:-8, 8:-8]
        assert (flow.flatten(4).median(-1).values - torch.tensor([-4.0, 2.0])).abs().max() < 0.1  # right, down
        frames = x.flatten(0, 1)
        low = network.low_level(x)
        maps = frames if change_of == "frames" else low
        changes = network.changes(maps, network._moved(frames, low))
        plain = build(**options, warped=False).changes(maps, None)
        assert network(x).shape == (1, 4)
    torch.testing.assert_close(plain, maps[:, 1:] - maps[:, :-1])
    inside = (..., slice(12, -12), slice(12, -12)) if maps.shape[-1] == 64 else (..., slice(8, -8), slice(8, -8))
    assert changes[inside].abs().mean() < 0.25 * plain[inside].abs().mean()
    assert changes.shape[2] == network.change.conv1_7x7_s2.weight.shape[1] == (3 if change_of == "frames" else 64)


@pytest.mark.parametrize("size", [(33, 46), (32, 47)])
def test_motion_of_half_and_of_whole_size_is_the_same_in_places(size):
    ramp = torch.arange(size[1], dtype=torch.float32).expand(1, 2, *size)
    half = fit_motion(ramp, [-(-side // 2) for side in size])
    assert torch.equal(half[0, 0, 0], ramp[0, 0, 0, ::2] / 2)
    last = size[1] - 1  # beyond the last place there is nothing to read between
    torch.testing.assert_close(fit_motion(half, size)[..., :last], ramp[..., :last])
    assert fit_motion(ramp, size) is ramp


def test_rgb_diff_and_tv_l1_alone_need_no_shared_layer_and_tv_l1_passes_no_gradient():
    network = build(branches=("motion", "change"), motion_by="tvl1", change_of="frames").train()
    assert not hasattr(network, "appearance")
    x = smooth((0, 2)).expand(2, -1, -1, -1, -1, -1)
    sum(scores[:, 0].sum() for scores in network.forward_streams(x).values()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.change_maps(x) == {} and network.flow(x).shape == (2, 1, 2, 2, 64, 64)
    plain = build(branches=("change",), warped=False, change_of="frames")
    assert not plain.gives_flow and network.gives_flow


def test_a_network_with_tv_l1_is_counted_without_computing_it_and_exports_whole():
    network = build(branches=("motion",), motion_by="tvl1", snippet_length=2)
    assert model_cost(network, (1, 3, 2, 3, 64, 64)).multiply_adds > 0
    x = smooth((0, 2), num_frames=2)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.export(network, (x,)).module()(x), network(x))


def test_equal_frames_give_neither_motion_nor_change(network):
    x = clip(1).expand(-1, -1, 4, -1, -1, -1)
    with torch.no_grad():
        low = network.low_level(x)
        moved = network.displacements(low)
        assert moved.abs().max() < 1e-4
        assert network.changes(low, moved).abs().max() < 1e-3


def test_time_is_pooled_by_the_maximum_of_two_frames():
    x = torch.tensor([5.0, 4, 2, 0, 3])[None, :, None, None, None]
    assert pool_time(x).flatten().tolist() == [5, 2, 3]
    assert pool_time(x[:, :1]).flatten().tolist() == [5]


def test_one_frame_of_appearance_is_bn_inception_at_either_stride():
    torch.manual_seed(0)
    backbone = BNInception(num_classes=4).eval()
    x = clip(1)
    with torch.no_grad():
        expected = F.adaptive_avg_pool2d(list(backbone.forward_features(x[0, 0]).values())[-1], 1).flatten(1)
        for stride, pooling in ((2, "gradual"), (1, "gradual"), (2, "late"), (1, "late")):
            network = build(stride=stride, pooling=pooling, branches=("appearance",))
            network.appearance.load_state_dict(backbone.state_dict())
            found = network.branch_features(x.expand(-1, -1, 8, -1, -1, -1))["appearance"][:, 0]
            assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_gradual_pooling_leaves_one_of_eight_frames_and_late_pooling_all():
    counts = {}
    for pooling in ("gradual", "late"):
        network = build(pooling=pooling, branches=("appearance",))
        sizes = []
        for name in ("inception_3a_1x1", "inception_4a_1x1", "inception_5b_1x1"):
            network.get_submodule(f"appearance.{name}").register_forward_hook(
                lambda *arguments, sizes=sizes: sizes.append(len(arguments[2]))
            )
        with torch.no_grad():
            network(clip(8))
        counts[pooling] = sizes
    assert counts == {"gradual": [4, 2, 1], "late": [8, 8, 8]}


def test_appearance_does_not_see_the_order_of_frames_under_late_pooling_and_motion_does():
    network = build(pooling="late")
    x = clip(4)
    with torch.no_grad():
        forward, backward = network.branch_features(x), network.branch_features(x.flip(2))
    torch.testing.assert_close(forward["appearance"], backward["appearance"])
    assert not torch.allclose(forward["motion"], backward["motion"])


def test_bn_inception_files_load_into_the_branches():
    torch.manual_seed(0)
    state, network = BNInception(num_classes=4).state_dict(), build()
    network.appearance.load_state_dict(state)
    names = {"motion": 2, "change": 64}
    for name, channels in names.items():
        branch = network.get_submodule(name)
        assert branch.state_dict().keys() == state.keys()
        assert branch.conv1_7x7_s2.weight.shape == (64, channels, 7, 7)


@pytest.mark.parametrize("branches", [("motion",), ("change",), ("motion", "change"), ("appearance", "change")])
def test_any_branches_can_be_left_out_without_weights_that_nothing_uses(branches):
    network = build(branches=branches).train()
    streams = network.forward_streams(clip(3, num_videos=2))
    sum(scores[:, 0].sum() for scores in streams.values()).backward()
    assert tuple(streams) == branches
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_hard_assignment_passes_no_gradient_and_gives_whole_places():
    network = build(assignment="hard", branches=("motion",))
    flow = network.flow(clip(2))
    assert not flow.requires_grad and torch.equal(flow, (flow / 2).round() * 2)


def test_a_video_scores_the_mean_of_its_snippets(network):
    x = clip(num_snippets=3)
    with torch.no_grad():
        torch.testing.assert_close(network(x), sum(network(x[:, [s]]) for s in range(3)) / 3, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"branches": ()}, r"branches is \(\); it must be one or more of: appearance, motion, change"),
        ({"branches": ("motion", "motion")}, "it must be one or more of"),
        ({"branches": ("sound",)}, r"branches is \('sound',\)"),
        ({"pooling": "early"}, "pooling is 'early'; this network takes 'gradual' or 'late'"),
        ({"stride": 4}, "stride is 4; this network takes 1 or 2"),
        ({"motion_by": "flownet"}, "motion_by is 'flownet'; this network takes 'cost_volume' or 'tvl1'"),
        ({"change_of": "edges"}, "change_of is 'edges'; this network takes 'features' or 'frames'"),
        ({"backbone": "resnet50"}, "backbone is 'resnet50'; this network takes 'bninception'"),
        ({"modality": "flow"}, "modality is 'flow'; this network takes 'rgb'"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be greater than 0"),
        ({"radius": 0}, "radius is 0; it must be at least 1"),
        ({"num_segments": 0}, "num_segments is 0; it must be at least 1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3, 64, 64), (1, 1, 4, 2, 64, 64), (1, 0, 4, 3, 64, 64), (1, 4, 3, 64, 64)])
def test_a_wrong_clip_is_named(network, shape):
    with pytest.raises(ValueError, match="clip has shape .* K at least 2"):
        network(torch.zeros(shape))


@pytest.mark.parametrize("stride", (2, 1))
@pytest.mark.parametrize("sides", [(32, 48), (75, 58)])
def test_frames_need_not_be_multiples_of_32(stride, sides):
    network = build(stride=stride, radius=2)
    x = clip(3, size=96)[..., : sides[0], : sides[1]]
    with torch.no_grad():
        scores, flow = network(x), network.flow(x)
    assert scores.shape == (1, 4) and scores.isfinite().all()
    assert flow.shape == (1, 1, 2, 2, *(-(-side // stride) for side in sides)) and flow.isfinite().all()


def test_a_frame_too_small_to_be_halved_five_times_is_named(network):
    with pytest.raises(ValueError, match="clip has frames of 64 x 31; expected at least 32 x 32"):
        network(clip(size=64)[..., :31])


def test_dropout_is_on_what_the_classifiers_read_and_in_training_only():
    network = build(dropout=1.0, branches=("appearance", "change"))
    with torch.no_grad():
        tested = network.forward_streams(clip(2))
        trained = network.train().forward_streams(clip(2))
    for name, scores in trained.items():
        bias = network.get_submodule(name).last_linear.bias
        torch.testing.assert_close(scores[0], bias)
        assert not torch.allclose(tested[name][0], bias)
