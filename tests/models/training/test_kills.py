"""Kill -9 a training at random moments, continue it each time, and compare with an undisturbed one, bit by bit.

TDN_DATA_KILLS says how often; `make kills` has 20.
"""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from tdn_data.models.weights.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow

NUM_KILLS = int(os.environ.get("TDN_DATA_KILLS", "5"))
FINISH_SECONDS = 240
CHILD = """
import sys
from pathlib import Path
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.resources import Resources
from tdn_data.models.training.train import train
from tdn_data.pipeline.shards.reader import ShardReader

shards, out, snapshots, num_workers = sys.argv[1:]
config = TrainConfig(
    backbone="resnet18", backbone_options={"width": 8, "dropout": 0.5}, num_segments=2, size=32, crop="random",
    epochs=30, batch_size=4, learning_rate=0.02, num_threads=1,
)
print("ready", flush=True)
resources = Resources(num_workers=int(num_workers), snapshot_seconds=0)
reader, folder = ShardReader(shards, modality="rgb"), Path(snapshots)
train(reader, "tdn", config=config, out=Path(out), snapshots=folder, resources=resources)
"""


def start(shards, out, num_workers=0):
    """Start a training and wait until it begins."""
    words = [sys.executable, "-c", CHILD, str(shards), str(out), str(out.parent / "snapshots"), str(num_workers)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process):
    _, words = process.communicate(timeout=FINISH_SECONDS)
    assert process.returncode == 0, words


def same(first, second):
    states = [read_checkpoint(path).state_dict for path in (first, second)]
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_killed_training_goes_on_to_the_same_weights(coloured, tmp_path):
    shards, expected, out = tmp_path / "shards-rgb", tmp_path / "whole/c.pt", tmp_path / "killed/c.pt"
    process, started = start(shards, expected), time.monotonic()
    finish(process)
    whole_seconds, generator, num_kills = time.monotonic() - started, random.Random(4), 0
    while num_kills < NUM_KILLS:
        process = start(shards, out, num_workers=num_kills % 2)
        time.sleep(generator.uniform(0.05, 0.5) * whole_seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            num_kills += 1
        else:  # it was done before
            assert process.returncode == 0 and same(expected, out)
            out.unlink()
    finish(start(shards, out))
    assert same(expected, out)
    assert [path.name for path in out.parent.iterdir()] == ["c.pt"]  # no snapshot, no lock, nothing half


def test_sigterm_leaves_a_snapshot_and_ends_the_process(coloured, tmp_path):
    shards, out = tmp_path / "shards-rgb", tmp_path / "run/c.pt"
    process, snapshot = start(shards, out), tmp_path / "run/snapshots/snapshot"
    while not snapshot.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    process.communicate(timeout=FINISH_SECONDS)
    assert process.returncode == -signal.SIGTERM
    assert sorted(path.name for path in out.parent.rglob("*")) == ["lock", "snapshot", "snapshots"]


def test_a_second_trainer_of_a_run_is_refused_while_the_first_lives(coloured, tmp_path):
    shards, out = tmp_path / "shards-rgb", tmp_path / "run/c.pt"
    first, lock = start(shards, out), tmp_path / "run/snapshots/lock"
    while not lock.exists():
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    second = start(shards, out)
    _, words = second.communicate(timeout=FINISH_SECONDS)
    assert "another training of this run is going on; wait for it or stop it" in words
    first.kill()
    first.communicate()
    third = start(shards, out)
    third.terminate()
    _, words = third.communicate(timeout=FINISH_SECONDS)
    assert "another training" not in words
