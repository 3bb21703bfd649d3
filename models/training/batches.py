"""Batches of clips, in an order that depends on the seed and the epoch alone and can be gone on with anywhere."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from tdn_data.models.clips.pixels import normalize_batch

Keys = list[tuple[int, int]]  # (epoch, index) of clips


class EpochBatches(Sampler):
    """Each time it is gone through: the batches of the next epoch, lists of (epoch, index), shuffled by `seed`.

    `clips` are the indices in the data set, or their number where all are drawn. Epochs are counted from `first_epoch`.
    All batches have nearly `batch_size` clips: a last one of a single clip would leave normalisation nothing to
    normalise by. `keys` are the batches of the epoch drawn last, whole; what comes out of each is its `own` share.
    """

    def __init__(
        self,
        clips: int | Sequence[int],
        batch_size: int,
        *,
        seed: int,
        first_epoch: int = 0,
        own: Callable[[Keys], Keys] = list,
    ) -> None:
        self._own = own
        self._clips = np.arange(clips) if isinstance(clips, int) else np.array(clips)
        self._generator = np.random.default_rng(seed)
        self._num_batches = num_batches(len(self._clips), batch_size)
        self._epoch, self._skipped = first_epoch, 0
        self.keys: list[Keys] = []

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        skipped, self._skipped = self._skipped, 0
        order = self._clips[self._generator.permutation(len(self._clips))]
        self.keys = [[(epoch, int(index)) for index in part] for part in np.array_split(order, self._num_batches)]
        yield from map(self._own, self.keys[skipped:])

    @property
    def order(self) -> dict[str, object]:
        """The generator's state, from which the next epoch's order is drawn: plain values."""
        return self._generator.bit_generator.state

    def go_on(self, order: dict[str, object], *, epoch: int, num_steps: int) -> None:
        """Let the next epoch be `epoch`, drawn from the state `order`, without its first `num_steps` batches."""
        self._generator.bit_generator.state = order
        self._epoch, self._skipped = epoch, num_steps


def num_batches(num_clips: int, batch_size: int) -> int:
    """Return how many batches of nearly `batch_size` clips an epoch has."""
    return max(1, round(num_clips / batch_size))


def load_batches(dataset: Dataset, batches: EpochBatches, *, num_workers: int) -> DataLoader:
    """Return what loads the batches, in `num_workers` processes or, with 0, in this one.

    It draws from a generator of its own: the global one is the training's, however many processes there are.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        generator=torch.Generator(),
        worker_init_fn=_leave_signals_to_the_training,
    )


def on_device(batch: list[Tensor], device: torch.device) -> list[Tensor]:
    """Return a batch (clips as levels, uint8, and what belongs to them) on a device, where its clips are normalised."""
    clips, *others = (part.to(device) for part in batch)
    return [normalize_batch(clips), *others]


def _leave_signals_to_the_training(_: int) -> None:
    """Ignore what ends a whole group of processes: workers end with the training, which writes a snapshot first."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
