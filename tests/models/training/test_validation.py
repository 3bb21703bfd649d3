"""Validation: which videos, what is measured, and which weights are kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tdn_data.models.clips.dataset import ClipDataset
from tdn_data.models.evaluation.evaluate import EvaluateConfig, evaluate
from tdn_data.models.evaluation.metrics import compute_metrics
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.train import train
from tdn_data.models.training.validation import Measured, held_out
from tdn_data.models.weights.checkpoint import read_checkpoint
from tdn_data.pipeline.errors import InputError
from tests.models.training.small import SMALL

CONFIG = replace(SMALL, epochs=3)


def video(number: int, label: int) -> SimpleNamespace:
    return SimpleNamespace(video_id=f"v{number}", labels=(label,))


def test_a_share_of_each_class_is_held_out_whatever_the_other_classes_hold() -> None:
    videos = [video(number, number % 3) for number in range(60)]
    chosen = held_out(videos, 0.2)
    assert Counter(one.labels for one in chosen) == {(0,): 4, (1,): 4, (2,): 4}
    alone = held_out([one for one in videos[::-1] if one.labels == (1,)], 0.2)
    assert {one.video_id for one in alone} == {one.video_id for one in chosen if one.labels == (1,)}


def test_no_class_loses_its_last_video() -> None:
    assert [one.labels for one in held_out([video(0, 0), video(1, 1), video(2, 1)], 0.9)] == [(1,)]
    with pytest.raises(InputError, match=r"validation_share is 0.1; of 2 training videos in 2 classes that is none"):
        held_out([video(0, 0), video(1, 1)], 0.1)


def test_what_is_held_out_is_not_trained_on(coloured, tmp_path: Path, monkeypatch) -> None:
    drawn = Counter()

    class Watched(ClipDataset):
        def __getitem__(self, key):
            drawn[self.videos[key[1]].video_id] += 1
            return super().__getitem__(key)

    monkeypatch.setattr("tdn_data.models.training.phases.ClipDataset", Watched)
    reports = []
    config = replace(CONFIG, validation_share=0.25)
    train(coloured, "tsn", config=config, out=tmp_path / "c.pt", on_epoch=reports.append)
    videos = [one for one in coloured.videos if one.split == "train"]
    kept = {one.video_id for one in held_out(videos, 0.25)}
    assert len(kept) == 2
    assert drawn == {one.video_id: 3 for one in videos if one.video_id not in kept}
    assert all(report.validation_accuracy in (0, 0.5, 1) and report.validation_map is None for report in reports)


def test_a_split_is_measured_as_evaluation_does_and_changes_no_weights(coloured, tmp_path: Path) -> None:
    reports = []
    plain = train(coloured, "tdn", config=CONFIG, out=tmp_path / "plain.pt").read_bytes()
    config = replace(CONFIG, validation_split="test", keep="last")
    out = train(coloured, "tdn", config=config, out=tmp_path / "c.pt", on_epoch=reports.append)
    assert out.read_bytes() == plain and (tmp_path / "c-best.pt").exists()
    result = evaluate(coloured, out, config=EvaluateConfig(split="test", num_clips=1, num_crops=1))
    metrics = compute_metrics(result.scores, result.labels, multi_label=False)
    assert reports[-1].validation_accuracy == metrics.top1
    assert reports[-1].validation_loss > 0


def test_the_best_weights_are_kept_and_the_last_beside_them(coloured, tmp_path: Path) -> None:
    reports, config = [], replace(CONFIG, validation_split="test", epochs=6, learning_rate=0.3, lr_steps=())
    out = train(coloured, "tsn", config=config, out=tmp_path / "c.pt", on_epoch=reports.append)
    ranks = [Measured(one.validation_loss, one.validation_accuracy, None).rank for one in reports]
    shorter = replace(config, epochs=ranks.index(max(ranks)) + 1, validation_split=None)
    expected = train(coloured, "tsn", config=shorter, out=tmp_path / "shorter.pt")
    states = [read_checkpoint(path).state_dict for path in (out, expected)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert (tmp_path / "c-last.pt").exists()


def test_it_is_measured_every_so_many_epochs_and_after_the_last(coloured, tmp_path: Path) -> None:
    reports, config = [], replace(CONFIG, validation_split="test", epochs=5, validate_every=2)
    train(coloured, "tsn", config=config, out=tmp_path / "c.pt", on_epoch=reports.append)
    assert [one.epoch for one in reports if one.validation_loss is not None] == [2, 4, 5]


def test_several_labels_have_a_mean_average_precision(make_shards, tmp_path: Path) -> None:
    generator, videos, reports = np.random.default_rng(0), [], []
    for number in range(12):
        frames = generator.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)
        videos.append((f"v{number}", "train" if number < 8 else "val", ((0,), (0, 1), (1,))[number % 3], frames))
    reader = make_shards(videos, class_names=("a", "b"), multi_label=True)
    config = replace(CONFIG, validation_split="val", keep="last", epochs=1)
    out = train(reader, "tsn", config=config, out=tmp_path / "c.pt", on_epoch=reports.append)
    result = evaluate(reader, out, config=EvaluateConfig(split="val", num_clips=1, num_crops=1))
    metrics = compute_metrics(result.scores, result.labels, multi_label=True)
    assert reports[-1].validation_map == pytest.approx(metrics.mean_ap)
    assert reports[-1].validation_accuracy == metrics.hit1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"validation_split": "val"}, "validation_split is 'val': no video of the split 'val' has frames"),
        ({"validation_split": "train"}, "validation_split is 'train', the split that is trained on"),
        ({"validation_share": 0.1}, "validation_share is 0.1; of 8 training videos in 2 classes that is none"),
        ({"batch_size": 9}, "batch_size is 9, and there are only 8 clips to train on; set it to 8 or less"),
        ({"batch_size": 8, "validation_share": 0.25}, "batch_size is 8, and there are only 6 clips to train on"),
    ],
)
def test_what_cannot_be_measured_is_said_before_the_work(coloured, tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        train(coloured, "tsn", config=replace(CONFIG, **changes), out=tmp_path / "c.pt")
    assert not (tmp_path / "c.pt").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": "plateau"}, "schedule is 'plateau'; it needs validation_share or validation_split"),
        ({"validation_share": 0.1, "validation_split": "val"}, "validation_share and validation_split are both set"),
        ({"validation_share": 1.0}, "validation_share is 1.0; it must be at least 0 and below 1"),
        ({"validation_share": 0.1, "flow_share": 1.0}, "flow_share is 1; validation measures classes"),
    ],
)
def test_what_does_not_go_together_is_named(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainConfig(**changes)
