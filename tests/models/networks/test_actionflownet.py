"""ActionFlowNet and the two-frame networks: sizes of chapter 4, losses written down again, decoder and classifier."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tdn_data.models.backbones.resnet import resnet18
from tdn_data.models.backbones.resnet3d import extend_to_time
from tdn_data.models.networks.actionflownet import (
    ActionFlowNet,
    ActionFlowNet2F,
    FlowNet,
    Stacked,
    summed_end_point_error,
)

KINDS = (ActionFlowNet, ActionFlowNet2F, Stacked)


def build(kind, **options):
    torch.manual_seed(0)
    short = {"snippet_length": 4} if kind is ActionFlowNet else {}
    return kind(**{"num_classes": 4, "width": 4, **short, **options}).eval()


def clip(network, *, num_videos=2, num_snippets=1, size=64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num_videos, num_snippets, network.snippet_length, 3, size, size, generator=generator)


def true_flow(network, x):
    fields = network.snippet_length if isinstance(network, ActionFlowNet) else 1
    shape = (*x.shape[:2], fields, 2, *x.shape[-2:])
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def test_the_encoder_has_the_dissertations_sizes():
    with torch.device("meta"):
        maps = extend_to_time(resnet18()).forward_features(torch.empty(1, 3, 16, 224, 224))
    assert {name: tuple(x.shape[1:]) for name, x in maps.items()} == {
        "conv1": (64, 16, 56, 56),
        "res2": (64, 16, 56, 56),
        "res3": (128, 8, 28, 28),
        "res4": (256, 4, 14, 14),
        "res5": (512, 2, 7, 7),
    }


def test_every_kernel_spans_three_frames_and_time_is_never_pooled():
    with torch.device("meta"):
        network = extend_to_time(resnet18())
    modules = dict(network.named_modules())
    kernels = {name: x for name, x in modules.items() if isinstance(x, torch.nn.Conv3d)}
    assert len(kernels) == 20 and {x.kernel_size[0] for x in kernels.values()} == {3}
    halving = {name for name, x in kernels.items() if x.stride[0] == 2}
    assert halving == {f"layer{n}.0.{part}" for n in (2, 3, 4) for part in ("conv1", "downsample.0")}
    assert modules["maxpool"].kernel_size == (1, 3, 3) and modules["maxpool"].stride == (1, 2, 2)
    assert not any(isinstance(x, (torch.nn.Conv2d, torch.nn.BatchNorm2d)) for x in modules.values())


def test_sixteen_frames_give_sixteen_flow_fields():
    with torch.device("meta"):
        network = ActionFlowNet(num_classes=4)
        x = torch.empty(1, 1, 16, 3, 224, 224)
        assert network(x).shape == (1, 4)
        assert network.flow(x).shape == (1, 1, 16, 2, 56, 56)
        assert len(network.flow_scales(x)) == 1


@pytest.mark.parametrize("kind", (ActionFlowNet2F, Stacked))
def test_two_frames_give_one_flow_field_at_four_scales(kind):
    with torch.device("meta"):
        network = kind(num_classes=4)
        x = torch.empty(1, 1, 2, 3, 224, 224)
        assert [flow.shape[2:] for flow in network.flow_scales(x)] == [(1, 2, s, s) for s in (7, 14, 28, 56)]
        assert network.flownet.encoder.conv1.in_channels == 6


def test_the_multitask_network_has_about_half_the_parameters_of_the_stacked_one():
    with torch.device("meta"):
        counts = [sum(p.numel() for p in kind(num_classes=101).parameters()) for kind in (ActionFlowNet2F, Stacked)]
    assert 0.5 < counts[0] / counts[1] < 0.6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", (64, 56))  # 56 is 28, 14, 7, 4, 2 on its way down
def test_any_size_of_frame_gives_flow_at_a_quarter(kind, size):
    network = build(kind)
    x = clip(network, num_snippets=2, size=size)
    fields = network.snippet_length if kind is ActionFlowNet else 1
    assert network(x).shape == (2, 4)
    assert network.flow(x).shape == (2, 2, fields, 2, size // 4, size // 4)


@pytest.mark.parametrize("kind", (ActionFlowNet, ActionFlowNet2F))
def test_scores_stay_the_same_without_the_decoder(kind):
    network = build(kind)
    x, weights = clip(network), network.state_dict()
    with torch.no_grad():
        expected = network(x)
        assert torch.equal(network.remove_decoder()(x), expected)
        bare = build(kind, decoder=False)
        bare.load_state_dict(weights)
        assert torch.equal(bare(x), expected)
    assert any("decoder" in name for name in weights)
    assert not any("decoder" in name for name in (*network.state_dict(), *bare.state_dict()))
    with pytest.raises(ValueError, match="decoder is None; it was removed"):
        network.flow(x)


def test_scores_do_not_run_the_decoder():
    network, runs = build(ActionFlowNet), []
    network.flownet.decoder.register_forward_hook(lambda *_: runs.append("decoder"))
    network(clip(network))
    assert runs == []
    network.flow(clip(network))
    assert runs == ["decoder"]


def test_summed_end_point_error_is_the_sum_of_distances():
    torch.manual_seed(0)
    flow, truth = torch.randn(1, 2, 3, 2, 4, 4), torch.randn(1, 2, 3, 2, 4, 4)
    expected = ((flow - truth) ** 2).sum(3).sqrt().sum()
    torch.testing.assert_close(summed_end_point_error(flow, truth), expected)
    coarse = F.interpolate(truth.flatten(0, 2), scale_factor=4, mode="nearest").unflatten(0, (1, 2, 3))
    torch.testing.assert_close(summed_end_point_error(flow, coarse), expected)


def test_unknown_places_of_the_true_flow_do_not_count():
    flow, truth = torch.zeros(1, 1, 1, 2, 2, 2, requires_grad=True), torch.full((1, 1, 1, 2, 2, 2), 3.0)
    truth[..., 1, :, :] = 4
    truth[..., 0, 0] = torch.nan
    error = summed_end_point_error(flow, truth)
    error.backward()
    assert error.item() == 15 and flow.grad.isfinite().all() and flow.grad[..., 0, 0].abs().max() == 0


def test_a_perfect_flow_has_finite_gradients():
    flow = torch.ones(1, 1, 1, 2, 2, 2, requires_grad=True)
    summed_end_point_error(flow, torch.ones(1, 1, 1, 2, 2, 2)).backward()
    assert flow.grad.isfinite().all()


def test_the_joint_loss_of_many_frames_is_equation_4_2():
    network = build(ActionFlowNet, flow_weight=0.25)
    x, labels = clip(network), torch.tensor([1, 3])
    truth = true_flow(network, x)
    quarter = F.avg_pool2d(truth.flatten(0, 2), 4).unflatten(0, truth.shape[:3])
    flow_loss = (network.flow(x) - quarter).norm(dim=3).sum() / 2
    torch.testing.assert_close(network.flow_losses(x, truth).total, flow_loss)
    expected = F.cross_entropy(network(x), labels) + 0.25 * flow_loss
    losses = network.joint_losses(x, labels, truth)
    torch.testing.assert_close(losses.total, expected)
    torch.testing.assert_close(losses.classes + 0.25 * losses.flow, expected)
    torch.testing.assert_close(losses.scores, network(x))


def test_the_joint_loss_of_two_frames_weighs_four_scales_as_equation_4_4():
    network = build(ActionFlowNet2F, flow_weight=0.25)
    x, labels = clip(network), torch.tensor([1, 3])
    truth = true_flow(network, x)
    flow_loss = 0
    for weight, size, flow in zip((0.08, 0.02, 0.01, 0.005), (2, 4, 8, 16), network.flow_scales(x), strict=True):
        small = F.avg_pool2d(truth.flatten(0, 2), 64 // size).unflatten(0, truth.shape[:3])
        flow_loss = flow_loss + weight * (flow - small).norm(dim=3).sum() / 2
    torch.testing.assert_close(network.flow_losses(x, truth).total, flow_loss)
    expected = F.cross_entropy(network(x), labels) + 0.25 * flow_loss
    losses = network.joint_losses(x, labels, truth)
    torch.testing.assert_close(losses.total, expected)
    torch.testing.assert_close(losses.classes + 0.25 * losses.flow, expected)
    torch.testing.assert_close(losses.scores, network(x))


@pytest.mark.parametrize("kind", (ActionFlowNet, ActionFlowNet2F))
def test_the_joint_loss_reaches_every_parameter(kind):
    network = build(kind).train()
    x = clip(network)
    network.joint_losses(x, torch.tensor([1, 3]), true_flow(network, x)).total.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_gradients_under_bfloat16_on_a_cpu_are_those_of_float32_though_the_last_map_is_two_frames_deep():
    network = build(ActionFlowNet, snippet_length=16)
    x, labels, gradients = clip(network), torch.tensor([1, 3]), {}
    for autocast in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = F.cross_entropy(network(x).float(), labels)
        loss.backward()
        gradients[autocast] = network.flownet.encoder.layer4[1].conv2.weight.grad.clone()
    difference = (gradients[True] - gradients[False]).norm()
    assert difference < 0.05 * gradients[False].norm()


def test_flow_is_learnt_first_and_then_actions_with_it():
    """Noise that moves left (class 0) or right (class 1) by four pixels."""
    torch.manual_seed(0)
    network = ActionFlowNet2F(num_classes=2, width=8, dropout=0.0, flow_weight=0.05)
    first = F.avg_pool2d(torch.randn(8, 3, 38, 38), 7, 1) * 7
    labels = torch.arange(8) % 2
    second = torch.stack([image.roll(8 * label.item() - 4, 2) for image, label in zip(first, labels, strict=True)])
    x = torch.stack([first, second], 1)[:, None]
    truth = torch.zeros(8, 1, 1, 2, 32, 32)
    truth[:, :, :, 0] = (8.0 * labels - 4)[:, None, None, None, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    start = network.flow_losses(x, truth).total.item()
    for step in range(60):
        loss = network.flow_losses(x, truth).total if step < 30 else network.joint_losses(x, labels, truth).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert network.flow_losses(x, truth).total.item() < 0.3 * start
    assert (network(x).argmax(1) == labels).all()


def test_the_stacked_network_leaves_its_flow_network_as_it_is():
    trained, network = build(ActionFlowNet2F), build(Stacked).train()
    network.flownet.load_state_dict(trained.flownet.state_dict())
    x = clip(network)
    F.cross_entropy(network(x), torch.tensor([1, 3])).backward()
    assert all(parameter.grad is None for parameter in network.flownet.parameters())
    for name, value in trained.flownet.state_dict().items():
        assert torch.equal(network.flownet.state_dict()[name], value), name
    free = build(Stacked, fixed_flow=False).train()
    F.cross_entropy(free(x), torch.tensor([1, 3])).backward()
    assert free.flownet.encoder.conv1.weight.grad.abs().max() > 0


def test_the_stacked_network_learns_flow_in_a_phase_of_its_own():
    network = build(Stacked)
    x, truth = clip(network), true_flow(network, clip(network))
    network.set_flow_phase(True)
    network.train()
    network.flow_losses(x, truth).total.backward()
    assert network.flownet.encoder.bn1.training
    assert network.flownet.encoder.conv1.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in network.recognizer.parameters())
    network.set_flow_phase(False)
    network.train()
    assert not network.flownet.encoder.bn1.training
    assert not any(parameter.requires_grad for parameter in network.flownet.parameters())


def test_the_stacked_classifier_reads_flow_without_conv1_and_pool1():
    network = build(Stacked)
    x = clip(network)
    names = [name for name, _ in network.recognizer.named_parameters()]
    assert not any(name.startswith(("conv1", "bn1")) for name in names)
    assert network.recognizer.layer1[0].conv1.weight.shape[1] == 2
    vector = network.recognizer(network.flow(x)[:, 0, 0])
    torch.testing.assert_close(network(x), network.classifier(vector))


def test_a_video_scores_the_mean_of_its_snippets():
    network = build(ActionFlowNet)
    x = clip(network, num_snippets=3)
    expected = torch.stack([network(x[:, [s]]) for s in range(3)]).mean(0)
    torch.testing.assert_close(network(x), expected)


def test_the_flow_network_over_time_differs_by_its_layers_only():
    two, many = FlowNet(width=4), FlowNet(width=4, over_time=True, snippet_length=4)
    assert two.encoder.state_dict().keys() == many.encoder.state_dict().keys()
    kernels = {tuple(layer.kernel_size) for layer in many.decoder.raise_features}
    assert kernels == {(3, 4, 4)} and len(two.decoder.predict) == 4 and len(many.decoder.predict) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_options_and_clips_are_named(kind):
    with pytest.raises(ValueError, match=f"modality is 'flow'; {kind.__name__} learns flow from frames"):
        build(kind, modality="flow")
    with pytest.raises(ValueError, match="num_segments is 0; it must be at least 1"):
        build(kind, num_segments=0)
    network = build(kind)
    with pytest.raises(ValueError, match=r"clip has shape \(1, 1, 3, 3, 64, 64\); expected \(N, S, [24], 3, H, W\)"):
        network(torch.zeros(1, 1, 3, 3, 64, 64))
    x = clip(network)
    with pytest.raises(ValueError, match=r"flow has shape \(2, 1, 9, 2, 64, 64\); expected \(2, 1, [14], 2, H, W\)"):
        network.flow_losses(x, torch.zeros(2, 1, 9, 2, 64, 64))


def test_wrong_encoders_and_snippet_lengths_are_named():
    with pytest.raises(ValueError, match="backbone is 'googlenet'; encoders are ResNets"):
        ActionFlowNet2F(num_classes=4, backbone="googlenet")
    for kind in (ActionFlowNet2F, Stacked):
        with pytest.raises(ValueError, match="snippet_length is 5; two-frame networks take 2"):
            build(kind, snippet_length=5)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_on_what_the_classifier_reads_and_in_training_only(kind):
    network = build(kind, dropout=1.0)
    x = clip(network)
    with torch.no_grad():
        torch.nn.init.normal_(network.classifier.bias)
        tested, trained = network(x), network.train()(x)
    torch.testing.assert_close(trained, network.classifier.bias.expand(2, 4))
    assert not torch.allclose(tested, trained)
