"""Snapshots: a training goes on where it was cut off, and only from a snapshot of its own."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from tdn_data.models.training.config import Part, TrainConfig
from tdn_data.models.training.resources import Resources
from tdn_data.models.training.snapshot import Identity, SnapshotFolder, _content_of
from tdn_data.models.training.train import train
from tdn_data.pipeline.errors import PipelineError
from tdn_data.pipeline.shards.reader import ShardReader

CONFIG = TrainConfig(
    backbone="resnet18",
    backbone_options={"width": 8, "dropout": 0.5},
    num_segments=2,
    size=32,
    crop="random",
    epochs=3,
    batch_size=4,
    learning_rate=0.02,
)


def snapshots_in(folder: Path) -> dict[str, object]:
    """The arguments of a training that keeps every step."""
    return {"snapshots": folder, "resources": Resources(snapshot_seconds=0)}


class Crash(Exception):
    pass


@contextmanager
def crash_at_step(number: int) -> Iterator[None]:
    """Let the step of this number, from 1, fail half-way: weights are changed, nothing else."""
    count = 0

    def fail(*_: object) -> None:
        nonlocal count
        count += 1
        if count == number:
            raise Crash

    hook = register_optimizer_step_post_hook(fail)
    try:
        yield
    finally:
        hook.remove()


@pytest.fixture
def crashed(coloured: ShardReader, tmp_path: Path) -> Path:
    """The folder of a training that crashed in its fourth step of six."""
    with crash_at_step(4), pytest.raises(Crash):
        train(coloured, "tdn", config=CONFIG, out=tmp_path / "c.pt", **snapshots_in(tmp_path / "snapshots"))
    return tmp_path / "snapshots"


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("name", ["tdn", "lstm"])
def test_a_training_goes_on_from_every_step(coloured, tmp_path: Path, name: str, step: int) -> None:
    options = {"tdn": {}, "lstm": {"num_layers": 1, "num_cells": 8}}[name]
    config = replace(CONFIG, optimizer="adam" if name == "lstm" else "sgd", learning_rate=0.01)
    config = replace(config, backbone_options=CONFIG.backbone_options | options)
    whole, reported = [], []
    expected = train(coloured, name, config=config, out=tmp_path / "1.pt", on_epoch=whole.append).read_bytes()
    call = {"config": config, "out": tmp_path / "2.pt", **snapshots_in(tmp_path / "snapshots")}
    with crash_at_step(step), pytest.raises(Crash):
        train(coloured, name, **call)
    assert train(coloured, name, **call, on_epoch=reported.append).read_bytes() == expected
    assert reported == whole  # the epochs before the crash are reported again
    assert not (tmp_path / "snapshots").exists()


@pytest.mark.parametrize("step", [2, 5])
def test_all_that_a_training_may_have_goes_on(coloured, tmp_path: Path, step: int) -> None:
    config = replace(
        CONFIG, validation_split="test", schedule="plateau", patience=0, ema=0.7, mixup=0.3, label_smoothing=0.1
    )
    config = replace(config, micro_batches=2, clip_norm=1.0, precision="bf16", iterations=5, keep="last")
    config = replace(config, parts=(Part("difference.", learning_rate=0.01, end=4),))
    names, whole, reported = ("c.pt", "c-best.pt"), [], []
    train(coloured, "tdn", config=config, out=tmp_path / "1/c.pt", on_epoch=whole.append)
    call = {"config": config, "out": tmp_path / "2/c.pt", **snapshots_in(tmp_path / "snapshots")}
    with crash_at_step(step), pytest.raises(Crash):
        train(coloured, "tdn", **call)
    train(coloured, "tdn", **call, on_epoch=reported.append)
    assert reported == whole and len(whole) == 3
    assert all((tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes() for name in names)


def test_where_a_training_goes_on_is_said(coloured, crashed: Path, caplog) -> None:
    with caplog.at_level("INFO"):
        train(coloured, "tdn", config=CONFIG, out=crashed.parent / "c.pt", **snapshots_in(crashed))
    assert f"the training goes on from epoch 2 of 3, step 2 ({crashed}/snapshot)" in caplog.messages


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("parameters", "other parameters"),
        ("data", "other data"),
        ("version", "another version of the program"),
        ("torch", r"torch 1.0 where this is 2\."),
        ("cut", "is damaged or cut off"),
        ("bit", "is damaged or cut off"),
        ("empty", "is damaged or cut off"),
    ],
)
def test_a_snapshot_that_does_not_fit_is_said_and_the_training_starts_afresh(
    coloured, make_shards, crashed: Path, caplog, what: str, words: str
) -> None:
    path, reader, config = crashed / "snapshot", coloured, CONFIG
    content = bytearray(path.read_bytes())
    if what == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif what == "bit":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "parameters":
        config = replace(CONFIG, momentum=0.8)
    elif what == "data":
        (crashed.parent / "shards-rgb").rename(crashed.parent / "others")
        frames = np.zeros((4, 32, 32, 3), np.uint8)
        reader = make_shards([(f"v{n}", "train", (n % 2,), frames) for n in range(8)], class_names=("red", "green"))
    else:
        rewrite(path, **{what: {"version": 0, "torch": "1.0"}[what]})
    out, epochs = crashed.parent / "c.pt", []
    train(reader, "tdn", config=config, out=out, snapshots=crashed, on_epoch=epochs.append)
    assert len([text for text in caplog.messages if "the training starts afresh" in text]) == 1
    assert re.search(words, caplog.text)
    assert len(epochs) == 3
    assert out.read_bytes() == train(reader, "tdn", config=config, out=crashed.parent / "whole.pt").read_bytes()


def rewrite(path: Path, **changes: object) -> None:
    """Put another identity into a snapshot's file."""
    content = _content_of(path)
    folder = SnapshotFolder(path.parent)
    folder.save(content["state"], Identity(**content["identity"] | changes))


