"""A training in several processes, on one machine or many: PyTorch's DistributedDataParallel under Ray Train.

    this process                     Ray Train's workers, one for each core or GPU
    holds the run's lock             each: the same weights, its share of every batch
    asks for a stop ------- post --> the first: snapshots, checkpoint, metrics
    says what is said <---- post --- the first: a report for each epoch

A worker that is lost takes the others with it, and all begin again from the last snapshot, `MAX_FAILURES` times. All
machines see the same folders at the same places: the shards, and the working folder with snapshots and checkpoint.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import torch

from tdn_data.models.memory import keep_freed_memory
from tdn_data.models.training.phases import Phase
from tdn_data.models.training.processes import Processes
from tdn_data.models.training.reports import EpochReport
from tdn_data.models.training.signals import Stopped, StopRequest
from tdn_data.models.training.snapshot import SnapshotFolder
from tdn_data.models.training.training_job import Job, prepare, run_job
from tdn_data.pipeline.cluster import ray_cluster, require_room
from tdn_data.pipeline.errors import InputError, PipelineError, own_words
from tdn_data.pipeline.progress import OnProgress

logger = logging.getLogger(__name__)

MAX_FAILURES = 3
POLL_SECONDS = 0.2

OnEpoch = Callable[[EpochReport], None]


def train_on_ray(
    job: Job,
    *,
    folder: SnapshotFolder | None,
    stop: StopRequest,
    on_start: Callable[[Phase], None] | None = None,
    on_step: OnProgress | None,
    on_epoch: OnEpoch | None,
) -> None:
    """Train as `run_job` does, in `job.resources.num_processes` processes.

    Raises InputError, before any of them starts, where Ray Train is not installed, no cluster answers, there are fewer
    GPUs or cores than processes, or a batch has too few clips for them; PipelineError where a process was lost too
    often; Stopped where a signal came.
    """
    resources = job.resources
    _require_ray_train()
    _check_local_gpus(job)
    with torch.random.fork_rng():
        prepared = prepare(job, Processes(size=resources.num_processes))  # whatever is wrong is said here
    with _work_folder(folder) as work, ray_cluster(resources.num_processes, resources.ray_address) as ray:
        device = _device(ray, job)
        if on_start is not None:
            on_start(prepared.phases[0])
        job = replace(job, resources=replace(resources, device=device))
        post = ray.remote(num_cpus=0)(_Post).remote()
        task = {"job": job, "post": post, "cwd": os.getcwd(), "snapshots": None if folder is None else folder.folder}
        trainer = _trainer(task, resources.num_processes, work, use_gpu=device == "cuda")
        try:
            _follow(ray, post, trainer, stop, on_step, on_epoch)
        finally:
            del post  # what outlives Ray can crash the process
    if stop.number is not None:
        raise Stopped


@dataclass(frozen=True)
class _Steps:
    """What an `OnProgress` is told: how many steps are done, of how many, and words beside it."""

    num_done: int
    num_total: int
    note: str = ""


class _Post:
    """What goes between this process and the first worker; a Ray actor."""

    def __init__(self) -> None:
        self._items: list[object] = []
        self._stop = 0

    def put(self, item: object) -> None:
        """Leave a report, a count of steps, a message of the log (level, text) or an error."""
        self._items.append(item)

    def take(self) -> list[object]:
        """Return what has come since it was last asked."""
        items, self._items = self._items, []
        return items

    def ask_to_stop(self, number: int) -> None:
        """Note that a signal, by its number, asks for a stop after the step under way."""
        self._stop = number

    def asked_to_stop(self) -> int:
        """Return the number of the signal that asks for a stop, 0 where none has come."""
        return self._stop


class _PostedStop:
    """The stop request of a worker: what the post says, without waiting for it."""

    def __init__(self, ray, post) -> None:
        self._ray, self._post, self._number = ray, post, 0
        self._asked = post.asked_to_stop.remote()

    @property
    def number(self) -> int | None:
        """The number of the signal that has come, None for none."""
        if self._ray.wait([self._asked], timeout=0)[0]:
            self._number = self._ray.get(self._asked)
            self._asked = self._post.asked_to_stop.remote()
        return self._number or None


class _Posting(logging.Handler):
    """Sends the log's messages to where a person reads them."""

    def __init__(self, post) -> None:
        super().__init__(logging.INFO)
        self._post = post

    def emit(self, record: logging.LogRecord) -> None:
        """Leave a message's level and text with the post, and do not wait until it is taken."""
        self._post.put.remote((record.levelno, record.getMessage()))


