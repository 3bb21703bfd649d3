"""What a person sees of a training under way."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tdn_data.models.training.curves import Curves
from tdn_data.models.training.reports import EpochReport
from tdn_data.stages.cli.progress import show_progress
from tdn_data.stages.cli.training import TrainingProgress


def test_a_line_an_epoch_counts_steps_and_keeps_the_last_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = Console(file=io.StringIO(), width=300)
    with Curves(tmp_path / "t") as curves, show_progress(printed, "tdn-rgb", unit="steps") as update:
        shown = TrainingProgress(update, curves)
        shown.on_epoch(EpochReport(1, 3, 2.0, 0.25, 0.05))  # reported again after a snapshot
        shown.on_step(20, 60)
        shown.on_step(40, 60)
        shown.on_epoch(EpochReport(2, 3, 1.0, 0.5, 0.05, validation_loss=1.5, validation_accuracy=0.25))
        shown.on_step(60, 60)
        shown.on_epoch(EpochReport(3, 3, 0.5, 0.75, 0.005))
    first, second = printed.file.getvalue().splitlines()
    assert first.startswith("tdn-rgb: 40 of 60 steps, ") and first.endswith(" left")
    assert "epoch 2 of 3, loss 1, training accuracy 50.0%, learning rate 0.05, validation loss 1.5" in first
    assert "epoch 3 of 3, loss 0.5, training accuracy 75.0%" in second and "validation accuracy 25.0%" in second
    assert json.loads((tmp_path / "t/metrics.json").read_text())["loss"] == 0.5
