"""DVC stage `train`: shards -> checkpoint and live metrics. `python -m stages.train MODEL MODALITY`."""

from __future__ import annotations

import sys

from dvclive import Live

from models.published import IMAGENET, fetch_imagenet
from models.train import EpochReport, train
from stages import edge
from stages.params import RUNS, load_params


def main(model: str, modality: str) -> None:
    """Run the stage."""
    with edge.messages(), edge.wrong_arguments():
        params = load_params()
        config, folder = params.train, RUNS / f"{model}-{modality}"
        if IMAGENET in config.init:
            fetch_imagenet(config.backbone)  # now, for it shows a bar of its own
        reader = params.open_shards(modality)
        live = Live(dir=str(folder / "training"), dvcyaml=None, save_dvc_exp=False, report=None)
        with live, edge.progress(f"{model} {modality}", total=config.epochs) as update:

            def on_epoch(report: EpochReport) -> None:
                live.log_metric("loss", report.loss)
                live.log_metric("accuracy", report.accuracy)
                live.log_metric("learning_rate", report.learning_rate)
                live.next_step()
                update(report.epoch)

            train(reader, model, config=config, out=folder / "checkpoint.pt", on_epoch=on_epoch)


if __name__ == "__main__":
    main(*sys.argv[1:])
