"""Training: phases, schedule, losses, and the same bytes for the same seed."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from tdn_data.models import build_model
from tdn_data.models.clips.dataset import ClipDataset
from tdn_data.models.clips.pixels import normalize
from tdn_data.models.evaluation.evaluate import EvaluateConfig, evaluate, restore_model
from tdn_data.models.networks.base import ClipShape
from tdn_data.models.training.batches import EpochBatches, load_batches, on_device
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.learning_rate import learning_rate_at
from tdn_data.models.training.phases import set_phase, training_phases
from tdn_data.models.training.resources import Resources
from tdn_data.models.training.train import train
from tdn_data.models.training.training_job import Job, prepare
from tdn_data.models.weights.checkpoint import read_checkpoint
from tdn_data.pipeline.errors import InputError, StorageError
from tdn_data.pipeline.shards.reader import ShardReader
from tests.models.training.small import SMALL, weights

CONFIG = SMALL


@pytest.mark.parametrize("name", ["tsn", "tdn"])
def test_a_plain_task_is_learned(coloured: ShardReader, tmp_path: Path, name: str) -> None:
    reports = []
    config = replace(CONFIG, epochs=12, batch_size=8, lr_steps=(), fixed_share=0.25 if name == "tdn" else 0.0)
    out = train(coloured, name, config=config, out=tmp_path / "c.pt", on_epoch=reports.append)
    assert [report.epoch for report in reports] == list(range(1, 13))
    assert reports[-1].loss < 0.25 * reports[0].loss  # 0.001 to 0.04, whatever the seed
    assert reports[-1].accuracy == 1.0
    checkpoint = read_checkpoint(out)
    assert (checkpoint.model, checkpoint.num_classes, checkpoint.clip_size) == (name, 2, 32)
    assert checkpoint.options["num_segments"] == 2


def test_same_seed_same_bytes_and_another_seed_others(coloured: ShardReader, tmp_path: Path) -> None:
    config = replace(CONFIG, fixed_share=0.5)
    first = train(coloured, "tdn", config=config, out=tmp_path / "1.pt").read_bytes()
    torch.manual_seed(99)  # what happened before must not matter
    assert train(coloured, "tdn", config=config, out=tmp_path / "2.pt").read_bytes() == first
    parallel = train(coloured, "tdn", config=config, out=tmp_path / "3.pt", resources=Resources(num_workers=2))
    assert parallel.read_bytes() == first
    assert train(coloured, "tdn", config=replace(config, seed=1), out=tmp_path / "4.pt").read_bytes() != first


def test_the_training_split_can_be_named_and_must_have_videos(coloured: ShardReader, tmp_path: Path) -> None:
    own = train(coloured, "tsn", config=CONFIG, out=tmp_path / "own.pt").read_bytes()
    named = train(coloured, "tsn", config=replace(CONFIG, split="train"), out=tmp_path / "named.pt").read_bytes()
    other = train(coloured, "tsn", config=replace(CONFIG, split="test"), out=tmp_path / "other.pt").read_bytes()
    assert own == named != other
    with pytest.raises(InputError, match="no video of the split 'trainval' has frames .*name one of these as `split`"):
        train(coloured, "tsn", config=replace(CONFIG, split="trainval"), out=tmp_path / "none.pt")


def test_a_short_sports_video_is_trained_on_repeated_to_five_minutes(make_shards, tmp_path: Path, monkeypatch) -> None:
    asked = []

    def dataset(*arguments, **options):
        asked.append(options["repeat_to"])
        return ClipDataset(*arguments, **options)

    monkeypatch.setattr("tdn_data.models.training.phases.ClipDataset", dataset)
    videos = [(f"v{n}", "train", (n % 2,), np.full((3, 32, 32, 3), n, np.uint8)) for n in range(4)]
    reader = make_shards(videos, class_names=("a", "b"), name="sports1m", multi_label=True, parameters={"fps": 1.0})
    for rate in (None, 0.5):
        config = replace(CONFIG, epochs=1, cut="consecutive", cut_fps=rate)
        out = train(reader, "conv_pooling", config=config, out=tmp_path / "c.pt")
        assert read_checkpoint(out).cut == {"kind": "consecutive", "fps": rate}
    assert asked == [300, 150]


def test_global_random_state_is_left_alone(coloured: ShardReader, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    train(coloured, "tsn", config=CONFIG, out=tmp_path / "c.pt")
    assert torch.equal(torch.rand(4), expected)


def test_phase_one_trains_the_difference_subnetwork_and_the_image_classifier(
    coloured: ShardReader, tmp_path: Path
) -> None:
    start = train(coloured, "tsn", config=CONFIG, out=tmp_path / "tsn.pt")
    config = replace(CONFIG, init=(str(start),), fixed_share=1.0)
    before, after = weights(start), weights(train(coloured, "tdn", config=config, out=tmp_path / "tdn.pt"))
    changed = {
        name for name, value in before.items() if not torch.equal(after[name.replace("backbone.", "image.", 1)], value)
    }
    assert changed == {"backbone.fc.weight", "backbone.fc.bias"}  # statistics of a trained trunk are kept, too
    untrained = build_model("tdn", num_classes=2, **config.model_options("tdn", "rgb")).difference.conv1.weight
    assert not torch.equal(after["difference.conv1.weight"], untrained)


def test_phase_two_trains_everything(coloured: ShardReader, tmp_path: Path) -> None:
    start = train(coloured, "tsn", config=CONFIG, out=tmp_path / "tsn.pt")
    config = replace(CONFIG, init=(str(start),), fixed_share=0.5)
    after = weights(train(coloured, "tdn", config=config, out=tmp_path / "tdn.pt"))
    assert not torch.equal(after["image.conv1.weight"], weights(start)["backbone.conv1.weight"])


@pytest.mark.parametrize("backbone", ["resnet18", "bninception", "alexnet"])
def test_fixed_trunk_has_a_learning_classifier_in_every_backbone(backbone: str) -> None:
    with torch.device("meta"):
        model = build_model("tdn", num_classes=3, backbone="resnet18")
        model.image = build_model("tsn", num_classes=3, backbone=backbone).backbone
    set_phase(model, image_fixed=True)
    learning = {name.split(".")[0] for name, parameter in model.image.named_parameters() if parameter.requires_grad}
    assert learning in ({"fc"}, {"last_linear"}, {"classifier"})
    assert all(parameter.requires_grad for parameter in model.difference.parameters())
    set_phase(model, image_fixed=False)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_statistics_of_a_fixed_trunk_are_kept_only_when_it_was_trained() -> None:
    model = build_model("tdn", num_classes=3, backbone="resnet18", width=8)
    set_phase(model, image_fixed=True, pretrained=True)
    assert not model.image.bn1.training
    assert model.difference.bn1.training
    set_phase(model, image_fixed=True, pretrained=False)
    assert model.image.bn1.training


def test_partial_normalisation_fixes_all_but_the_first() -> None:
    model = build_model("tdn", num_classes=3, backbone="resnet18", width=8)
    set_phase(model, image_fixed=False, partial_bn=True)
    for subnetwork in (model.image, model.difference):
        states = {name: part.training for name, part in subnetwork.named_modules() if "bn" in name}
        assert states.pop("bn1")
        assert not any(states.values())


def test_learning_rate_falls_at_the_steps() -> None:
    config = TrainConfig(epochs=10, learning_rate=1.0, lr_steps=(0.4, 0.8))
    rates = [learning_rate_at(epoch, config) for epoch in range(10)]
    assert rates == pytest.approx([1.0] * 4 + [0.1] * 4 + [0.01] * 2)


@pytest.mark.parametrize("num_clips", [1, 7, 8, 9, 16, 17])
def test_batches_hold_every_clip_once_and_none_is_a_leftover(num_clips: int) -> None:
    batches = EpochBatches(num_clips, 8, seed=0)
    first, second = list(batches), list(batches)
    for epoch, drawn in enumerate((first, second)):
        assert sorted(key for batch in drawn for key in batch) == [(epoch, index) for index in range(num_clips)]
        assert len(drawn) == len(batches)
        assert num_clips == 1 or min(map(len, drawn)) > 1
    if num_clips > 7:
        assert [key[1] for key in sum(first, [])] != [key[1] for key in sum(second, [])]


def test_clips_are_moved_as_levels_and_normalised_on_the_device(coloured: ShardReader) -> None:
    model = build_model("tsn", num_classes=2, **SMALL.model_options("tsn", "rgb"))
    (phase,) = training_phases(coloured, None, model, SMALL)
    batches = EpochBatches(phase.clips, 4, seed=0)
    loaded = next(iter(load_batches(phase.dataset, batches, num_workers=0)))
    assert loaded[0].dtype == torch.uint8 and loaded[0].shape[-1] == 3
    clips, _ = on_device(loaded, torch.device("cpu"))
    assert torch.equal(clips, torch.stack([normalize(clip.numpy()) for clip in loaded[0]]))


def test_several_labels_are_learned_independently(make_shards, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    videos = []
    for number in range(12):
        labels = tuple(label for label in range(2) if number >> label & 1)
        frames = generator.integers(0, 100, (4, 32, 32, 3), dtype=np.uint8)
        frames[..., list(labels)] += 150
        videos.append((f"v{number}", "train", labels, frames))
    reader, reports = make_shards(videos, class_names=("red", "green"), multi_label=True), []
    config = replace(CONFIG, epochs=30, batch_size=12, lr_steps=(), fixed_share=0.0)
    train(reader, "tsn", config=config, out=tmp_path / "c.pt", on_epoch=reports.append)
    assert reports[-1].loss < 0.1 * reports[0].loss  # 0.002 to 0.003, whatever the seed


def test_flow_is_stacked_by_five(make_shards, tmp_path: Path) -> None:
    flow = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 2), dtype=np.uint8)
    reader = make_shards([(f"v{number}", "train", (number % 2,), flow) for number in range(4)], class_names="ab")
    state = weights(train(reader, "tdn", config=replace(CONFIG, epochs=1), out=tmp_path / "c.pt"))
    assert state["image.conv1.weight"].shape[1] == 10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it must be from 1 to 1,000,000"),
        ({"momentum": 1.5}, "momentum is 1.5; it must be between 0 and 1"),
        ({"fixed_share": -0.1}, "fixed_share is -0.1; it must be between 0 and 1"),
        ({"lr_steps": (0.5, 3)}, "lr_steps is .*; each must be a share of all epochs"),
        ({"num_threads": 0}, "num_threads is 0; it must be from 1 to 1,024"),
    ],
)
def test_impossible_values_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**wrong)


def test_weights_of_another_network_stop_the_training(coloured: ShardReader, tmp_path: Path) -> None:
    start = train(coloured, "tsn", config=replace(CONFIG, backbone_options={"width": 4}), out=tmp_path / "narrow.pt")
    with pytest.raises(InputError, match="belongs to another network"):
        train(coloured, "tsn", config=replace(CONFIG, init=(str(start),)), out=tmp_path / "c.pt")
    assert not (tmp_path / "c.pt").exists()


@pytest.mark.parametrize(
    ("name", "options", "snippet_length"),
    [("lstm", {"num_layers": 1, "num_cells": 16}, 1), ("actionflownet_2f", {}, 2), ("stacked", {}, 2)],
)
def test_other_networks_are_trained_and_tested_on_clips_of_their_own_shape(
    coloured: ShardReader, tmp_path: Path, name: str, options: dict[str, object], snippet_length: int
) -> None:
    config = replace(CONFIG, backbone_options={"width": 8, **options}, epochs=1, size=32)
    out = train(coloured, name, config=config, out=tmp_path / "c.pt")
    model = restore_model(read_checkpoint(out))
    assert ClipShape.of(model, 32) == ClipShape(2, snippet_length, 32)
    result = evaluate(coloured, out, config=EvaluateConfig(num_clips=1, num_crops=1))
    assert result.scores.shape == (len(result.video_ids), 2) and np.isfinite(result.scores).all()


@pytest.mark.parametrize(
    ("name", "changes", "own"),
    [
        ("tsn", {"taps": ("input",), "combination": "gated", "flow_weight": 0.5}, {}),
        ("tdn", {}, {"combination": "sum"}),
        ("tdn", {"taps": ("input",)}, {"combination": "sum", "taps": ("input",)}),
        ("tdn", {"taps": ()}, {"combination": "sum", "taps": ()}),
        ("stacked", {}, {}),
        ("stacked", {"flow_weight": 0.5, "combination": "gated"}, {"flow_weight": 0.5}),
    ],
)
def test_a_network_is_given_its_own_options_where_they_are_set(name, changes, own) -> None:
    options = replace(CONFIG, **changes).model_options(name, "rgb")
    assert options == {"backbone": "resnet18", "num_segments": 2, "modality": "rgb", "width": 8, **own}


def optimized(reader: ShardReader, out: Path, **changes: object) -> list[dict[str, object]]:
    """The settings with which each step of a training was taken."""
    taken: list[dict[str, object]] = []

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        taken.append({name: value for name, value in optimizer.param_groups[0].items() if name != "params"})

    hook = register_optimizer_step_post_hook(note)
    try:
        train(reader, "tsn", config=replace(CONFIG, **changes), out=out)
    finally:
        hook.remove()
    return taken


def test_the_optimizer_is_given_all_that_the_configuration_says(coloured: ShardReader, tmp_path: Path) -> None:
    changes = {"momentum": 0.7, "weight_decay": 0.03, "learning_rate": 0.1, "lr_steps": (0.5,)}
    for step, rate in zip(optimized(coloured, tmp_path / "s.pt", **changes), [0.1, 0.1, 0.01, 0.01], strict=True):
        assert (step["lr"], step["momentum"], step["weight_decay"]) == (pytest.approx(rate), 0.7, 0.03)
    for step in optimized(coloured, tmp_path / "a.pt", optimizer="adam", **changes):
        assert (step["betas"], step["weight_decay"]) == ((0.7, 0.999), 0.03)


def test_a_mirrored_training_clip_gets_its_partners_label(make_shards, tmp_path: Path, monkeypatch) -> None:
    """The last column is bright where a clip moves right; once mirrored it moves left, and its target must say so."""
    seen = []

    class Watched(ClipDataset):
        def __getitem__(self, key):
            clip, target = super().__getitem__(key)
            seen.append((key[1], bool(clip[..., -1, :].sum() > clip[..., 0, :].sum()), int(target)))
            return clip, target

    monkeypatch.setattr("tdn_data.models.training.phases.ClipDataset", Watched)
    videos = []
    for number in range(8):
        frames = np.zeros((4, 32, 32, 3), np.uint8)
        frames[:, :, -1 if number % 2 else 0] = 255
        videos.append((f"v{number}", "train", (number % 2,), frames))
    reader = make_shards(videos, class_names=("move_left", "move_right"), name="demo")
    config = replace(CONFIG, mirror=True, epochs=4)
    train(reader, "tsn", config=config, out=tmp_path / "c.pt")
    assert len(seen) == 32
    assert all(right == (target == 1) for _, right, target in seen)
    assert any((video, not right, 1 - target) in seen for video, right, target in seen)  # some were mirrored


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 1}, "size is 1; it must be from 16 to 4,096"),
        ({"num_threads": 100_000}, "num_threads is 100000; it must be from 1 to 1,024"),
        ({"num_segments": 10**6}, "num_segments is 1000000; it must be from 1 to 1,024"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it must be a number above 0"),
        ({"flow_weight": float("inf")}, "flow_weight is inf; it must be a number, 0 or more"),
    ],
)
def test_what_no_training_can_do_is_refused_when_it_is_configured(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(CONFIG, **change)


def test_a_disk_without_room_for_the_checkpoint_is_reported_before_the_first_epoch(
    coloured: ShardReader, tmp_path: Path, few_bytes_a_file
) -> None:
    epochs, out = [], tmp_path / "run/c.pt"
    with few_bytes_a_file(200_000), pytest.raises(StorageError, match=r"c\.pt cannot be written \(file too large\)"):
        train(coloured, "tsn", config=CONFIG, out=out, on_epoch=epochs.append)
    assert not epochs and list(out.parent.iterdir()) == []


def test_a_disk_that_others_fill_during_a_training_still_takes_its_checkpoint(tmp_path: Path, on_a_small_disk) -> None:
    words = on_a_small_disk(
        tmp_path,
        1_500_000,
        f"""
