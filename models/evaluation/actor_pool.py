"""A test on several processes, of this machine or of a cluster: each has the network and takes the next video.

Scores are those of one process to the last bit, on processors of one kind: every video is seen whole by one process,
which computes with as many threads as one process alone would. All machines see the checkpoint and the shards at the
same places.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.evaluation.scoring import Scored
from tdn_data.models.memory import keep_freed_memory
from tdn_data.models.threads import torch_threads
from tdn_data.models.weights.checkpoint import read_checkpoint
from tdn_data.pipeline.cluster import MAX_RETRIES, ray_cluster, require_room, value_of
from tdn_data.pipeline.shards.reader import ShardReader, StoredVideo

AHEAD = 2  # videos that each process has or waits for


def scored_on_ray(
    reader: ShardReader,
    checkpoint: str | os.PathLike[str],
    videos: Sequence[StoredVideo],
    *,
    config: EvaluateConfig,
    repeat_to: int | None,
    num_processes: int,
    ray_address: str | None = None,
) -> Iterator[Scored]:
    """Yield the scores of videos in their order, as `Scorer` gives them, computed in `num_processes` processes.

    Raises InputError where no Ray can be reached or it has too few cores; PipelineError where a process is lost too
    often, or what it raised.
    """
    threads = config.num_threads or torch.get_num_threads()
    with ray_cluster(num_processes, ray_address) as ray:
        there = ray.cluster_resources()
        require_room("core", num_processes, int(there.get("CPU", 0)))
        share = min(1.0, there.get("GPU", 0) / num_processes)
        kind = ray.remote(num_cpus=1, num_gpus=share, max_restarts=MAX_RETRIES, max_task_retries=MAX_RETRIES)(_Process)
        given = (os.getcwd(), reader, Path(checkpoint), config, repeat_to, threads)
        processes = [kind.remote(*given) for _ in range(min(num_processes, len(videos)))]
        waiting, in_flight, done = list(enumerate(videos))[::-1], {}, {}
        try:
            for number in range(len(videos)):
                while number not in done:
                    _hand_out(processes, waiting, in_flight)
                    (ready,), _ = ray.wait(list(in_flight), num_returns=1)
                    place, _ = in_flight.pop(ready)
                    done[place] = value_of(ray, ready, work="a video's scores")
                yield done.pop(number)
        finally:
            in_flight.clear()  # what outlives Ray can crash the process
            processes.clear()


def _hand_out(processes: list, waiting: list, in_flight: dict) -> None:
    """Give the next videos to the processes that have fewest, until each has AHEAD."""
    while waiting and len(in_flight) < AHEAD * len(processes):
        busy = [process for _, process in in_flight.values()]
        process = min(processes, key=busy.count)
        place, video = waiting.pop()
        in_flight[process.score.remote(video)] = (place, process)


class _Process:
    """The network of a checkpoint, which scores one video after another; a Ray actor."""

    def __init__(
        self,
        folder: str,
        reader: ShardReader,
        checkpoint: Path,
        config: EvaluateConfig,
        repeat_to: int | None,
        threads: int,
    ) -> None:
        from tdn_data.models.evaluation.evaluate import scorer_of

        os.chdir(folder)
        keep_freed_memory()
        self._reader, self._threads = reader, threads
        self._score = scorer_of(read_checkpoint(checkpoint), config, repeat_to=repeat_to)

    def score(self, video: StoredVideo) -> Scored:
        """Return a video's scores."""
        with torch_threads(self._threads):
            return self._score(self._reader, video)
