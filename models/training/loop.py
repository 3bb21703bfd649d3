"""The steps of a training, whose whole state can be taken at each of them and put back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from tdn_data.models.networks.base import Criterion, VideoNetwork
from tdn_data.models.training.batches import EpochBatches, load_batches
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.optimiser import build_optimizer
from tdn_data.models.training.phases import Phase, set_phase
from tdn_data.models.training.reports import EpochReport
from tdn_data.models.training.schedule import learning_rate_at
from tdn_data.models.training.signals import Stopped, StopRequest
from tdn_data.models.training.sums import EpochSums, num_hits, parts_of
from tdn_data.pipeline.errors import PipelineError

MAX_NAMES_SHOWN = 8

State = dict[str, object]  # tensors and plain values


class Training:
    """A network on its way through the phases of its training, from wherever `restore` puts it.

    `save` is given the state every `config.snapshot_seconds`, after a step or an epoch, and when `stop` notes a signal.
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
        save: Callable[[State], None] | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model, self._phases = model.to(self._device), phases
        self._config, self._criterion = config, criterion
        self._save, self._stop, self._saved_at = save, stop or StopRequest(), time.monotonic()
        self._phase, self._epoch, self._step = 0, 0, 0  # what comes next; the step within its epoch
        self._sums, self._reports = EpochSums(), []
        self._begin_phase()

    def epochs(self) -> Iterator[EpochReport]:
        """Train epoch after epoch, yielding a report after each; those of epochs before a `restore` come first."""
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
            "optimizer": self._optimizer.state_dict(),
            "place": (self._phase, self._epoch, self._step),
            "order": self._order,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
            "sums": asdict(self._sums),
            "reports": [asdict(report) for report in self._reports],
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Go back to a state that was taken."""
        self._model.load_state_dict(state["model"])
        self._phase, self._epoch, self._step = state["place"]
        self._sums = EpochSums(**state["sums"])
        self._reports = [EpochReport(**report) for report in state["reports"]]
        if self._phase < len(self._phases):
            self._begin_phase()
            self._optimizer.load_state_dict(state["optimizer"])
            self._order = state["order"]
            self._batches.go_on(self._order, epoch=self._epoch, num_steps=self._step)
        torch.set_rng_state(state["random"])
        if state["random_cuda"] and self._device.type == "cuda":
            torch.cuda.set_rng_state_all(state["random_cuda"])

    @property
    def place(self) -> str:
        """Where the training stands, in words."""
        return f"epoch {min(self._epoch + 1, self._config.epochs)} of {self._config.epochs}, step {self._step + 1}"

    def _begin_phase(self) -> None:
        """Build what each phase has of its own."""
        phase, config = self._phases[self._phase], self._config
        self._optimizer = build_optimizer(self._model, config)
        self._batches = EpochBatches(
            phase.num_clips, config.batch_size, seed=config.seed, first_epoch=phase.epochs.start
        )
        self._loader = load_batches(phase.dataset, self._batches, num_workers=config.num_workers)
        self._order = self._batches.order

    def _train_epoch(self) -> None:
        """Take the steps of an epoch that are left."""
        phase = self._phases[self._phase]
        self._set_epoch(phase)
        if self._step == 0:
            _draw_once()
        for batch in self._loader:
            self._train_step(phase, [part.to(self._device) for part in batch])
            self._step += 1
            if self._step < len(self._batches):
                self._save_where_due()

    def _set_epoch(self, phase: Phase) -> None:
        config = self._config
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate_at(self._epoch, config)
        set_phase(
            self._model,
            image_fixed=self._epoch < round(config.fixed_share * config.epochs),
            pretrained=bool(config.init),
            partial_bn=config.partial_bn,
            flow_only=phase.kind == "flow",
        )

    def _train_step(self, phase: Phase, batch: list[Tensor]) -> None:
        losses = phase.losses(self._model, batch, self._criterion)
        parts = parts_of(losses)
        self._check_finite(phase, parts["loss"])
        self._optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        self._optimizer.step()
        self._sums.add(parts, 0 if losses.scores is None else num_hits(losses.scores, batch[1]))

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
        report = EpochReport(
            self._epoch + 1,
            self._config.epochs,
            accuracy=None if phase.kind == "flow" else sums.num_hits / phase.num_clips,
            learning_rate=self._optimizer.param_groups[0]["lr"],
            **sums.means(),
        )
        self._reports.append(report)
        self._sums, self._step, self._epoch = EpochSums(), 0, self._epoch + 1
        self._order = self._batches.order
        if self._epoch == phase.epochs.stop:
            self._phase += 1
            if self._phase < len(self._phases):
                self._begin_phase()
        return report

    def _save_where_due(self) -> None:
        """Take a snapshot if it is time for one; leave by `Stopped` if a signal has come."""
        stopped = self._stop.number is not None
        if self._save is not None and (stopped or time.monotonic() - self._saved_at >= self._config.snapshot_seconds):
            self._save(self.state())
            self._saved_at = time.monotonic()
        if stopped:
            raise Stopped


def _draw_once() -> None:
    """Move the global generator on by the number that a DataLoader without its own draws at an epoch's start.

    So the same seed gives the weights that it gave before, with any number of workers.
    """
    torch.empty((), dtype=torch.int64).random_()
