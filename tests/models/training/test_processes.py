"""Two processes on Ray come to the weights of one that parts each batch in two, also when one of them is killed."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from tdn_data.models.training.processes import Processes
from tdn_data.models.training.resources import Resources
from tdn_data.models.training.train import train
from tdn_data.models.weights.checkpoint import read_checkpoint
from tdn_data.pipeline.errors import InputError
from tests.models.training.small import SMALL

pytestmark = pytest.mark.slow

# batches of 5 clips, parted into 3 and 2; phase one leaves the image subnetwork out of every step's gradients
CONFIG = replace(
    SMALL,
    backbone_options={"width": 8, "dropout": 0.5},
    epochs=2,
    num_segments=3,
    batch_size=5,
    learning_rate=0.005,
    fixed_share=0.5,
    mixup=0.3,
    ema=0.5,
    num_threads=1,
    validation_split="test",
    keep="last",
)


def kill_a_worker() -> None:
    """Kill one of the workers of this process's Ray."""
    children = psutil.Process().children(recursive=True)
    workers = [child for child in children if "RayTrainWorker" in " ".join(child.cmdline())]
    assert len(workers) == 2
    os.kill(workers[0].pid, signal.SIGKILL)


def test_two_processes_of_which_one_is_killed_train_as_one_with_two_micro_batches(make_shards, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (14, 6, 32, 32, 3), dtype=np.uint8)
    videos = [(f"v{n:02d}", "test" if n > 9 else "train", (n % 2,), frames[n]) for n in range(14)]
    shards, alone, together = make_shards(videos, class_names=("red", "green")), [], []

    def on_epoch(report) -> None:
        together.append(report)
        if len(together) == 1:
            kill_a_worker()

    one = replace(CONFIG, micro_batches=2)
    expected = train(shards, "tdn", config=one, out=tmp_path / "1.pt", on_epoch=alone.append)
    found = train(
        shards,
        "tdn",
        config=CONFIG,
        out=tmp_path / "2.pt",
        on_epoch=on_epoch,
        snapshots=tmp_path / "snapshots",
        resources=Resources(num_processes=2, device="cpu", snapshot_seconds=0),
    )
    first, second = (read_checkpoint(path).state_dict for path in (expected, found))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-4, rtol=1e-3, msg=name)
    for one, two in zip(alone, together, strict=True):
        assert (two.epoch, two.accuracy, two.validation_accuracy) == (one.epoch, one.accuracy, one.validation_accuracy)
        assert (two.loss, two.validation_loss) == pytest.approx((one.loss, one.validation_loss), rel=1e-3)
    assert not (tmp_path / "snapshots").exists()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("micro_batches", [1, 2, 6])
def test_processes_part_a_batch_as_one_parts_it_in_micro_batches(size: int, micro_batches: int) -> None:
    num_parts = Processes(size=size).num_parts(micro_batches)
    assert num_parts % size == 0 and num_parts >= micro_batches
    for length in (num_parts, num_parts + 1, 2 * num_parts + 5):
        batch = list(range(length))
        shares = [Processes(rank, size).own(batch, num_parts) for rank in range(size)]
        parts = [part for share in shares for part in torch.tensor(share).tensor_split(num_parts // size)]
        expected = torch.tensor(batch).tensor_split(num_parts)
        assert all(map(torch.equal, parts, expected)) and len(parts) == num_parts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_processes": 5, "device": "cpu"}, "batch_size is 5, of which some batches have 4 clips, and 5 processes"),
        ({"ray_address": "127.0.0.1:1", "device": "cpu"}, "no Ray could be reached at 127.0.0.1:1"),
        ({"num_processes": 2, "device": "cuda"}, "2 processes need a GPU each; found: none"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_starts(coloured, tmp_path: Path, changes, message: str) -> None:
    if changes["device"] == "cuda" and torch.cuda.device_count() > 1:
        pytest.skip("two GPUs are here")
    with pytest.raises(InputError, match=message):
        train(coloured, "tdn", config=CONFIG, out=tmp_path / "c.pt", resources=Resources(**changes))


def test_ray_train_that_is_not_installed_is_said(coloured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.train.torch", None)
    with pytest.raises(
        InputError, match="takes Ray Train, which is not installed .* `pip install 'tdn-data\\[cluster\\]'`"
    ):
        train(coloured, "tdn", config=CONFIG, out=tmp_path / "c.pt", resources=Resources(num_processes=2))
