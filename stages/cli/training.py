"""What a person sees of a training under way: steps, their rate, the epoch's numbers, the time left."""

from __future__ import annotations

from tdn_data.models.training.curves import Curves
from tdn_data.models.training.reports import EpochReport
from tdn_data.stages.cli.progress import Update


class TrainingProgress:
    """Takes in what `train` reports; shows it by `update` and logs each epoch to `curves`.

    The numbers of a validation stand until the next one. Epochs of before a snapshot are logged, not shown again.
    """

    def __init__(self, update: Update, curves: Curves) -> None:
        self._update, self._curves = update, curves
        self._words: dict[str, str] = {}
        self._done, self._total = 0, None

    def on_step(self, num_done: int, num_total: int, note: str = "", /) -> None:
        """Count a step: an `OnProgress`."""
        self._done, self._total = num_done, num_total
        self._update(num_done, num_total)

    def on_epoch(self, report: EpochReport) -> None:
        """Log an epoch and say how it went."""
        self._curves.log(report.values())
        self._words.update(report.words())
        note = ", ".join([f"epoch {report.epoch} of {report.num_epochs}", *self._words.values()])
        if self._done:
            self._update(self._done, self._total, note=note, say=True)
