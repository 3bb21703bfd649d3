"""One training as it is asked for, and one process's work on it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from tdn_data.models.networks import build_model
from tdn_data.models.networks.base import Criterion, VideoNetwork
from tdn_data.models.threads import torch_threads
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.loop import Training
from tdn_data.models.training.losses import criterion_of
from tdn_data.models.training.optimiser import check_parts, check_precision
from tdn_data.models.training.phases import Phase, check_shares, training_phases
from tdn_data.models.training.processes import ALONE, Processes
from tdn_data.models.training.reports import EpochReport
from tdn_data.models.training.resources import Resources, chosen_device
from tdn_data.models.training.signals import StopRequest
from tdn_data.models.training.snapshot import Identity, SnapshotFolder, digest_of
from tdn_data.models.training.speed import check_speed
from tdn_data.models.training.validation import Validation, validation_of
from tdn_data.models.weights.checkpoint import Checkpoint, load_weights, room_for_checkpoint, save_checkpoint
from tdn_data.models.weights.trained_on import TrainedOn, data_digest
from tdn_data.pipeline.files import shown_path
from tdn_data.pipeline.progress import OnProgress
from tdn_data.pipeline.shards.reader import ShardReader

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What `train` is given."""

    reader: ShardReader
    flow: ShardReader | None
    model_name: str
    config: TrainConfig
    out: Path
    resources: Resources


@dataclass(frozen=True)
class Prepared:
    """A training before its first step, with all that can be wrong with it found out."""

    model: VideoNetwork
    options: dict[str, object]  # with which the model is built
    phases: list[Phase]
    criterion: Criterion
    validation: Validation | None


def prepare(job: Job, processes: Processes = ALONE) -> Prepared:
    """Build what a training needs; raise InputError or ValueError where it cannot be done by so many processes.

    The global random state is then that of the training's first step.
    """
    reader, config = job.reader, job.config
    torch.manual_seed(config.seed)
    options = config.model_options(job.model_name, reader.modality)
    model = build_model(job.model_name, num_classes=len(reader.info.class_names), **options)
    model.to(memory_format=model.memory_format)
    load_weights(model, *config.init)
    check_parts(model, config)
    multi_label = reader.info.multi_label
    plain = criterion_of(config, multi_label=multi_label, smoothed=False)
    validation = validation_of(reader, model, config, plain)
    held_out = () if validation is None else [video.video_id for video in validation.videos]
    phases = training_phases(reader, job.flow, model, config, held_out=held_out)
    check_shares(phases, config, processes)
    return Prepared(model, options, phases, criterion_of(config, multi_label=multi_label), validation)


def run_job(
    job: Job,
    *,
    folder: SnapshotFolder | None,
    stop: StopRequest,
    on_start: Callable[[Phase], None] | None = None,
    on_step: OnProgress | None,
    on_epoch: Callable[[EpochReport], None] | None,
    processes: Processes = ALONE,
) -> None:
    """Do this process's part of a training, from its snapshot if there is one; the first process writes and reports."""
    config = job.config
    with torch.random.fork_rng(), torch_threads(config.num_threads):
        training, options = _training(job, processes)
        if on_start is not None:
            on_start(training.phases[0])
        if folder is not None:
            identity = _identity(job, options, processes)
            training.stops(stop, save=partial(folder.save, identity=identity) if processes.leads else None)
            if (state := folder.load(identity)) is not None:
                training.restore(state)
                logger.info("the training goes on from %s (%s)", training.place, shown_path(folder.path))
        processes.wait()  # nobody writes a snapshot while another still reads the one before
        if processes.leads:
            _train_and_write(job, training, options, on_step, on_epoch)
        else:
            for _ in training.epochs():
                pass


def _training(job: Job, processes: Processes) -> tuple[Training, dict[str, object]]:
    prepared = prepare(job, processes)
    device = chosen_device(job.resources.device)
    check_precision(job.config.precision, device)
    check_speed(prepared.model, job.config, device)
    training = Training(
        prepared.model,
        prepared.phases,
        job.config,
        prepared.criterion,
        num_classes=len(job.reader.info.class_names),
        validation=prepared.validation,
        resources=job.resources,
        processes=processes,
    )
    return training, prepared.options


def _train_and_write(
    job: Job,
    training: Training,
    options: dict[str, object],
    on_step: OnProgress | None,
    on_epoch: Callable[[EpochReport], None] | None,
) -> None:
    """Train to the end and write the checkpoint, for which there is room from the start."""
    config = job.config
    what = (job.model_name, options, len(job.reader.info.class_names), config.size)
    data = (TrainedOn.of(job.reader).as_dict(), asdict(config.clip_cut()))
    with room_for_checkpoint(Checkpoint(*what, training.weights("last"), *data), job.out) as write:
        for report in training.epochs(on_step):
            if on_epoch is not None:
                on_epoch(report)
        write(Checkpoint(*what, training.weights(config.keep), *data))
    if config.validates:
        other = "last" if config.keep == "best" else "best"
        save_checkpoint(Checkpoint(*what, training.weights(other), *data), beside(job.out, other))


def beside(out: Path, which: str) -> Path:
    """Return where the weights that `out` does not hold, `best` or `last`, are written: checkpoint-last.pt."""
    return out.with_name(f"{out.stem}-{which}{out.suffix}")


def _identity(job: Job, options: dict[str, object], processes: Processes) -> Identity:
    """Return what a training is the same by: not how many processes there are, but how many micro-batches."""
    config = replace(job.config, micro_batches=processes.num_parts(job.config.micro_batches))
    files = tuple(path for path in config.init if os.path.exists(path))
    readers = [job.reader] if job.flow is None else [job.reader, job.flow]
    return Identity(
        digest_of(job.model_name, options, asdict(config), files=files),
        digest_of([data_digest(one) for one in readers]),
    )
