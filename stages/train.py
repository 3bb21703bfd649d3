"""DVC stage `train`: shards -> checkpoint and live metrics.

A network that learns flow takes the frames as its MODALITY, rgb, and reads the flow shards beside them; its recipe in
params.yaml (`with_flow`) goes before `train`: `python -m tdn_data.stages.train actionflownet rgb`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from tdn_data.models import build_model
from tdn_data.models.evaluation.run_record import TRAINING, describe_run, write_record
from tdn_data.models.memory import keep_freed_memory
from tdn_data.models.training.curves import Curves
from tdn_data.models.training.train import EpochReport, train
from tdn_data.models.weights.published import IMAGENET, published_file
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.stages.cli import console
from tdn_data.stages.params import load_params, run_folder

LOGGED = {  # what is logged of an epoch -> what the line for a reader calls it
    "loss": "loss",
    "class_loss": "class loss",
    "flow_loss": "flow loss",
    "accuracy": "accuracy on the training clips",
    "learning_rate": "learning rate",
}


def main(model: str, modality: str) -> None:
    """Run the stage."""
    keep_freed_memory()
    with console.messages(), console.wrong_arguments():
        params = load_params()
        config, folder = params.train_config(model), run_folder(model, modality)
        if IMAGENET in config.init:
            config.check_model(model)
            published_file(
                build_model(model, num_classes=1, **config.model_options(model, modality))
            )  # shows its own bar
        reader = params.open_shards(modality)
        flow = params.open_shards("flow") if config.needs_flow else None
        started, curves = datetime.now(UTC), Curves(folder / "training")
        with curves, console.progress(f"{model} {modality}", total=config.epochs, unit="epochs") as update:

            def on_epoch(report: EpochReport) -> None:
                known = {name: getattr(report, name) for name in LOGGED if getattr(report, name) is not None}
                curves.log(known)
                note = ", ".join(f"{LOGGED[name]} {value:.4g}" for name, value in known.items())
                update(report.epoch, note=note, say=True)

            train(reader, model, config=config, out=folder / "checkpoint.pt", flow=flow, on_epoch=on_epoch)
            split = config.split or dataset_spec(reader.info.name).train_split
            facts = params.run_facts(reader, model, split, asdict(config))
            write_record(folder / TRAINING, describe_run(started, **facts))


if __name__ == "__main__":
    console.run_stage(main)
