"""Training: SGD with momentum or Adam and a schedule, in phases, each step of which survives a crash.

Ng & Davis, sections 3.4 and 4.2; dissertation, sections 4.3.2 and 4.4.3, for networks that learn flow (see `phases`).
It trains with Adam, learning rate 1e-4, batches of 128: the flow loss is a sum over pixels, for which SGD's learning
rate would have to be tiny.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from tdn_data.models.networks import build_model
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.models.threads import torch_threads
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.loop import Training
from tdn_data.models.training.losses import criterion_of
from tdn_data.models.training.optimiser import check_parts, check_precision
from tdn_data.models.training.phases import training_phases
from tdn_data.models.training.reports import EpochReport
from tdn_data.models.training.resources import ONE_PROCESS, Resources, chosen_device
from tdn_data.models.training.signals import StopRequest, noted_signals
from tdn_data.models.training.snapshot import Identity, SnapshotFolder, digest_of, locked_snapshots
from tdn_data.models.training.validation import validation_of
from tdn_data.models.weights.checkpoint import Checkpoint, load_weights, room_for_checkpoint, save_checkpoint
from tdn_data.models.weights.trained_on import TrainedOn, data_digest
from tdn_data.pipeline.files import is_scratch, shown_path
from tdn_data.pipeline.shards.reader import ShardReader

logger = logging.getLogger(__name__)


def train(
    reader: ShardReader,
    model_name: str,
    *,
    config: TrainConfig,
    out: Path,
    flow: ShardReader | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    snapshots: Path | None = None,
    resources: Resources = ONE_PROCESS,
) -> Path:
    """Train a network on the training split of finished shards and write its checkpoint to `out`; return `out`.

    `flow` reads the same videos' flow; it is needed where `config.needs_flow`. The same shards, configuration, library
    versions and number of threads give the same weights; global random state is left as it was.

    With validation `out` holds the best weights and `checkpoint-last.pt` beside it the last ones (`config.keep`: or the
    other way round).

    `snapshots` is this run's own folder for the state of an unfinished training, kept until the checkpoint is written.
    The same call then goes on from there, on a CPU to the same weights bit for bit; `on_epoch` is told the earlier
    epochs again, first. SIGTERM and SIGINT are obeyed after the step under way and its snapshot.

    `resources` are what it runs on; they decide nothing of this.

    Raises ValueError for what the network cannot do, InputError for files that do not fit and where another process
    trains the same run, StorageError before the first epoch where the checkpoint has no room (it is kept from then
    on), PipelineError where the loss is lost to infinity.
    """
    config.check_model(model_name)
    with _surviving(snapshots, out) as (folder, stop), torch.random.fork_rng(), torch_threads(config.num_threads):
        model, options = _start(reader, model_name, config)
        training = _training(reader, flow, model, config, resources)
        identity = _identity(reader, flow, model_name, options, config)
        if folder is not None:
            training.stops(stop, save=partial(folder.save, identity=identity))
            if (state := folder.load(identity)) is not None:
                training.restore(state)
                logger.info("the training goes on from %s (%s)", training.place, shown_path(folder.path))
        what = (model_name, options, len(reader.info.class_names), config.size)
        data = (TrainedOn.of(reader).as_dict(), asdict(config.clip_cut()))
        with room_for_checkpoint(Checkpoint(*what, training.weights("last"), *data), out) as write:
            for report in training.epochs():
                if on_epoch is not None:
                    on_epoch(report)
            write(Checkpoint(*what, training.weights(config.keep), *data))
        if config.validates:
            other = "last" if config.keep == "best" else "best"
            save_checkpoint(Checkpoint(*what, training.weights(other), *data), beside(out, other))
        if folder is not None and stop.number is None:
            folder.delete()
    return out


@contextmanager
def _surviving(snapshots: Path | None, out: Path) -> Iterator[tuple[SnapshotFolder | None, StopRequest]]:
    """Give the locked folder of snapshots and the note of a signal, where there are to be snapshots."""
    if snapshots is None:
        yield None, StopRequest()
        return
    with noted_signals() as stop, locked_snapshots(snapshots) as folder:
        for path in out.parent.glob("*") if out.parent.is_dir() else ():
            if is_scratch(path.name) and path.suffix == out.suffix:  # room that a killed training kept
                path.unlink(missing_ok=True)
        yield folder, stop


def beside(out: Path, which: str) -> Path:
    """Return where the weights that `out` does not hold, `best` or `last`, are written: checkpoint-last.pt."""
    return out.with_name(f"{out.stem}-{which}{out.suffix}")


def _training(
    reader: ShardReader, flow: ShardReader | None, model: VideoNetwork, config: TrainConfig, resources: Resources
) -> Training:
    """Return the training of a network before its first step, with all that can be wrong with it found out."""
    check_parts(model, config)
    check_precision(config.precision, chosen_device(resources.device))
    multi_label = reader.info.multi_label
    plain = criterion_of(config, multi_label=multi_label, smoothed=False)
    validation = validation_of(reader, model, config, plain)
    held_out = () if validation is None else [video.video_id for video in validation.videos]
    phases = training_phases(reader, flow, model, config, held_out=held_out)
    criterion = criterion_of(config, multi_label=multi_label)
    options = {"num_classes": len(reader.info.class_names), "validation": validation, "resources": resources}
    return Training(model, phases, config, criterion, **options)


def _start(reader: ShardReader, model_name: str, config: TrainConfig) -> tuple[VideoNetwork, dict[str, object]]:
    """Return the network as it is before the first step, and the options it is built with."""
    torch.manual_seed(config.seed)
    options = config.model_options(model_name, reader.modality)
    model = build_model(model_name, num_classes=len(reader.info.class_names), **options)
    model.to(memory_format=model.memory_format)
    for path in config.init:
        load_weights(model, path)
    return model, options


def _identity(
    reader: ShardReader,
    flow: ShardReader | None,
    model_name: str,
    options: dict[str, object],
    config: TrainConfig,
) -> Identity:
    files = tuple(path for path in config.init if os.path.exists(path))
    readers = [reader] if flow is None else [reader, flow]
    return Identity(
        digest_of(model_name, options, asdict(config), files=files), digest_of([data_digest(one) for one in readers])
    )