def test_control_c_is_obeyed_after_the_step_and_its_snapshot(coloured, tmp_path: Path) -> None:
    call = {"config": CONFIG, "out": tmp_path / "c.pt", "snapshots": tmp_path / "s"}
    with pytest.raises(KeyboardInterrupt):
        train(coloured, "tdn", **call, on_epoch=lambda _: signal.raise_signal(signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sorted(path.name for path in call["snapshots"].iterdir()) == ["lock", "snapshot"]
    assert not call["out"].exists()
    expected = train(coloured, "tdn", config=call["config"], out=tmp_path / "whole.pt").read_bytes()
    assert train(coloured, "tdn", **call).read_bytes() == expected


def test_a_loss_that_is_no_number_names_step_and_videos_and_leaves_the_snapshot(coloured, tmp_path: Path) -> None:
    call = {"config": replace(CONFIG, learning_rate=1e30), "out": tmp_path / "c.pt"}
    call |= snapshots_in(tmp_path / "s")
    with pytest.raises(PipelineError, match=r"the loss is (nan|inf) in epoch \d, step \d \((v0\d, ){3}v0\d\); lower"):
        train(coloured, "tdn", **call)
    assert (tmp_path / "s/snapshot").exists() and not call["out"].exists()


def test_without_a_folder_for_them_there_are_no_snapshots(coloured, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    train(coloured, "tdn", config=CONFIG, out=tmp_path / "c.pt")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "c.pt"}


def test_dropout_is_drawn_alike_with_any_number_of_workers(coloured, tmp_path: Path) -> None:
    first = train(coloured, "tdn", config=CONFIG, out=tmp_path / "1.pt").read_bytes()
    second = train(coloured, "tdn", config=CONFIG, out=tmp_path / "2.pt", resources=Resources(num_workers=2))
    assert first == second.read_bytes()


def test_a_disk_that_takes_no_snapshot_does_not_end_the_training(
    coloured, tmp_path: Path, caplog, few_bytes_a_file
) -> None:
    expected = train(coloured, "tdn", config=CONFIG, out=tmp_path / "1.pt").read_bytes()
    with few_bytes_a_file(len(expected) * 3 // 2):  # a snapshot also holds SGD's momentum
        out = train(coloured, "tdn", config=CONFIG, out=tmp_path / "2.pt", **snapshots_in(tmp_path / "s"))
    assert any(text.startswith("no snapshot: ") and "file too large" in text for text in caplog.messages)
    assert out.read_bytes() == expected
