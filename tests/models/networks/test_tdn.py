"""Temporal Difference Network of Ng & Davis: what must be true of its differences whatever the weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tdn_data.models import build_model
from tdn_data.models.networks.tdn import TDN, GatedSum
from tdn_data.models.networks.tsn import TSN

SMALL = {"num_classes": 5, "backbone": "resnet18", "width": 8, "num_segments": 3}
TAPS = ("input", "conv1", "res2", "res3", "res4")


def _build(**options: object) -> TDN:
    torch.manual_seed(0)
    return TDN(**SMALL | options).eval()


def _clip(num_snippets: int = 3, *, size: int = 64) -> torch.Tensor:
    return torch.randn(2, num_snippets, 1, 3, size, size, generator=torch.Generator().manual_seed(1))


def _tap_differences(model: TDN, clip: torch.Tensor) -> dict[str, torch.Tensor]:
    """What enters the difference subnetwork at each tap, (N, S - 1, c, h, w)."""
    found = {}

    def note(name: str, entering: torch.Tensor) -> None:
        found[name] = entering.unflatten(0, (len(clip), -1))

    first = next(module for module in model.difference.modules() if isinstance(module, nn.Conv2d))
    hooks = [first.register_forward_pre_hook(lambda module, inputs: note("input", inputs[0]))]
    for name, combination in model.combine.items():
        hooks.append(combination.register_forward_pre_hook(lambda module, inputs, name=name: note(name, inputs[1])))
    with torch.no_grad():
        model(clip)
    for hook in hooks:
        hook.remove()
    return found


def test_taps_lie_before_each_drop_of_the_resolution() -> None:
    model = _build()
    sizes = {name: tuple(x.shape) for name, x in _tap_differences(model, _clip(size=224)).items()}
    assert sizes == {
        "input": (2, 2, 3, 224, 224),
        "conv1": (2, 2, 8, 56, 56),
        "res2": (2, 2, 8, 56, 56),
        "res3": (2, 2, 16, 28, 28),
        "res4": (2, 2, 32, 14, 14),
    }


def test_equal_frames_give_the_difference_subnetwork_nothing() -> None:
    still = _clip(1).repeat(1, 3, 1, 1, 1, 1)
    for name, difference in _tap_differences(_build(), still).items():
        assert not difference.any(), name


def test_reversing_the_snippets_negates_each_taps_input() -> None:
    model, clip = _build(), _clip()
    forwards, backwards = _tap_differences(model, clip), _tap_differences(model, clip.flip(1))
    assert tuple(forwards) == TAPS
    for name in TAPS:
        torch.testing.assert_close(backwards[name].flip(1), -forwards[name])


def test_image_scores_are_those_of_a_tsn_with_the_same_weights() -> None:
    model, tsn = _build(), TSN(**SMALL).eval()
    tsn.backbone.load_state_dict(model.image.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model.forward_streams(_clip())["image"], tsn(_clip()))


def test_image_scores_do_not_know_the_order_and_difference_scores_do() -> None:
    model, clip = _build(), _clip()
    with torch.no_grad():
        forwards, backwards = model.forward_streams(clip), model.forward_streams(clip.flip(1))
    torch.testing.assert_close(forwards["image"], backwards["image"])
    assert not torch.allclose(forwards["difference"], backwards["difference"])


def test_video_score_is_the_mean_of_both_subnetworks() -> None:
    model, clip = _build(), _clip()
    with torch.no_grad():
        streams = model.forward_streams(clip)
        torch.testing.assert_close(model(clip), (streams["image"] + streams["difference"]) / 2)


def test_difference_scores_are_averaged_over_neighbouring_pairs() -> None:
    model, clip = _build(), _clip(4)
    with torch.no_grad():
        pairs = [model.forward_streams(clip[:, start : start + 2])["difference"] for start in range(3)]
        torch.testing.assert_close(model.forward_streams(clip)["difference"], torch.stack(pairs).mean(0))


@pytest.mark.parametrize("num_taps", [1, 2, 3, 4, 5])
def test_every_row_of_table_4_can_be_built(num_taps: int) -> None:
    model = _build(taps=TAPS[:num_taps])
    assert tuple(_tap_differences(model, _clip())) == TAPS[:num_taps]
    assert model(_clip()).shape == (2, 5)


def test_a_tap_left_out_changes_the_difference_scores_only() -> None:
    full, short = _build(), _build(taps=TAPS[:2])
    short.load_state_dict(full.state_dict())
    with torch.no_grad():
        streams, fewer = full.forward_streams(_clip()), short.forward_streams(_clip())
    torch.testing.assert_close(streams["image"], fewer["image"])
    assert not torch.allclose(streams["difference"], fewer["difference"])


@pytest.mark.parametrize("combination", ["conv1x1", "gated"])
def test_learned_combinations_start_as_the_plain_sum(combination: str) -> None:
    plain, learned = _build(), _build(combination=combination)
    learned.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(learned(_clip()), plain(_clip()))


def test_both_subnetworks_have_the_same_size_and_learn() -> None:
    model = _build().train()
    shapes = [{name: p.shape for name, p in part.named_parameters()} for part in (model.image, model.difference)]
    assert shapes[0] == shapes[1]
    sum(scores.sum() for scores in model.forward_streams(_clip()).values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_flow_stacks_are_taken() -> None:
    model = _build(modality="flow", snippet_length=5)
    assert model(torch.zeros(1, 3, 5, 2, 32, 32)).shape == (1, 5)
    assert model.image.conv1.in_channels == model.difference.conv1.in_channels == 10


@pytest.mark.parametrize("backbone", ["bninception", "alexnet"])
def test_other_backbones_serve(backbone: str) -> None:
    torch.manual_seed(0)
    model = TDN(num_classes=4, backbone=backbone, num_segments=2).eval()
    with torch.no_grad():
        assert model(_clip(2)).shape == (2, 4)
    assert tuple(_tap_differences(model, _clip(2))) == ("input", *model.image.taps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_segments": 1}, "num_segments is 1; differences need at least 2"),
        ({"taps": ("conv1",)}, "it must start with 'input', then any of: conv1, res2"),
        ({"taps": ("input", "res9")}, "res9"),
        ({"combination": "product"}, "combination is 'product'; known combinations: sum, conv1x1, gated"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _build(**options)


def test_one_snippet_is_refused() -> None:
    with pytest.raises(ValueError, match="clip has 1 snippet; differences need at least 2"):
        _build()(_clip(1))


def test_a_difference_is_a_snippet_less_the_one_before_it() -> None:
    model = build_model("tdn", num_classes=3, backbone="resnet18", width=8, num_segments=3)
    clip = torch.arange(3.0).reshape(1, 3, 1, 1, 1, 1).expand(1, 3, 1, 3, 32, 32) ** 2
    differences = _tap_differences(model, clip)["input"]
    assert [differences[0, pair].unique().item() for pair in range(2)] == [1, 3]


def test_a_gate_weighs_activations_by_g_and_the_difference_by_2_less_g() -> None:
    gated = GatedSum(2)
    torch.nn.init.constant_(gated.gate.bias, 1.5)
    x, difference = torch.randn(2, 1, 2, 3, 3).unbind(0)
    gate = 2 / (1 + math.exp(-1.5))
    torch.testing.assert_close(gated(x, difference), gate * x + (2 - gate) * difference)
