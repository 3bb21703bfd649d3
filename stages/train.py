"""DVC stage `train`: shards -> checkpoint and live metrics of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime

from tdn_data.models import build_model
from tdn_data.models.evaluation.run_record import TRAINING, describe_run, write_record
from tdn_data.models.memory import keep_freed_memory
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.curves import Curves
from tdn_data.models.training.resources import Resources
from tdn_data.models.training.train import EpochReport, train
from tdn_data.models.weights.published import IMAGENET, published_file
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.stages.cli import console
from tdn_data.stages.params import RUNS, SNAPSHOTS, Run, checkpoint, load_params

LOGGED = {  # what is logged of an epoch -> what the line for a reader calls it
    "loss": "loss",
    "class_loss": "class loss",
    "flow_loss": "flow loss",
    "accuracy": "accuracy on the training clips",
    "validation_loss": "validation loss",
    "validation_accuracy": "validation accuracy",
    "validation_map": "validation mAP",
    "learning_rate": "learning rate",
}


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
        started, curves = datetime.now(UTC), Curves(RUNS / name / "training")
        with curves, console.progress(name, total=config.epochs, unit="epochs") as update:

            def on_epoch(report: EpochReport) -> None:
                known = {name: getattr(report, name) for name in LOGGED if getattr(report, name) is not None}
                curves.log(known)
                note = ", ".join(f"{LOGGED[name]} {value:.4g}" for name, value in known.items())
                update(report.epoch, note=note, say=True)

            files = replace(config, init=params.init_files(name))
            train(
                reader,
                run.network,
                config=files,
                out=checkpoint(name),
                flow=flow,
                on_epoch=on_epoch,
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
