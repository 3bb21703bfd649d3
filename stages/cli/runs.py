"""The commands `train` and `evaluate`: runs of params.yaml without DVC, by the functions of its stages."""

from __future__ import annotations

import click

from tdn_data.pipeline.flow.methods import DEVICES
from tdn_data.pipeline.limits import MAX_THREADS
from tdn_data.stages.cli.types import Real, Text, Whole, Word


@click.command()
@click.argument("run", type=Text())
@click.option(
    "--num-processes",
    type=Whole(1, MAX_THREADS),
    help="Processes that share every batch, one for each GPU or core  [default: $TDN_DATA_TRAIN_PROCESSES or 1]",
)
@click.option(
    "--ray-address",
    type=Text(),
    help="Cluster that trains, HOST:PORT; its machines see this folder and the shards at the same places  "
    "[default: for several processes $RAY_ADDRESS or this machine]",
)
@click.option("--device", type=Word(*DEVICES), help="cpu, cuda or auto  [default: $TDN_DATA_TRAIN_DEVICE or auto]")
@click.option(
    "--num-workers",
    type=Whole(0, MAX_THREADS),
    help="Processes that prepare clips  [default: $TDN_DATA_TRAIN_WORKERS or 0]",
)
@click.option(
    "--snapshot-seconds",
    type=Real(0, 1e6),
    help="How often the state is kept from which an interrupted training goes on  "
    "[default: $TDN_DATA_SNAPSHOT_SECONDS or 300]",
)
def train(run: str, **resources: object) -> None:
    """Train RUN of params.yaml, as the pipeline's stage does; given again after an interruption, go on.

    No option changes what is trained, so none of them is in params.yaml: where DVC runs the stage, set the variables.
    More processes than the run has micro_batches do change what its normalisations see: each has its share of a batch.

    \b
    Examples:
      tdn-data train tdn-rgb --num-workers 4
      tdn-data train tdn-rgb --num-processes 8 --ray-address head:6379
      TDN_DATA_TRAIN_WORKERS=4 dvc repro train@tdn-rgb
    """
    from tdn_data.stages.train import train_run  # brings torch

    train_run(run, resources)


@click.command()
@click.argument("run", type=Text())
@click.option(
    "--num-processes", default=1, show_default=True, type=Whole(1, MAX_THREADS), help="Processes that share the videos."
)
@click.option(
    "--ray-address",
    type=Text(),
    help="Cluster that they run on, HOST:PORT; its machines see this folder and the shards at the same places  "
    "[default: this machine]",
)
def evaluate(run: str, num_processes: int, ray_address: str | None) -> None:
    """Test RUN of params.yaml by its protocol, as the pipeline's stage does; it must be trained.

    Several processes give the same scores, sooner.

    \b
    Examples:
      tdn-data evaluate tdn-rgb
      tdn-data evaluate tdn-rgb --num-processes 8 --ray-address head:6379
    """
    from tdn_data.stages.evaluate import evaluate_run  # brings torch

    evaluate_run(run, num_processes=num_processes, ray_address=ray_address)


COMMANDS = (evaluate, train)
