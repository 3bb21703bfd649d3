"""Curves of a training, and a disk that takes no more of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tdn_data.models.training.curves import Curves
from tdn_data.pipeline.errors import InputError, StorageError


def test_each_epoch_adds_a_value_to_each_curve(tmp_path: Path) -> None:
    with Curves(tmp_path / "training") as curves:
        curves.log({"loss": 2.0})
        curves.log({"loss": 1.0, "accuracy": 0.5})
    written = json.loads((tmp_path / "training/metrics.json").read_text())
    assert (written["loss"], written["accuracy"]) == (1.0, 0.5)
    assert (tmp_path / "training/plots/metrics/loss.tsv").read_text().split() == [
        "step",
        "loss",
        "0",
        "2.0",
        "1",
        "1.0",
    ]


def test_a_training_that_is_refused_leaves_the_curves_of_the_one_before(tmp_path: Path) -> None:
    with Curves(tmp_path / "training") as curves:
        curves.log({"loss": 2.0})
    with pytest.raises(InputError), Curves(tmp_path / "training"):
        raise InputError("device is 'cuda', and torch finds no GPU here.")
    assert json.loads((tmp_path / "training/metrics.json").read_text())["loss"] == 2.0
    assert (tmp_path / "training/plots/metrics/loss.tsv").exists()


def records_of(path: Path) -> list[bytes]:
    """The records of an event file: length, checksum, content, checksum."""
    content, records = path.read_bytes(), []
    while content:
        end = 12 + int.from_bytes(content[:8], "little")
        records, content = [*records, content[12:end]], content[end + 4 :]
    return records


def test_event_files_hold_the_same_values_by_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    monkeypatch.chdir(tmp_path)
    with Curves(tmp_path / "training", events=tmp_path / "tensorboard/run") as curves:
        curves.log({"loss": 2.0})
        curves.log({"loss": 1.0, "accuracy": 0.5})
    (path,) = (tmp_path / "tensorboard/run").iterdir()
    events = [event_pb2.Event.FromString(record) for record in records_of(path)]
    logged = [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]
    assert logged == [(1, "loss", 2.0), (2, "loss", 1.0), (2, "accuracy", 0.5)]


def test_a_full_disk_does_not_end_the_training_but_is_named_at_its_end(
    tmp_path: Path, few_bytes_a_file, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []
    monkeypatch.chdir(tmp_path)  # outside a project, where DVCLive keeps no database
    with (
        pytest.raises(StorageError, match=r"the curves are not whole \(file too large\); the checkpoint is written"),
        few_bytes_a_file(8),
        Curves(tmp_path / "training") as curves,
    ):
        for epoch in range(3):
            curves.log({"loss": 1.0 / (epoch + 1)})
            ended.append(epoch)
    assert ended == [0, 1, 2]
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == [
        "curves cannot be written (file too large); the training goes on"
    ]


def test_a_fault_of_the_training_itself_is_not_covered(tmp_path: Path, few_bytes_a_file, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="lost to infinity"), few_bytes_a_file(8), Curves(tmp_path / "t") as curves:
        curves.log({"loss": 1.0})
        raise ValueError("lost to infinity")


def test_a_disk_that_is_full_at_the_start_is_named_in_a_sentence(tmp_path: Path, few_bytes_a_file, monkeypatch) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("")
    monkeypatch.chdir(tmp_path)
    with few_bytes_a_file(8), pytest.raises(StorageError, match="training: curves cannot be written"):
        Curves(Path("training")).start()


def test_a_folder_that_cannot_be_written_into_is_named_before_the_first_epoch(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder belongs")
    with pytest.raises(InputError, match="metrics.json cannot be written"):
        Curves(tmp_path / "run/training")
    with pytest.raises(InputError, match="run/tensorboard/events cannot be written"):
        Curves(tmp_path / "training", events=tmp_path / "run/tensorboard")