import torch
from pathlib import Path
from models import build_model
from tdn_data.models.weights.checkpoint import Checkpoint, read_checkpoint, room_for_checkpoint
folder, options = Path({str(tmp_path)!r}), {{"backbone": "resnet18", "width": 8, "num_segments": 2}}
state = build_model("tsn", num_classes=2, **options).state_dict()
kept = Checkpoint("tsn", options, 2, 32, state)
with room_for_checkpoint(kept, folder / "c.pt") as save:
    try:
        with open(folder / "others", "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    except OSError as error:
        print(error.strerror)
    trained = {{name: value + 1 for name, value in state.items()}}
    save(Checkpoint("tsn", options, 2, 32, trained))
same = all(torch.equal(value, trained[name]) for name, value in read_checkpoint(folder / "c.pt").state_dict.items())
print(same, sorted(path.name for path in folder.iterdir()))
""",
    )
    assert words.splitlines() == ["No space left on device", "True ['c.pt', 'others']"]


def test_branches_that_learned_on_one_fixed_layer_start_a_network_of_all(coloured, tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO)
    config = TrainConfig(backbone="bninception", num_segments=1, size=32, batch_size=8, epochs=1, num_threads=1)

    def trained(*branches: str, **changes: object) -> Path:
        options = {"snippet_length": 2, "branches": list(branches)}
        out = tmp_path / f"{'-'.join(branches)}.pt"
        train(coloured, "disentangled", config=replace(config, backbone_options=options, **changes), out=out)
        return out

    appearance = trained("appearance")
    motion = trained("motion", init=(str(appearance),), fixed=("appearance.",), fixed_share=1.0)
    whole = replace(config, backbone_options={"snippet_length": 2}, init=(str(motion), str(appearance)))
    network = prepare(Job(coloured, None, "disentangled", whole, tmp_path / "all.pt", Resources())).model.eval()
    clip = torch.randn(1, 1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores = network.forward_streams(clip)
        for branch, path in (("appearance", appearance), ("motion", motion)):
            own = restore_model(read_checkpoint(path)).cpu().eval()
            assert torch.equal(scores[branch], own(clip)), branch
    assert f"{motion} gives the motion branch" in caplog.messages and "not score" not in caplog.text