def _work(task: dict[str, object]) -> None:
    """Do a worker's part; what a person must know of goes to the post."""
    import ray

    os.chdir(task["cwd"])
    keep_freed_memory()
    processes, post = Processes.joined(), task["post"]
    stop = _PostedStop(ray, post) if processes.leads else StopRequest()
    log = logging.getLogger("tdn_data")
    handler = _Posting(post)
    if processes.leads:
        log.setLevel(logging.INFO)
        log.addHandler(handler)
    folder = None if task["snapshots"] is None else SnapshotFolder(task["snapshots"])
    try:
        run_job(
            task["job"],
            folder=folder,
            stop=stop,
            on_step=partial(_post_steps, post),
            on_epoch=partial(_post_report, post),
            processes=processes,
        )
    except Stopped:
        pass
    except (PipelineError, ValueError) as error:
        ray.get(post.put.remote(error))
        raise
    finally:
        log.removeHandler(handler)


def _post_steps(post, num_done: int, num_total: int, note: str = "", /) -> None:
    post.put.remote(_Steps(num_done, num_total, note))


def _post_report(post, report: EpochReport) -> None:
    post.put.remote(report)


def _follow(ray, post, trainer, stop: StopRequest, on_step: OnProgress | None, on_epoch: OnEpoch | None) -> None:
    """Let Ray train, say what the first worker says, and pass a signal on; until it is done."""
    done, asked, num_reported = Future(), False, 0
    threading.Thread(target=_fit, args=(trainer, done), daemon=True).start()
    while True:
        ended = done.done()
        for item in ray.get(post.take.remote()):
            if isinstance(item, Exception):
                raise item
            if isinstance(item, tuple):
                logger.log(*item)
            elif isinstance(item, _Steps):
                if on_step is not None:
                    on_step(item.num_done, item.num_total, item.note)
            elif item.epoch > num_reported:  # after a failure the epochs before it are reported again
                num_reported = item.epoch
                if on_epoch is not None:
                    on_epoch(item)
        if ended:
            break
        if stop.number is not None and not asked:
            post.ask_to_stop.remote(stop.number)
            asked = True
        threading.Event().wait(POLL_SECONDS)
    if done.exception() is not None and stop.number is None:
        _lost(done.exception())


def _fit(trainer, done: Future) -> None:
    """Run the trainer, outside the main thread, in which Ray Train would take Ctrl-C for itself."""
    try:
        done.set_result(trainer.fit())
    except BaseException as error:
        done.set_exception(error)


def _lost(error: BaseException) -> NoReturn:
    raise PipelineError(
        f"a process of the training was lost {MAX_FAILURES + 1} times ({own_words(error)}); the same command goes on "
        "from the last snapshot."
    ) from error


def _trainer(task: dict[str, object], num_processes: int, work: Path, *, use_gpu: bool):
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    return TorchTrainer(
        _work,
        train_loop_config=task,
        scaling_config=ScalingConfig(num_workers=num_processes, use_gpu=use_gpu),
        run_config=RunConfig(
            name="training", storage_path=str(work), failure_config=FailureConfig(max_failures=MAX_FAILURES)
        ),
    )


@contextmanager
def _work_folder(folder: SnapshotFolder | None) -> Iterator[Path]:
    """Give a folder for Ray Train's own notes, beside the snapshots, which all machines see."""
    place = None if folder is None else folder.folder.absolute()
    work = Path(tempfile.mkdtemp(prefix="ray-", dir=place))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _require_ray_train() -> None:
    """Raise InputError where Ray Train, or what it needs, is not installed."""
    try:
        import ray.train.torch  # noqa: F401
    except ImportError as error:
        raise InputError(
            "training in several processes takes Ray Train, which is not installed (or only a part of it); run "
            "`pip install 'tdn-data[cluster]'`, or train in one process.",
            key="num_processes",
        ) from error


def _check_local_gpus(job: Job) -> None:
    """Raise InputError where this machine's GPUs are asked for and are fewer than the processes."""
    wanted, found = job.resources.num_processes, torch.cuda.device_count()
    if job.resources.ray_address is None and (
        job.resources.device == "cuda" or (job.resources.device == "auto" and found)
    ):
        require_room("GPU", wanted, found)


def _device(ray, job: Job) -> str:
    """Return on what the workers compute; raise InputError where the cluster has too few of them."""
    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0))
    device = job.resources.device if job.resources.device != "auto" else "cuda" if gpus else "cpu"
    kind, found = ("GPU", gpus) if device == "cuda" else ("core", int(there.get("CPU", 0)))
    require_room(kind, job.resources.num_processes, found)
    return device
