"""Training: SGD with momentum or Adam and a schedule, in phases, each step of which survives a crash.

Ng & Davis, sections 3.4 and 4.2; dissertation, sections 4.3.2 and 4.4.3, for networks that learn flow (see `phases`).
It trains with Adam, learning rate 1e-4, batches of 128: the flow loss is a sum over pixels, for which SGD's learning
rate would have to be tiny.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.data_parallel import train_on_ray
from tdn_data.models.training.phases import Phase
from tdn_data.models.training.reports import EpochReport
from tdn_data.models.training.resources import ONE_PROCESS, Resources
from tdn_data.models.training.signals import StopRequest, noted_signals
from tdn_data.models.training.snapshot import SnapshotFolder, locked_snapshots
from tdn_data.models.training.training_job import Job, run_job
from tdn_data.pipeline.files import is_scratch
from tdn_data.pipeline.progress import OnProgress
from tdn_data.pipeline.shards.reader import ShardReader


def train(
    reader: ShardReader,
    model_name: str,
    *,
    config: TrainConfig,
    out: Path,
    flow: ShardReader | None = None,
    on_start: Callable[[Phase], None] | None = None,
    on_step: OnProgress | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    snapshots: Path | None = None,
    resources: Resources = ONE_PROCESS,
) -> Path:
    """Train a network on the training split of finished shards and write its checkpoint to `out`; return `out`.

    The same shards, configuration, library versions and number of threads give the same weights; global random state is
    left as it was. With validation `out` holds the best weights and `checkpoint-last.pt` beside it the last ones
    (`config.keep`: or the other way round).

    With `snapshots` a training that was stopped goes on with the same call, on a CPU to the same weights bit for bit;
    `on_epoch` is first called for the earlier epochs again. SIGTERM and SIGINT are obeyed after the step under way and
    its snapshot.

    Args:
        reader: The shards of what the network sees.
        model_name: One of `models.MODELS`.
        config: How it is trained.
        out: The checkpoint's file.
        flow: The same videos' flow, needed where `config.needs_flow`.
        on_start: Called with the first phase, once nothing is refused any more and before anything is trained.
        on_step: Counts steps.
        on_epoch: Called after each epoch with its report.
        snapshots: This run's own folder for the state of an unfinished training, kept until the checkpoint is written.
        resources: What it runs on: this process, or several on Ray, which all see the same folders.

    Returns:
        `out`.

    Raises:
        ValueError: The network cannot do what `config` asks for.
        InputError: Files do not fit, or another process trains the same run.
        StorageError: The checkpoint has no room, which is said before the first epoch (it is kept from then on).
        PipelineError: The loss is lost to infinity.
    """
    config.check_model(model_name)
    job = Job(reader, flow, model_name, config, out, resources)
    with _surviving(snapshots, out) as (folder, stop):
        options = {"folder": folder, "stop": stop, "on_step": on_step, "on_epoch": on_epoch}
        if resources.needs_ray:
            train_on_ray(job, on_start=on_start, **options)
        else:
            run_job(job, on_start=on_start, **options)
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
