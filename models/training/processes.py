"""The processes that compute a training together, by torch.distributed; or the one that does it alone.

A batch is parted into micro-batches, the same however many processes there are, and each process computes its share of
them: the gradients that it gets are those of the whole batch. What a batch's normalisations see is a micro-batch. With
more processes than `micro_batches` there are as many micro-batches as processes, or the next multiple of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """This process is number `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> Processes:
        """Return those that torch.distributed has brought together."""
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this one writes what is written and says what is said."""
        return self.rank == 0

    def num_parts(self, micro_batches: int) -> int:
        """Return into how many micro-batches a batch is parted: at least `micro_batches`, as many for each process."""
        return self.size * -(-micro_batches // self.size)

    def own(self, batch: Sequence[object], num_parts: int) -> Sequence[object]:
        """Return this process's share of a batch, whole micro-batches; the first ones of a batch may be one larger.

        A batch of 8 in 3 parts is 3, 3, 2 (as `Tensor.tensor_split` parts it).
        """
        each, larger = divmod(len(batch), num_parts)
        first, end = (number * num_parts // self.size for number in (self.rank, self.rank + 1))
        return batch[first * each + min(first, larger) : end * each + min(end, larger)]

    def share(self, losses: nn.Module) -> nn.Module:
        """Return a module whose gradients come out as the mean over the processes, from the first one's weights.

        What learns may change afterwards: what has no gradient in a step is left out of it.
        """
        if self.size == 1:
            return losses
        learning = {parameter: parameter.requires_grad for parameter in losses.parameters()}
        losses.requires_grad_(True)
        shared = DistributedDataParallel(losses, find_unused_parameters=True, broadcast_buffers=False)
        for parameter, learns in learning.items():
            parameter.requires_grad_(learns)
        return shared

    def gathering(self, losses: nn.Module, *, last: bool) -> AbstractContextManager[object]:
        """Let gradients of what `share` returned add up here; those of the `last` micro-batch bring the others'."""
        return contextlib.nullcontext() if last or self.size == 1 else losses.no_sync()

    def sum(self, values: Mapping[str, float], device: torch.device) -> dict[str, float]:
        """Return the sums over the processes; all have the same names."""
        if self.size == 1:
            return dict(values)
        total = torch.tensor([*values.values()], dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return dict(zip(values, total.tolist(), strict=True))

    def of_first(self, number: int, device: torch.device) -> int:
        """Return the number that the first process gives."""
        if self.size == 1:
            return number
        given = torch.tensor(number, device=device)
        dist.broadcast(given, 0)
        return int(given)

    def gather(self, value: object) -> list[object]:
        """Return what each process gives, in order."""
        if self.size == 1:
            return [value]
        found: list[object] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Wait until all are here."""
        self.gather(None)


ALONE = Processes()


class SharedStatistics:
    """The running statistics of normalisations, as if one process had seen all micro-batches one after the other.

    A normalisation of momentum m that has seen micro-batches with statistics s_1 ... s_k after r is left with
    (1 - m)^k r + m (s_k + (1 - m) s_(k-1) + ...), so what k of a later process have added counts fully and that of the
    processes before it (1 - m)^k for each that comes after.
    """

    def __init__(self, model: nn.Module, processes: Processes) -> None:
        found = (part for part in model.modules() if isinstance(part, _BatchNorm) and part.track_running_stats)
        self._parts, self._processes = list(found) if processes.size > 1 else [], processes
        self._before: list[tuple[Tensor, Tensor, Tensor]] = []

    def begin(self) -> None:
        """Keep the statistics before a step."""
        self._before = [tuple(value.clone() for value in _statistics(part)) for part in self._parts]

    def end(self) -> None:
        """Put together what all processes have added in the step."""
        added, size, rank = [], self._processes.size, self._processes.rank
        for part, (mean, variance, count) in zip(self._parts, self._before, strict=True):
            left = (1 - part.momentum) ** (part.num_batches_tracked - count)
            for value, before in ((part.running_mean, mean), (part.running_var, variance)):
                added.append(left ** (size - 1 - rank) * (value - left * before))
        if not added:
            return
        total = torch.cat(added)
        dist.all_reduce(total)
        totals = iter(total.split([len(value) for value in added]))
        for part, (mean, variance, count) in zip(self._parts, self._before, strict=True):
            seen = part.num_batches_tracked - count
            left = (1 - part.momentum) ** (size * seen)
            part.running_mean.copy_(left * mean + next(totals))
            part.running_var.copy_(left * variance + next(totals))
            part.num_batches_tracked.copy_(count + size * seen)


def _statistics(part: _BatchNorm) -> tuple[Tensor, Tensor, Tensor]:
    return part.running_mean, part.running_var, part.num_batches_tracked
