"""The papers' recipes, shrunken: every run of every recipe goes through every phase of its training."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tdn_data.models.networks import build_model
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.train import train
from tdn_data.models.weights.checkpoint import read_checkpoint
from tdn_data.pipeline.datasets.demo import CLASS_NAMES, render_clip
from tdn_data.pipeline.flow.quantize import quantize
from tdn_data.pipeline.shards.reader import ShardReader
from tests.models.conftest import MakeShards
from tests.stages.test_recipes import PAPERS, params_of

pytestmark = pytest.mark.slow

NARROW = {  # what makes each network small
    "tdn_wang": {"width": 16},
    "lstm": {"width": 8, "num_layers": 1, "num_cells": 8},
    "actionflownet": {"width": 8, "snippet_length": 4},
    "disentangled": {"snippet_length": 2, "radius": 1},
    **dict.fromkeys(("conv_pooling", "late_pooling", "slow_pooling", "local_pooling", "time_conv"), {"hidden": 16}),
}
STARTS = {  # files that a transfer starts from, and the runs that write them
    "wang": ("wang-kinetics400", {"kinetics-tdn-16": "tdn-16"}),
    "zhao": ("zhao-kinetics400", {"kinetics-disentangled": "disentangled-rgb"}),
    "ng": ("ng-sports1m", {}),
    "actionflownet": ("actionflownet-ucf101", {}),
}
NUM_STEPS = 8  # of a shrunken training that counts steps


def shrunken(network: str, config: TrainConfig) -> TrainConfig:
    """The same training with a narrow network, small frames and a few steps."""
    whole = network == "disentangled"  # whose backbone has one width only: half of the steps and clips
    num_steps = NUM_STEPS // (2 if whole else 1)
    factor = num_steps / config.iterations if config.iterations else 1.0

    def fewer(number: int) -> int:
        return max(1, round(number * factor))

    options = {key: value for key, value in config.backbone_options.items() if key == "snippet_length"}
    backbone = {} if whole else {"width": 8}
    parts = [replace(one, lr_drops=tuple(map(fewer, one.lr_drops)), end=fewer(one.end)) for one in config.parts]
    return replace(
        config,
        backbone="bninception" if whole else "resnet18",
        backbone_options=backbone | NARROW.get(network, {}) | options,
        num_segments=1 if whole else min(config.num_segments, 3 if config.num_segments < 120 else 12),
        size=32,
        batch_size=2 if whole else 4,
        iterations=num_steps if config.iterations else None,
        epochs=config.epochs if config.iterations else 2,
        fixed_share=round(config.fixed_share * NUM_STEPS) / NUM_STEPS,
        parts=tuple(parts),
        validation_share=0.5 if config.validation_share else 0.0,
        flow_pairs=None,
        flow_pairs_root=None,
        init=(),
        num_threads=1,
    )


def is_fixed(name: str, model: VideoNetwork, config: TrainConfig, moment: float) -> bool:
    """Whether a parameter must stay as it is at a moment of a training."""
    in_phase_one, ended = config.stays_at(moment)
    if name.startswith(ended):
        return True
    if in_phase_one and config.fixed is not None:
        return name.startswith(config.fixed) and not name.startswith(config.free)
    image = f"{model.image_part}."
    return (
        in_phase_one and name.startswith(image) and not model.image_subnetwork.is_classifier(name.removeprefix(image))
    )


class Watch:
    """Looks at a network as long as the same parts of it are fixed: they do not move, and something else does."""

    def __init__(self, model: VideoNetwork, config: TrainConfig) -> None:
        self._model, self._config, self._before = model, config, {}
        self.is_done = False

    def begin(self, phase: object) -> None:
        """Note the weights before the first step; `phase` is the first, which `train` tells of."""
        self._before = self._weights()

    def step(self, done: int, total: int) -> None:
        """Compare the weights where other parts are fixed after a step than in it."""
        of_moment = 1 if self._config.iterations else self._config.epochs / total
        moment, following = (done - 1) * of_moment, done * of_moment
        self.is_done = done == total
        if not self.is_done and self._config.stays_at(following) == self._config.stays_at(moment):
            return
        after = self._weights()
        moved = {name for name, value in after.items() if not torch.equal(value, self._before[name])}
        assert moved and not {name for name in moved if is_fixed(name, self._model, self._config, moment)}, moment
        self._before = after

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self._model.named_parameters()}


class Trainings:
    """Shrunken trainings on a few of the built-in clips; the same one is done once."""

    def __init__(self, make_shards: MakeShards, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tdn_data.models.training.training_job.build_model", self._build)
        clips = [render_clip(name, seed=seed, num_frames=8, size=48) for name in CLASS_NAMES for seed in (0, 1)]
        names = [(f"v{number:02d}", "train", (clip.label,)) for number, clip in enumerate(clips)]
        options = {"class_names": CLASS_NAMES, "name": "demo", "frames_per_second": 8.0}
        frames = [(*name, clip.frames) for name, clip in zip(names, clips, strict=True)]
        flow = [(*name, quantize(clip.flow, 5)) for name, clip in zip(names, clips, strict=True)]
        self._shards: dict[str, ShardReader] = {
            "rgb": make_shards(frames, **options),
            "flow": make_shards(flow, bound=5.0, **options),
        }
        self._folder, self._done = folder, {}

    def checkpoint(self, recipe: str, name: str) -> Path:
        """Train the shrunken version of a run, and before it those that it starts from; return its checkpoint."""
        chosen, config = params_of(recipe).run(name), params_of(recipe).train_config(name)
        init = tuple(file for one in config.init for file in self._start(recipe, one))
        small = replace(shrunken(chosen.network, config), init=init)
        key = (chosen.network, chosen.modality, repr(small))
        if key not in self._done:
            flow, reports = self._shards["flow"] if small.needs_flow else None, []
            reader, out = self._shards[chosen.modality], self._folder / f"{len(self._done)}.pt"
            self._config = small
            train(
                reader,
                chosen.network,
                config=small,
                out=out,
                flow=flow,
                on_start=lambda phase: self._watch.begin(phase),
                on_step=lambda done, total: self._watch.step(done, total),
                on_epoch=reports.append,
            )
            phases = {"flow" if one.accuracy is None else "joint" if one.flow_loss else "classes" for one in reports}
            assert phases == {kind for kind, _ in config.kinds}
            assert all(map(math.isfinite, [value for one in reports for value in one.values().values()]))
            assert self._watch.is_done
            written = read_checkpoint(out)
            assert (written.model, written.num_classes, written.clip_size) == (chosen.network, len(CLASS_NAMES), 32)
            assert tuple(written.data["class_names"]) == CLASS_NAMES
            assert written.cut == {"kind": config.cut, "fps": config.cut_fps}
            self._done[key] = out
        return self._done[key]

    def _build(self, *arguments: object, **options: object) -> VideoNetwork:
        """Build a network as a training does, and watch it."""
        model = build_model(*arguments, **options)
        self._watch = Watch(model, self._config)
        return model

    def _start(self, recipe: str, name: str) -> list[str]:
        """Return the files that a run starts from for one entry of its `init`; none for ImageNet's weights."""
        if name in params_of(recipe).runs:
            return [str(self.checkpoint(recipe, name))]
        other, names = STARTS[recipe.partition("-")[0]]
        file = Path(name).stem
        return [] if name == "imagenet" else [str(self.checkpoint(other, names.get(file, file)))]


def test_a_shrunken_version_of_every_run_goes_through_every_phase(
    make_shards: MakeShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(make_shards, tmp_path, monkeypatch)
    for recipe in PAPERS:
        for run in params_of(recipe).runs:
            try:
                checkpoint = trainings.checkpoint(recipe, run)
            except Exception as error:
                error.add_note(f"in run {run} of recipes/{recipe}.yaml")
                raise
            assert checkpoint.stat().st_size > 0
