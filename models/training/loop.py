"""The steps of a training, whose whole state can be taken at each of them and put back."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from tdn_data.models.networks.base import Criterion, Losses, VideoNetwork
from tdn_data.models.training.batches import EpochBatches, load_batches, on_device
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.learning_rate import Plateau
from tdn_data.models.training.losses import mixed
from tdn_data.models.training.optimiser import HALVES, Optimiser, moving_average
from tdn_data.models.training.phases import Phase, PhaseLosses, set_phase
from tdn_data.models.training.processes import ALONE, Processes, SharedStatistics
from tdn_data.models.training.reports import EpochReport
from tdn_data.models.training.resources import ONE_PROCESS, Resources, chosen_device
from tdn_data.models.training.signals import Stopped, StopRequest
from tdn_data.models.training.speed import compiled_losses, laid_out
from tdn_data.models.training.sums import EpochSums, num_hits, parts_of
from tdn_data.models.training.validation import Validation
from tdn_data.pipeline.errors import PipelineError
from tdn_data.pipeline.progress import OnProgress

MAX_NAMES_SHOWN = 8

State = dict[str, object]  # tensors and plain values


class Training:
    """A network on its way through the phases of its training, from wherever `restore` puts it.

    After `stops` the state is saved every `snapshot_seconds`, after a step or an epoch, and when a signal comes.
    Each phase has an optimizer of its own: what Adam keeps of the flow loss's gradients, which are thousands of times
    those of the classification loss, would hold up the next phase for as many steps.
    """

    def __init__(
        self,
        model: VideoNetwork,
        phases: list[Phase],
        config: TrainConfig,
        criterion: Criterion,
        *,
        num_classes: int,
        validation: Validation | None = None,
        resources: Resources = ONE_PROCESS,
        processes: Processes = ALONE,
    ) -> None:
        self._resources, self._device = resources, chosen_device(resources.device)
        self._processes, self._num_parts = processes, processes.num_parts(config.micro_batches)
        self._model, self._phases = model.to(self._device), phases
        self._config, self._num_classes = config, num_classes
        self._losses = compiled_losses(processes.share(PhaseLosses(self._model, criterion)), config)
        self._statistics = SharedStatistics(self._model, processes)
        self._validation, self._best, self._plateau = validation, None, Plateau(config.patience)
        self._average = moving_average(self._model, config.ema) if config.ema else None
        self._save, self._stop, self._saved_at = None, StopRequest(), time.monotonic()
        self._phase, self._epoch, self._step = 0, 0, 0  # what comes next; the step within its epoch
        self._iteration, self._learning = 0, None  # steps so far in all; what learns now
        self._on_step = None
        self._sums, self._reports = EpochSums(), []
        self._begin_phase()

    def stops(self, stop: StopRequest, *, save: Callable[[State], None] | None) -> None:
        """From now on give `save` the state when it is due, and obey `stop`, the first process's for all."""
        self._stop, self._save = stop, save

    def epochs(self, on_step: OnProgress | None = None) -> Iterator[EpochReport]:
        """Train epoch after epoch, yielding a report after each; those of epochs before a `restore` come first.

        `on_step` is called after each step with how many are done, and of how many.
        """
        self._on_step = on_step
        yield from tuple(self._reports)
        while self._phase < len(self._phases):
            self._train_epoch()
            report = self._close_epoch()
            self._save_where_due()
            yield report

    def state(self) -> State:
        """Return all that decides how the training goes on; tensors are the living ones."""
        return {
            "model": self._model.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimiser": self._optimiser.state(),
            "plateau": self._plateau.state(),
            "best": self._best,
            "place": (self._phase, self._epoch, self._step, self._iteration),
            "order": self._order,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
            "sums": asdict(self._sums),
            "reports": [asdict(report) for report in self._reports],
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Go back to a state that was taken."""
        self._model.load_state_dict(state["model"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._plateau.restore(state["plateau"])
        self._best = state["best"]
        self._phase, self._epoch, self._step, self._iteration = state["place"]
        self._sums = EpochSums(**state["sums"])
        self._reports = [EpochReport(**report) for report in state["reports"]]
        if self._phase < len(self._phases):
            self._begin_phase()
            self._optimiser.restore(state["optimiser"])
            self._order = state["order"]
            self._batches.go_on(self._order, epoch=self._epoch, num_steps=self._step)
        torch.set_rng_state(state["random"])
        if state["random_cuda"] and self._device.type == "cuda":
            torch.cuda.set_rng_state_all(state["random_cuda"])

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All phases of the training, in order."""
        return tuple(self._phases)

    @property
    def place(self) -> str:
        """Where the training stands, in words."""
        return f"epoch {min(self._epoch + 1, self._num_epochs)} of {self._num_epochs}, step {self._step + 1}"

    def weights(self, which: Literal["best", "last"]) -> dict[str, Tensor]:
        """Return the weights now or, where there is validation, those of its best result; of the moving average if any.

        They are copied where training goes on changing them.
        """
        if which == "best" and self._best is not None:
            return self._best["weights"]
        return {name: value.contiguous() for name, value in self._tested.state_dict().items()}

    @property
    def _tested(self) -> VideoNetwork:
        return self._model if self._average is None else self._average.module

    @property
    def _num_epochs(self) -> int:
        return self._phases[-1].epochs.stop

    @property
    def _num_steps(self) -> int:
        return sum(phase.num_steps(self._config.batch_size) for phase in self._phases)

    @property
    def _moment(self) -> float:
        """What shares of the training are compared with: steps, or epochs with the share of the one under way."""
        return self._iteration if self._config.iterations else self._epoch + self._step / len(self._batches)

    def _begin_phase(self) -> None:
        """Build what each phase has of its own."""
        phase, config = self._phases[self._phase], self._config
        self._optimiser = Optimiser(self._model, config, self._device)
        own = partial(self._processes.own, num_parts=self._num_parts)
        order = {"seed": config.seed, "first_epoch": phase.epochs.start, "own": own}
        self._batches = EpochBatches(phase.clips, config.batch_size, **order)
        self._loader = load_batches(phase.dataset, self._batches, num_workers=self._resources.num_workers)
        self._order = self._batches.order

    def _train_epoch(self) -> None:
        """Take the steps of an epoch that are left."""
        phase, self._learning = self._phases[self._phase], None
        if self._step == 0:
            _draw_once()
        for batch in self._loader:
            self._set_step(phase)
            self._train_step(phase, on_device(batch, self._device))
            self._step, self._iteration = self._step + 1, self._iteration + 1
            if self._on_step is not None:
                self._on_step(self._iteration, self._num_steps)
            if self._iteration == phase.last_step:
                break
            if self._step < len(self._batches):
                self._save_where_due()

    def _set_step(self, phase: Phase) -> None:
        """Set the rates of the next step, and what learns in it."""
        config, moment = self._config, self._moment
        self._optimiser.set_rates(moment, self._plateau.left)
        if self._step == 0:
            self._sums.learning_rate = self._optimiser.learning_rate
        learning = config.stays_at(moment)
        if learning != self._learning:
            self._learning = learning
            set_phase(
                self._model,
                image_fixed=learning[0],
                pretrained=bool(config.init),
                partial_bn=config.partial_bn,
                flow_only=phase.kind == "flow",
                fixed=config.fixed,
                free=config.free,
                ended=learning[1],
            )

    def _train_step(self, phase: Phase, batch: list[Tensor]) -> None:
        """Take a step for this process's share of a batch; micro-batches count by their share of the batch's clips."""
        self._optimiser.clear()
        self._statistics.begin()
        num_clips, values, hits = len(self._batches.keys[self._step]), Counter(), 0
        parts = self._split(batch)
        for number, part in enumerate(parts):
            share = len(part[0]) / num_clips
            with self._processes.gathering(self._losses, last=number == len(parts) - 1):
                losses = self._part_losses(phase, part, number)
                self._optimiser.add(share * self._processes.size * losses.total)
            values.update({name: share * value for name, value in parts_of(losses).items()})
            hits += 0 if losses.scores is None else num_hits(losses.scores, part[1])
        self._statistics.end()
        totals = self._processes.sum({**values, "hits": hits}, self._device)
        hits = int(totals.pop("hits"))
        self._check_finite(phase, totals["loss"])
        self._optimiser.step()
        if self._average is not None:
            self._average.update_parameters(self._model)
        self._sums.add(totals, num_hits=hits, num_clips=num_clips)

    def _part_losses(self, phase: Phase, part: list[Tensor], number: int) -> Losses:
        """Return the losses of one of this process's micro-batches.

        Where a batch has several, each draws (dropout, mixup) from a seed of its own, in whichever process it is.
        """
        if self._num_parts > 1:
            place = self._processes.rank * (self._num_parts // self._processes.size) + number
            words = np.random.SeedSequence((self._config.seed, self._iteration, place)).generate_state(1, np.uint64)
            torch.manual_seed(int(words[0]))
        if self._config.mixup and phase.kind == "classes":
            part = list(mixed(*part, alpha=self._config.mixup, num_classes=self._num_classes))
        if self._config.channels_last and part[0].ndim == 6:
            part = [laid_out(part[0]), *part[1:]]
        with self._autocast():
            return self._losses(phase.kind, part)

    def _split(self, batch: list[Tensor]) -> list[list[Tensor]]:
        """Return this process's micro-batches that have clips."""
        count = self._num_parts // self._processes.size
        parts = zip(*(one.tensor_split(count) for one in batch), strict=True)
        return [list(part) for part in parts if len(part[0])]

    def _autocast(self) -> AbstractContextManager[object]:
        half = HALVES.get(self._config.precision)
        return nullcontext() if half is None else torch.autocast(self._device.type, dtype=half)

    def _check_finite(self, phase: Phase, loss: float) -> None:
        """Raise PipelineError that names the step and its videos where the loss is no number."""
        if math.isfinite(loss):
            return
        names = phase.names(index for _, index in self._batches.keys[self._step])
        shown = ", ".join(names[:MAX_NAMES_SHOWN]) + (" ..." if len(names) > MAX_NAMES_SHOWN else "")
        raise PipelineError(
            f"the loss is {loss} in epoch {self._epoch + 1}, step {self._step + 1} ({shown}); lower learning_rate, or "
            "set optimizer to adam."
        )

    def _close_epoch(self) -> EpochReport:
        """Report on the epoch and go to the next one's start, in the next phase where this one is over."""
        phase, sums = self._phases[self._phase], self._sums
        self._epoch += 1
        report = EpochReport(
            self._epoch,
            self._num_epochs,
            accuracy=None if phase.kind == "flow" else sums.num_hits / sums.num_clips,
            learning_rate=sums.learning_rate,
            **sums.means(),
            **self._validate(phase),
        )
        self._reports.append(report)
        self._sums, self._step = EpochSums(), 0
        self._order = self._batches.order
        if self._epoch == phase.epochs.stop:
            self._phase += 1
            if self._phase < len(self._phases):
                self._begin_phase()
        return report

    def _validate(self, phase: Phase) -> dict[str, float | None]:
        """Measure the network where that is due after an epoch, and keep its weights if they are the best."""
        due = self._epoch % self._config.validate_every == 0 or self._epoch == self._num_epochs
        if self._validation is None or phase.kind == "flow" or not due:
            return {}
        measured = self._validation.measure(self._tested, self._device, self._processes)
        self._plateau.note(measured.rank[0])
        if self._best is None or measured.rank > tuple(self._best["rank"]):
            weights = {name: value.cpu().clone() for name, value in self.weights("last").items()}
            self._best = {"rank": measured.rank, "epoch": self._epoch, "weights": weights}
        names = ("validation_loss", "validation_accuracy", "validation_map")
        return dict(zip(names, (measured.loss, measured.accuracy, measured.mean_ap), strict=True))

    def _save_where_due(self) -> None:
        """Take a snapshot if it is time for one; leave by `Stopped` if a signal has come."""
        stopped = bool(self._processes.of_first(self._stop.number or 0, self._device))
        due = time.monotonic() - self._saved_at >= self._resources.snapshot_seconds
        if self._save is not None and (stopped or due):
            self._save(self.state())
            self._saved_at = time.monotonic()
        if stopped:
            raise Stopped


def _draw_once() -> None:
    """Move the global generator on by the number that a DataLoader without its own draws at an epoch's start.

    So the same seed gives the weights that it gave before, with any number of workers.
    """
    torch.empty((), dtype=torch.int64).random_()
