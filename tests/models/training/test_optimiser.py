"""What may come before and after a step of the optimiser, each against a known truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from tdn_data.models import build_model
from tdn_data.models.training.config import Part, TrainConfig
from tdn_data.models.training.optimiser import check_precision, moving_average
from tdn_data.models.training.phases import set_phase
from tdn_data.models.training.train import train
from tdn_data.pipeline.errors import InputError
from tests.models.training.small import SMALL, weights

CONFIG = replace(SMALL, lr_steps=())
LAST_LAYER = {"fixed": ("",), "free": ("backbone.fc.",), "fixed_share": 1.0}


def changed(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in first.items() if not torch.equal(value, second[name])}


@pytest.fixture
def start(coloured, tmp_path: Path) -> Path:
    """A trained TSN."""
    return train(coloured, "tsn", config=replace(CONFIG, epochs=1), out=tmp_path / "start.pt")


def test_the_final_layer_alone_can_learn(coloured, start: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, init=(str(start),), **LAST_LAYER)
    after = weights(train(coloured, "tsn", config=config, out=tmp_path / "c.pt"))
    assert changed(weights(start), after) == {"backbone.fc.weight", "backbone.fc.bias"}


def test_the_whole_image_subnetwork_can_be_fixed_as_for_flow(coloured, start: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, init=(str(start),), fixed=("image.",), fixed_share=1.0)
    after = weights(train(coloured, "tdn", config=config, out=tmp_path / "c.pt"))
    before = weights(start)
    assert all(torch.equal(value, after[name.replace("backbone.", "image.", 1)]) for name, value in before.items())


def test_what_was_fixed_learns_in_phase_two(coloured, start: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, init=(str(start),), **LAST_LAYER | {"fixed_share": 0.5})
    after = weights(train(coloured, "tsn", config=config, out=tmp_path / "c.pt"))
    assert "backbone.conv1.weight" in changed(weights(start), after)


def test_micro_batches_add_up_to_a_batch(coloured, start: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, init=(str(start),), **LAST_LAYER)  # fixed statistics: each clip counts by itself
    whole = weights(train(coloured, "tsn", config=config, out=tmp_path / "1.pt"))
    for number in (2, 3):
        parts = weights(train(coloured, "tsn", config=replace(config, micro_batches=number), out=tmp_path / "2.pt"))
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def test_gradients_are_shortened_to_the_norm_asked_for(coloured, tmp_path: Path) -> None:
    norms: dict[float | None, list[float]] = {None: [], 0.5: []}
    for norm, seen in norms.items():

        def note(optimizer: torch.optim.Optimizer, *_: object, seen: list[float] = seen) -> None:
            grads = [one.grad for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
            seen.append(float(torch.cat([grad.flatten() for grad in grads]).norm()))

        hook = register_optimizer_step_pre_hook(note)
        train(coloured, "tsn", config=replace(CONFIG, clip_norm=norm), out=tmp_path / "c.pt")
        hook.remove()
    assert norms[None][0] > 0.5
    assert norms[0.5][0] == pytest.approx(0.5, rel=1e-4)


def test_the_moving_average_has_its_closed_form() -> None:
    layer, seen = nn.Linear(2, 1), []
    average = moving_average(layer, 0.9)
    for _ in range(6):
        nn.init.normal_(layer.weight)
        seen.append(layer.weight.detach().clone())
        average.update_parameters(layer)
    expected = 0.9**5 * seen[0] + sum(0.1 * 0.9 ** (5 - n) * seen[n] for n in range(1, 6))
    torch.testing.assert_close(average.module.weight.data, expected)


def test_the_average_is_what_is_kept(coloured, tmp_path: Path) -> None:
    seen = []
    hook = register_optimizer_step_post_hook(
        lambda optimizer, *_: seen.append(optimizer.param_groups[0]["params"][0].detach().clone())
    )
    state = weights(train(coloured, "tsn", config=replace(CONFIG, ema=0.5), out=tmp_path / "c.pt"))
    hook.remove()
    expected = seen[0] / 8 + seen[1] / 8 + seen[2] / 4 + seen[3] / 2
    torch.testing.assert_close(state["backbone.conv1.weight"], expected.contiguous())


def test_parts_have_rates_and_decays_of_their_own_and_end(coloured, tmp_path: Path) -> None:
    part = Part("difference.", learning_rate=0.001, weight_decay=0.1, lr_drops=(2,), end=3)
    config, steps = replace(CONFIG, iterations=5, parts=(part,)), []

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        learning = [any(one.grad is not None for one in group["params"]) for group in optimizer.param_groups]
        steps.append([(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] + learning)

    hook = register_optimizer_step_post_hook(note)
    whole = weights(train(coloured, "tdn", config=config, out=tmp_path / "1.pt"))
    hook.remove()
    assert [one[0] for one in steps] == [(0.02, 5e-4)] * 5
    assert [one[1] for one in steps] == [(0.001, 0.1)] * 2 + [(pytest.approx(0.0001), 0.1)] * 3
    assert [one[2:] for one in steps] == [[True, True]] * 3 + [[True, False]] * 2
    shorter = weights(train(coloured, "tdn", config=replace(config, iterations=3), out=tmp_path / "2.pt"))
    names = changed(whole, shorter)  # statistics of what has ended stay, too
    assert names and not any(name.startswith("difference.") for name in names)


def test_a_training_ends_after_its_iterations(coloured, tmp_path: Path) -> None:
    reports = []
    train(coloured, "tsn", config=replace(CONFIG, iterations=5), out=tmp_path / "c.pt", on_epoch=reports.append)
    assert [(one.epoch, one.num_epochs) for one in reports] == [(1, 3), (2, 3), (3, 3)]
    plain = train(coloured, "tsn", config=replace(CONFIG, epochs=2), out=tmp_path / "1.pt").read_bytes()
    assert train(coloured, "tsn", config=replace(CONFIG, iterations=4), out=tmp_path / "2.pt").read_bytes() == plain


def test_bf16_learns_on_a_cpu_that_computes_it_right(coloured, tmp_path: Path) -> None:
    check_precision("bf16", torch.device("cpu"))
    reports, config = [], replace(CONFIG, precision="bf16", epochs=12, batch_size=8)
    train(coloured, "tsn", config=config, out=tmp_path / "c.pt", on_epoch=reports.append)
    assert reports[-1].loss < 0.5 * reports[0].loss and reports[-1].accuracy == 1.0
    with pytest.raises(InputError, match="precision is 'fp16'; a CPU trains with float32 or bf16"):
        check_precision("fp16", torch.device("cpu"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parts": (Part("motoin."),)}, "parts: no parameter begins with 'motoin.'; the network has backbone.."),
        ({"fixed": ("image.",), "fixed_share": 1.0}, "fixed: no parameter begins with 'image.'"),
        ({"fixed": ("",), "fixed_share": 1.0}, "fixed: nothing is left that learns"),
        ({"parts": (Part("", end=1),)}, "parts: all of the network ends after 1 of 2 epochs; set epochs to 1"),
    ],
)
def test_parts_that_are_none_are_named(coloured, tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        train(coloured, "tsn", config=replace(CONFIG, **changes), out=tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fixed": ("a",), "fixed_share": 0.1, "epochs": 2}, "fixed_share is 0.1; of 2 epochs that fixes nothing"),
        ({"fixed_share": 0.1, "epochs": 2}, "fixed_share is 0.1; of 2 epochs that fixes nothing"),
        ({"cut": "random"}, "cut is 'random'; known cuts: segments, consecutive"),
        ({"cut_fps": 0.0}, "cut_fps is 0.0; it must be a number above 0, or null for all stored frames"),
        ({"cut_fps": 6.0, "flow_weight": 1.0}, "cut_fps is 6.0; flow leads to the next stored frame"),
        ({"free": ("a",)}, "free is set and fixed is null"),
        ({"micro_batches": 5, "batch_size": 4}, "micro_batches is 5; a batch has only 4 clips"),
        ({"schedule": "exponential"}, "lr_end is 0; an exponential schedule never comes there"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0; it must be a number above 0, or null"),
        ({"mixup": 0.2, "flow_weight": 1.0}, "mixup is 0.2; clips that are mixed have no flow"),
        ({"ema": 1.0}, "ema is 1.0; it must be at least 0 and below 1"),
        ({"iterations": 0}, "iterations is 0; it must be from 1 to 1,000,000"),
    ],
)
def test_what_does_not_go_together_is_named(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainConfig(**changes)


def test_partial_normalisation_leaves_what_is_added_to_a_backbone_free() -> None:
    model = build_model("tdn_wang", num_classes=3, backbone="resnet18", width=16, num_segments=4)
    set_phase(model, image_fixed=False, partial_bn=True)
    states = {name: part.training for name, part in model.backbone.named_modules() if hasattr(part, "running_mean")}
    added = {name for name in states if ".long_term." in name}
    assert added and all(states[name] for name in added)
    assert {name for name in states.keys() - added if states[name]} == {"bn1"}
