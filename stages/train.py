"""DVC stage `train`: shards -> checkpoint, live metrics and a picture of the first batch of one run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from tdn_data.models import build_model
from tdn_data.models.evaluation.run_record import TRAINING, describe_run, write_record
from tdn_data.models.memory import keep_freed_memory
from tdn_data.models.report.first_batch import FIRST_BATCH, write_first_batch
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.curves import Curves
from tdn_data.models.training.phases import Phase
from tdn_data.models.training.resources import Resources
from tdn_data.models.training.train import train
from tdn_data.models.weights.published import IMAGENET, published_file
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.stages.cli import console
from tdn_data.stages.cli.training import TrainingProgress
from tdn_data.stages.params import RUNS, SNAPSHOTS, Run, checkpoint, load_params

EVENTS = "TDN_DATA_TENSORBOARD"  # a folder: event files for TensorBoard go into FOLDER/RUN


def main(name: str) -> None:
    """Run the stage; what it runs on stands in the environment (`resources.VARIABLES`)."""
    train_run(name, {})


def train_run(name: str, resources: Mapping[str, object]) -> None:
    """Train a run of params.yaml; what it runs on and `resources` leaves out or at None stands in the environment."""
    keep_freed_memory()
    with console.messages(), console.wrong_arguments():
        used = Resources.from_environment(resources)
        params = load_params()
        run, config = params.run(name), params.train_config(name)
        _fetch_published(run, config)
        reader = params.open_shards(run.modality)
        flow = params.open_shards("flow") if config.needs_flow else None
        started = datetime.now(UTC)
        events = Path(os.environ[EVENTS]) / name if os.environ.get(EVENTS) else None
        curves = Curves(RUNS / name / "training", events=events)

        def begin(phase: Phase) -> None:
            curves.start()
            write_first_batch(RUNS / name / FIRST_BATCH, phase, config, reader.info)

        with curves, console.progress(name, unit="steps") as update:
            shown = TrainingProgress(update, curves)
            files = replace(config, init=params.init_files(name))
            train(
                reader,
                run.network,
                config=files,
                out=checkpoint(name),
                flow=flow,
                on_start=begin,
                on_step=shown.on_step,
                on_epoch=shown.on_epoch,
                snapshots=SNAPSHOTS / name,
                resources=used,
            )
            split = config.split or dataset_spec(reader.info.name).train_split
            facts = params.run_facts(name, reader, split, asdict(config))
            write_record(RUNS / name / TRAINING, describe_run(started, **facts))


def _fetch_published(run: Run, config: TrainConfig) -> None:
    """Download the published weights that a run starts from, if any, before anything else; that shows its own bar."""
    if IMAGENET in config.init:
        published_file(build_model(run.network, num_classes=1, **config.model_options(run.network, run.modality)))


if __name__ == "__main__":
    console.run_stage(main)
