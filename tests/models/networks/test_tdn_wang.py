"""TDN of Wang et al.: the authors' numbers, the paper's equations written down a second time, what options switch."""

from __future__ import annotations

import json
import runpy

import pytest
import torch
import torch.nn.functional as F

from tdn_data.models import build_model
from tdn_data.models.backbones import build_backbone
from tdn_data.models.networks.tdn_wang import TDNWang, from_mcg_nju, halved_differences, is_mcg_nju
from tdn_data.models.networks.tdn_wang_modules import (
    LONG_TERM_FUSIONS,
    SHORT_TERM_FUSIONS,
    LongTermDifference,
    ShortTermFusion,
    TemporalConvolution,
    attended,
    shifted_sum,
)
from tdn_data.models.networks.tsn import TSN
from tdn_data.models.weights.checkpoint import load_weights
from tdn_data.pipeline.errors import InputError

NETWORK = "mcg_nju_tdn_resnet50"
SMALL = {"num_classes": 3, "backbone": "resnet18", "width": 16, "num_segments": 4}


def seeded(shape, *, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small(**options):
    torch.manual_seed(0)
    return TDNWang(**SMALL | options)


def small_clip(num_videos=2, *, num_segments=4, size=64):
    return seeded((num_videos, num_segments, 5, 3, size, size))


def shaken(module):
    """The module with random statistics and affine weights in its normalisations, in evaluation mode."""
    generator = torch.Generator().manual_seed(2)
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
                tensor.normal_(generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
    return module.eval()


def prefixed(weights, prefix):
    """How a file of the authors names the weights."""
    return {prefix + name: value for name, value in weights.items()}


@pytest.fixture(scope="module")
def shapes(shared_reference):
    return json.loads((shared_reference / "state_dict_shapes.json").read_text())[NETWORK]


@pytest.fixture(scope="module")
def golden(shared_reference):
    return json.loads((shared_reference / "golden.json").read_text())[NETWORK]


@pytest.fixture(scope="module")
def fill(shared_reference):
    return runpy.run_path(str(shared_reference / "fill.py"))


@pytest.fixture(scope="module")
def authors_weights(fill, shapes):
    return fill["filled_state_dict"](shapes)


def test_logits_of_the_authors_weights_are_the_authors_logits(authors_weights, golden, fill, tmp_path):
    torch.save({"state_dict": prefixed(authors_weights, "module."), "epoch": 7}, tmp_path / "authors.pth.tar")
    model = build_model("tdn_wang", num_classes=174)
    load_weights(model, tmp_path / "authors.pth.tar")
    clip = fill["test_input"](7, (1, 120, 224, 224)).view(1, 8, 5, 3, 224, 224)
    with torch.inference_mode():
        logits = model.eval()(clip)
    expected = torch.tensor(golden["logits"])
    torch.testing.assert_close(logits[:, :16], expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_parameters_are_the_authors_less_biases_that_do_nothing_and_conv1_temp(shapes, golden):
    with torch.device("meta"):
        model = TDNWang(num_classes=174)
    idle = [shape for name, shape in shapes.items() if "conv1_temp" in name or name.endswith((".0.bias", "conv1.bias"))]
    idle += [shape for name, shape in shapes.items() if name.endswith(("conv2.bias", "conv3.bias"))]
    num_idle = sum(torch.Size(shape).numel() for shape in idle)
    assert sum(p.numel() for p in model.parameters()) + num_idle == golden["params"]


def test_authors_weights_for_other_classes_leave_the_classifier_as_it_is(authors_weights, tmp_path):
    torch.save(authors_weights, tmp_path / "authors.pth")
    model = TDNWang(num_classes=5)
    classifier = model.backbone.fc.weight.clone()
    load_weights(model, tmp_path / "authors.pth")
    assert torch.equal(model.backbone.fc.weight, classifier)
    assert torch.equal(model.short_term.conv1.weight, authors_weights["base_model.conv1_5.0.weight"])


def test_authors_weights_for_another_depth_are_refused_by_name(authors_weights, tmp_path):
    torch.save(authors_weights, tmp_path / "authors.pth")
    with torch.device("meta"):
        model = TDNWang(num_classes=174, backbone="resnet101")
    with pytest.raises(InputError, match=r"belongs to another network than TDNWang: missing: backbone\.layer3\.10"):
        load_weights(model, tmp_path / "authors.pth")


def test_authors_files_are_known_by_their_names(authors_weights):
    assert is_mcg_nju(authors_weights) and is_mcg_nju(prefixed(authors_weights, "module."))
    assert not is_mcg_nju(small().state_dict())
    assert from_mcg_nju(prefixed(authors_weights, "module.")).keys() == from_mcg_nju(authors_weights).keys()
    plain = {name.replace("new_fc", "base_model.fc"): value for name, value in authors_weights.items()}
    assert from_mcg_nju(plain).keys() == from_mcg_nju(authors_weights).keys()


def test_image_weights_go_into_both_networks_and_leave_the_motion_modules(tmp_path):
    torch.manual_seed(3)
    images = build_backbone("resnet18", num_classes=10, width=16).state_dict()
    torch.save(images, tmp_path / "resnet.pth")
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_weights(model, tmp_path / "resnet.pth")
    after = model.state_dict()
    for name, value in after.items():
        part, _, key = name.partition(".")
        if name == "short_term.conv1.weight":
            assert torch.equal(value, images[key].mean(1, keepdim=True).expand(-1, 12, -1, -1))
        elif key in images and not key.startswith("fc."):
            assert torch.equal(value, images[key]), name
        else:
            assert torch.equal(value, before[name]), name
    assert torch.equal(after["short_term.layer1.0.conv2.weight"], images["layer1.0.conv2.weight"])


def test_image_weights_of_another_depth_are_refused_by_name(tmp_path):
    torch.save(build_backbone("resnet34", num_classes=3, width=16).state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(InputError, match=r"unknown: backbone\.layer1\.2"):
        load_weights(small(), tmp_path / "resnet.pth")


def test_without_its_modules_it_is_a_tsn_of_the_middle_frames():
    model = small(short_term=(), long_term=(), temporal=()).eval()
    tsn = TSN(**SMALL).eval()
    tsn.load_state_dict(model.state_dict())
    clip = small_clip()
    with torch.no_grad():
        torch.testing.assert_close(model(clip), tsn(clip[:, :, 2:3]))


def test_every_map_stays_channels_last():
    model, layouts = small().eval(), {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: layouts.update({name: out}))
    with torch.no_grad():
        model.forward_streams(small_clip())
    maps = {name: out for name, out in layouts.items() if out.ndim == 4 and min(out.shape[1:]) > 1}
    assert len(maps) > 80
    wrong = [name for name, out in maps.items() if not out.is_contiguous(memory_format=torch.channels_last)]
    assert not wrong


@pytest.mark.parametrize(("height", "width"), [(8, 6), (9, 7)])
def test_halved_differences_are_the_pooled_differences(height, width):
    snippets = seeded((2, 5, 3, height, width))
    expected = F.avg_pool2d((snippets[:, 1:] - snippets[:, :-1]).flatten(1, 2), 2)
    torch.testing.assert_close(halved_differences(snippets), expected)


def test_equal_frames_give_the_short_term_network_the_same_nothing_whatever_they_show():
    model = small().eval()
    still = [small_clip()[:, :, number : number + 1].expand(-1, -1, 5, -1, -1, -1) for number in (0, 3)]
    with torch.no_grad():
        first, second = (model.short_term_features(clip) for clip in still)
    assert first.keys() == {"conv1", "res2"}
    assert all(torch.equal(first[stage], second[stage]) for stage in first)


@pytest.mark.parametrize(("num_segments", "share"), [(4, 0.5), (8, 0.5), (16, 0.25)])
def test_motion_weighs_half_up_to_eight_segments_and_a_quarter_above(num_segments, share):
    fusion = small(num_segments=num_segments).fusion["res2"]
    x, motion = seeded((2, 16, 8, 8)), seeded((2, 16, 4, 4), seed=2)
    enlarged = motion.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(fusion(x, motion), (1 - share) * x + share * enlarged)


def test_fusion_forms_are_those_of_table_1a():
    x, motion = seeded((2, 32, 8, 8)), seeded((2, 32, 4, 4), seed=2)
    fusions = {name: ShortTermFusion(32, fusion=name, motion_weight=0.25) for name in SHORT_TERM_FUSIONS}
    fusions["residual_channel_attention"].squeeze = fusions["channel_attention"].squeeze
    with torch.no_grad():
        joined = {name: fusion(x, motion) for name, fusion in fusions.items()}
        channel = torch.sigmoid(fusions["channel_attention"].squeeze(motion.mean((2, 3), keepdim=True)))
    spatial = torch.sigmoid(F.interpolate(motion, scale_factor=2))
    torch.testing.assert_close(joined["attention"], x * spatial)
    torch.testing.assert_close(joined["residual_attention"], 0.75 * x + 0.25 * x * spatial)
    torch.testing.assert_close(joined["channel_attention"], x * channel)
    torch.testing.assert_close(joined["residual_channel_attention"], 0.75 * x + 0.25 * x * channel)


def test_temporal_convolution_is_a_depthwise_convolution_along_the_segments_of_each_video():
    module = TemporalConvolution(6, num_segments=4)
    torch.nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(2))
    x = seeded((12, 6, 3, 5))
    lines = x.unflatten(0, (3, 4)).permute(0, 3, 4, 2, 1).reshape(-1, 6, 4)  # (N * H * W, C, S)
    expected = F.conv1d(lines, module.weight, padding=1, groups=6).reshape(3, 3, 5, 6, 4).permute(0, 4, 3, 1, 2)
    torch.testing.assert_close(module(x), expected.flatten(0, 1))
    torch.testing.assert_close(shifted_sum(x.unflatten(0, (3, 4)), module.weight), expected)  # as on a GPU


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_temporal_convolution_hands_on_the_layout_that_it_gets(memory_format):
    x = seeded((12, 6, 3, 5)).contiguous(memory_format=memory_format)
    assert TemporalConvolution(6, num_segments=4)(x).is_contiguous(memory_format=memory_format)


def test_temporal_convolution_starts_as_a_shift():
    x = seeded((4, 16, 2, 2))
    out = TemporalConvolution(16, num_segments=4)(x)
    zeros = torch.zeros(1, 2, 2, 2)
    assert torch.equal(out[:, :2], torch.cat([x[1:, :2], zeros]))
    assert torch.equal(out[:, 2:4], torch.cat([zeros, x[:-1, 2:4]]))
    assert torch.equal(out[:, 4:], x[:, 4:])


def expected_long_term(module, video):
    """Equations 2 and 4 to 6 for one video (S, C, H, W), segment by segment, with what the module's file departs in."""
    reduced = module.reduce.norm(module.reduce.convolution(video))
    enhanced = []
    for number, features in enumerate(video):
        directions = []
        for neighbor in (number + 1, number - 1)[: 2 if module.bidirectional else 1]:
            difference = torch.zeros_like(reduced[:1])
            if 0 <= neighbor < len(video):
                difference = module.align(reduced[neighbor, None]) - reduced[number, None]
            branches = [difference]
            if module.num_scales > 1:
                branches.append(module.full_scale(difference))
            if module.num_scales > 2:
                half = module.half_scale(F.avg_pool2d(difference, 2))
                branches.append(half.repeat_interleave(2, 2).repeat_interleave(2, 3))
            mixed = torch.stack(branches).mean(0)
            if module.fusion == "channel_attention":
                mixed = mixed.mean((2, 3), keepdim=True)
            directions.append(module.expand.norm(module.expand.convolution(mixed))[0])
        if module.fusion == "add":
            enhanced.append(features + torch.stack(directions).mean(0))
        else:
            enhanced.append(features + features * (torch.stack(directions).sigmoid() - 0.5).mean(0))
    return torch.stack(enhanced)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_scales", [1, 2, 3])
@pytest.mark.parametrize("fusion", LONG_TERM_FUSIONS)
def test_long_term_module_follows_the_equations(fusion, num_scales, bidirectional):
    torch.manual_seed(0)
    module = LongTermDifference(32, num_segments=4, fusion=fusion, num_scales=num_scales, bidirectional=bidirectional)
    module, x = shaken(module), seeded((8, 32, 6, 6))
    with torch.no_grad():
        expected = torch.cat([expected_long_term(module, video) for video in x.unflatten(0, (2, 4))])
        torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(module(x.requires_grad_()), expected, rtol=1e-4, atol=1e-4)


def test_long_term_module_leaves_its_input_as_it_was():
    module, x = LongTermDifference(32, num_segments=4).eval(), seeded((8, 32, 6, 6))
    before = x.clone()
    with torch.no_grad():
        assert not torch.equal(module(x), before)
    assert torch.equal(x, before)


def test_stages_carry_what_the_options_name():
    model = small(short_term=("conv1",), long_term=("res2", "res4"), temporal=("res5",))
    names = model.state_dict().keys()
    assert {name.split(".")[1] for name in names if ".long_term." in name} == {"layer1", "layer3"}
    assert {name.split(".")[1] for name in names if ".temporal." in name} == {"layer4"}
    assert {name.split(".")[1] for name in names if name.startswith("short_term.")} == {"conv1", "bn1"}
    assert model(small_clip()).shape == (2, 3)


@pytest.mark.parametrize("fusion", SHORT_TERM_FUSIONS)
def test_every_short_term_fusion_learns(fusion):
    model = small(short_term_fusion=fusion, width=8).train()
    model(small_clip(size=32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_flow_has_two_channels():
    model = small(modality="flow").eval()
    with torch.no_grad():
        assert model(small_clip()[:, :, :, :2]).shape == (2, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"snippet_length": 4}, "snippet_length is 4; .*odd number from 3"),
        ({"num_segments": 1}, "num_segments is 1; .*at least 2"),
        ({"short_term": ("stem",)}, "short_term has 'stem'; stages that can carry it: conv1, res2, res3, res4, res5"),
        ({"long_term": ("conv1",)}, "long_term has 'conv1'; stages that can carry it: res2, res3, res4, res5"),
        ({"short_term_fusion": "max"}, "short_term_fusion is 'max'; known fusions: add, attention"),
        ({"long_term_fusion": "max"}, "long_term_fusion is 'max'; known fusions: attention, add"),
        ({"num_scales": 4}, "num_scales is 4; allowed: 1, 2, 3"),
        ({"modality": "depth"}, "modality is 'depth'; known modalities: rgb, flow"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_another_backbone_than_a_resnet_is_refused():
    with pytest.raises(ValueError, match="backbone is 'bninception'; this network stands on a ResNet"):
        TDNWang(num_classes=3, backbone="bninception")


@pytest.mark.parametrize(
    "shape", [(2, 4, 5, 2, 32, 32), (2, 3, 5, 3, 32, 32), (2, 4, 1, 3, 32, 32), (2, 20, 3, 32, 32)]
)
def test_a_clip_of_another_form_is_refused(shape):
    with pytest.raises(ValueError, match=r"clip has shape \(2, .*; expected \(N, 4, 5, 3, H, W\)"):
        small()(torch.zeros(shape))


def test_in_training_each_direction_is_normalised_by_its_own_statistics():
    torch.manual_seed(0)
    module = LongTermDifference(16, num_segments=3, reduction=4).train()
    x = seeded((6, 16, 8, 8)) + torch.arange(6.0).reshape(6, 1, 1, 1)
    ahead, back = module.differences(x).chunk(2)
    expected = attended(x, [module.expand(module.mix_scales(ahead)), module.expand(module.mix_scales(back))])
    together = attended(x, module.expand(module.mix_scales(torch.cat([ahead, back]))).chunk(2))
    torch.testing.assert_close(module(x), expected)
    assert not torch.allclose(expected, together, atol=1e-3)


def test_equations_4_and_5_as_the_text_has_them():
    torch.manual_seed(0)
    code = shaken(LongTermDifference(32, num_segments=4)).eval()
    text = LongTermDifference(32, num_segments=4, equations=(4, 5)).eval()
    text.load_state_dict(code.state_dict())
    x = seeded((4, 32, 6, 6))
    with torch.no_grad():
        torch.testing.assert_close(text.differences(x), -code.differences(x))
        ahead, back = text.differences(x).chunk(2)
        motions = []
        for difference in (ahead, back):
            half = text.half_scale(F.avg_pool2d(difference, 2))
            half = F.interpolate(half, scale_factor=2, mode="bilinear", align_corners=False)
            motions.append(text.expand(difference + text.full_scale(difference) + half))
        torch.testing.assert_close(text(x), x + x * torch.stack(motions).sigmoid().mean(0), rtol=1e-4, atol=1e-4)


def test_equation_1_as_the_text_has_it_is_a_plain_sum():
    fusion = small(equations=(1,)).fusion["res2"]
    x, motion = seeded((2, 16, 8, 8)), seeded((2, 16, 4, 4), seed=2)
    torch.testing.assert_close(fusion(x, motion), x + motion.repeat_interleave(2, 2).repeat_interleave(2, 3))
    for options, words in [
        ({"equations": (2,)}, "it may name 1, 4 and 5"),
        ({"equations": (1,), "motion_weight": 0.3}, "a sum without weights, and motion_weight is 0.3"),
        ({"equations": (1,), "short_term_fusion": "attention"}, "names 1, a sum, and short_term_fusion 'attention'"),
    ]:
        with pytest.raises(ValueError, match=words):
            small(**options)
