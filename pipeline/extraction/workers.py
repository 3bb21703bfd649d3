"""Shard jobs on Ray: a task for each, and for flow where GPUs are a few actors that keep their GPU warm.

A task on a GPU gets a process of its own each time, which starts CUDA and loads the kernels again; an actor's decoding
process does that once. All else is alike: a bounded number in flight, the largest shards first, retries with a limit.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

from tdn_data.pipeline.cluster import MAX_RETRIES, ray_cluster, value_of
from tdn_data.pipeline.datasets.manifest import VideoRecord
from tdn_data.pipeline.extraction.one_shard import ShardJob, ShardResult, extract_span, iter_shard, span_files
from tdn_data.pipeline.extraction.spans import Span

TASKS_PER_WORKER = 2  # tasks in flight: enough to keep every worker busy, few enough to stop quickly
POLL_SECONDS = 0.5
ENDING_SECONDS = 5  # a task that has given its last item ends within milliseconds
GPU_SHARE = 0.25  # of one GPU for each actor: one computes while the others decode and encode


def check_ray() -> None:
    """Raise ModuleNotFoundError where Ray is not installed; it is not imported for that."""
    if find_spec("ray") is None:
        raise ModuleNotFoundError("No module named 'ray'", name="ray")


def run_jobs(
    jobs: list[ShardJob],
    *,
    num_workers: int | None,
    ray_address: str | None,
    on_done: Callable[[Done], None],
) -> list[ShardResult]:
    """Run every job on Ray and return the results in any order; `on_done` gets how much is done so far.

    Without `ray_address` a local Ray with `num_workers` (default: all cores) is started. Raises InputError when no Ray
    can be reached, and what a job raised, or PipelineError when its worker was lost too often.
    """
    if not jobs:
        return []
    with _deferred_interrupts() as check_interrupts, ray_cluster(num_workers, ray_address) as ray:
        check_interrupts()
        crew = _Crew(ray, jobs)
        try:
            while crew.busy:
                crew.step()
                on_done(crew.done)
                check_interrupts()
        finally:
            crew.dismiss()
        return crew.results


@contextlib.contextmanager
def _deferred_interrupts() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C wait for the next call of the function given, which raises KeyboardInterrupt then.

    Ray does not take it well while it starts, ends, or moves objects: the interrupt is lost, or the process crashes.
    Pressed again, it takes effect at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # interrupts reach the main thread alone
        return
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, press)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, previous)


@dataclass
class Done:
    """How much is done: videos, once in each modality, which of them failed, and spans of long videos, of how many."""

    num_videos: int = 0
    failed: set[str] = field(default_factory=set)  # by identifier: one that fails in both modalities is one video
    num_spans: int = 0
    num_spans_to_do: int = 0


@dataclass(frozen=True, eq=False)
class _SpanWork:
    """A span of a long video of a shard, which is to be there before the shard is made."""

    job: ShardJob
    record: VideoRecord
    span: Span


class _Crew:
    """The work that waits, what is in flight, and who does it; `results` are the shards.

    A job in flight is a stream: each video's status, and the shard's result last. A job with long videos waits until
    their spans are there, which are tasks of their own.
    """

    def __init__(self, ray, jobs: list[ShardJob]) -> None:
        self._ray = ray
        resources = ray.cluster_resources()
        num_cpus, num_gpus = int(resources.get("CPU", 1)), resources.get("GPU", 0)
        by_size = sorted(jobs, key=_work_bytes)
        self._for_actors = [job for job in by_size if num_gpus and _wants_gpu(job)]
        self.done, self.results = Done(), []
        self._waiting: dict[str, set[_SpanWork]] = {}  # a shard's name -> the spans that it waits for
        self._spans_to_do: list[_SpanWork] = []
        self._complete: list[ShardJob] = []  # whose spans are all there: the next to be made, and the files can go
        self._for_tasks: list[ShardJob] = []  # the largest ones last, as among the spans
        for job in by_size:
            if not (num_gpus and _wants_gpu(job)):
                missing = self._missing_spans(job)
                self._spans_to_do += missing
                self._for_tasks += [] if missing else [job]
        self._in_flight: dict[object, object | None] = {}  # a job's stream -> its actor, None for a task
        self._spans_in_flight: dict[object, _SpanWork] = {}
        self._span_task = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(extract_span)
        self._task = ray.remote(num_cpus=1, num_returns="streaming", max_retries=MAX_RETRIES)(iter_shard)
        self._task_limit = TASKS_PER_WORKER * num_cpus
        num_actors = min(int(num_gpus / GPU_SHARE), num_cpus, len(self._for_actors))
        self._starting = dict(self._start_actor() for _ in range(num_actors))
        self._idle: list[object] = []

    def _missing_spans(self, job: ShardJob) -> list[_SpanWork]:
        """Return the work on the spans that a job still lacks, the first one last."""
        if not job.spans:
            return []
        files = span_files(job)
        names = files.storage.names()
        missing = [
            _SpanWork(job, record, span)
            for record in job.plan.records
            for span in files.missing(record, job.spans.get(record.video_id, ()), names)
        ]
        self.done.num_spans_to_do += len(missing)
        if missing:
            self._waiting[job.plan.name] = set(missing)
        return missing[::-1]

    @property
    def busy(self) -> bool:
        """Whether any job is left to do."""
        waiting = self._complete or self._spans_to_do or self._for_tasks or self._for_actors
        return bool(waiting or self._in_flight or self._spans_in_flight)

    def step(self) -> None:
        """Hand out jobs, wait a moment, and take in what has come."""
        self._hand_out()
        awaited = [*self._in_flight, *self._spans_in_flight, *self._starting]
        self._ray.wait(awaited, timeout=POLL_SECONDS)
        for one in self._ray.wait(awaited, num_returns=len(awaited), timeout=0)[0]:
            if one in self._starting:
                value_of(self._ray, one)
                self._idle.append(self._starting.pop(one))
            elif one in self._spans_in_flight:
                self._take_span(self._spans_in_flight.pop(one), value_of(self._ray, one))
            else:
                self._take(one)

    def _take(self, stream) -> None:
        """Take in the next item of a job's stream."""
        item = value_of(self._ray, next(stream))
        if isinstance(item, tuple):
            video_id, status = item
            self.done.num_videos += 1
            if status == "failed":
                self.done.failed.add(video_id)
            return
        self.results.append(replace(item, ledger=()))  # the shard itself says it
        # Ray must not end while it still answers a task: the next Ray of this process would wait for that for ever
        self._ray.wait([stream.completed()], timeout=ENDING_SECONDS)
        actor = self._in_flight.pop(stream)
        if actor is not None:
            self._idle.append(actor)

    def _take_span(self, work: _SpanWork, is_there: bool) -> None:
        """Take in that a span is made, or that its video cannot be had in spans; its shard may be the next."""
        waiting = self._waiting[work.job.plan.name]
        over = {work} if is_there else {one for one in waiting if one.record is work.record}
        over -= set(self._spans_in_flight.values())
        self._spans_to_do = [one for one in self._spans_to_do if one not in over]
        self.done.num_spans += len(over)
        waiting -= over
        if not waiting:
            self._complete.append(work.job)

    def dismiss(self) -> None:
        """Let go of all that is in Ray's hands while it still runs: what outlives it can crash the process."""
        self._in_flight.clear()
        self._spans_in_flight.clear()
        self._starting.clear()
        self._idle.clear()

    def _hand_out(self) -> None:
        num_tasks = sum(actor is None for actor in self._in_flight.values()) + len(self._spans_in_flight)
        for _ in range(self._task_limit - num_tasks):
            if self._complete:
                self._in_flight[self._task.remote(self._complete.pop())] = None
            elif self._spans_to_do:
                work = self._spans_to_do.pop()
                self._spans_in_flight[self._span_task.remote(work.job, work.record, work.span)] = work
            elif self._for_tasks:
                self._in_flight[self._task.remote(self._for_tasks.pop())] = None
        while self._for_actors and self._idle:
            actor = self._idle.pop()
            self._in_flight[actor.extract.options(num_returns="streaming").remote(self._for_actors.pop())] = actor
        if not self._for_actors:  # an actor nobody refers to ends, and its core is free for tasks
            self._idle.clear()
            self._starting.clear()

    def _start_actor(self) -> tuple[object, object]:
        """Return a reference that is ready when the actor is, and the actor."""
        options = {"max_restarts": MAX_RETRIES, "max_task_retries": MAX_RETRIES}
        actor = self._ray.remote(num_cpus=1, num_gpus=GPU_SHARE, **options)(_GpuActor).remote()
        return actor.ready.remote(), actor


def _wants_gpu(job: ShardJob) -> bool:
    """Return whether a GPU serves this job: our TV-L1 has kernels for it, and torch for networks."""
    if job.plan.modality != "flow":
        return False
    network = job.parameters.network
    return job.parameters.flow.method == "tvl1" if network is None else network.on_gpu


def _work_bytes(job: ShardJob) -> int:
    """Return the bytes of video in a shard; the largest are started first, so that no worker is late at the end."""
    return job.plan.num_bytes


class _GpuActor:
    """Makes shard after shard with one decoding process, which keeps its GPU; a Ray actor."""

    def ready(self) -> None:
        """Answer once the actor has its place."""

    def extract(self, job: ShardJob) -> Iterator[str | ShardResult]:
        """Make one shard as a task does."""
        yield from iter_shard(job)
