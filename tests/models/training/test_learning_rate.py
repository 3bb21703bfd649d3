"""The learning rate at each step of whole schedules, against the papers' numbers and torch's own schedulers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from tdn_data.models.training.config import Part, TrainConfig
from tdn_data.models.training.learning_rate import Plateau, learning_rate_at


def by_torch(
    make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], num_steps: int, rate: float
) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=rate)
    scheduler, rates = make(optimizer), []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_branches_have_the_schedules_of_zhao_et_al() -> None:
    appearance = Part("appearance.", learning_rate=0.001, lr_drops=(1500, 3000), end=4500)
    motion = Part("motion.", learning_rate=0.005, lr_drops=(10_000, 16_000))
    config = TrainConfig(iterations=18_000, parts=(appearance, motion))
    rates = [learning_rate_at(step, config, part=appearance) for step in range(4500)]
    assert rates == pytest.approx([1e-3] * 1500 + [1e-4] * 1500 + [1e-5] * 1500)
    rates = [learning_rate_at(step, config, part=motion) for step in range(18_000)]
    assert rates == pytest.approx([5e-3] * 10_000 + [5e-4] * 6000 + [5e-5] * 2000)


def test_steps_are_shares_of_iterations() -> None:
    config = TrainConfig(iterations=30_000, learning_rate=0.01, lr_steps=(1 / 3, 2 / 3))  # FCVID in Ng & Davis
    rates = [learning_rate_at(step, config) for step in range(30_000)]
    assert rates == pytest.approx([1e-2] * 10_000 + [1e-3] * 10_000 + [1e-4] * 10_000)


def test_exponential_is_torchs() -> None:
    config = TrainConfig(iterations=200, learning_rate=0.5, schedule="exponential", lr_end=0.01)
    expected = by_torch(lambda one: lr_scheduler.ExponentialLR(one, 0.01 ** (1 / 200)), 200, 0.5)
    assert [learning_rate_at(step, config) for step in range(200)] == pytest.approx(expected)


def test_cosine_after_a_warm_up_is_torchs() -> None:
    config = TrainConfig(iterations=100, learning_rate=0.5, schedule="cosine", warmup=0.1, lr_end=0.02)

    def make(one: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        warm = lr_scheduler.LinearLR(one, start_factor=0.1, total_iters=10)
        cosine = lr_scheduler.CosineAnnealingLR(one, T_max=90, eta_min=0.01)
        return lr_scheduler.SequentialLR(one, [warm, cosine], milestones=[10])

    expected = by_torch(make, 100, 0.5)
    assert [learning_rate_at(step, config) for step in range(100)] == pytest.approx(expected)


def test_in_epochs_the_share_of_the_epoch_under_way_counts() -> None:
    by_epochs = TrainConfig(epochs=10, schedule="cosine", warmup=0.2)
    by_steps = TrainConfig(iterations=40, schedule="cosine", warmup=0.2)
    moments = [epoch + step / 4 for epoch in range(10) for step in range(4)]
    rates = [learning_rate_at(moment, by_epochs) for moment in moments]
    assert rates == pytest.approx([learning_rate_at(step, by_steps) for step in range(40)])


def test_a_plateau_divides_by_ten_and_goes_on_from_its_state() -> None:
    plateau, left = Plateau(patience=1), []
    for result in (0.1, 0.2, 0.2, 0.1, 0.2, 0.15, 0.3):
        plateau.note(result)
        left.append(plateau.left)
        other = Plateau(patience=1)
        other.restore(plateau.state())
        plateau = other
    assert left == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    config = TrainConfig(schedule="plateau", validation_share=0.1, learning_rate=0.02)
    assert learning_rate_at(3, config, left=0.1) == pytest.approx(0.002)
