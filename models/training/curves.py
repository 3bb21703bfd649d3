"""What a training logs by epoch: for DVC `training/metrics.json` and one table for each curve; event files if asked."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from tdn_data.models.training.events import EventFile
from tdn_data.pipeline.errors import StorageError
from tdn_data.pipeline.files import check_output_file

logger = logging.getLogger(__name__)

FAULTS = (OSError, sqlite3.Error)  # of a disk, below DVCLive: it keeps a small database, too


class Curves(AbstractContextManager):
    """Writes a value of each curve an epoch into a folder. A disk that takes no more does not end the training.

    It is said when it happens, and again as a StorageError on leaving: the weights are worth more than their curves.
    `events` is a folder for what TensorBoard reads. Raises InputError at once where a folder cannot be written into.
    What an earlier training left in the folder stays until `start`, or the first epoch.
    """

    def __init__(self, folder: Path, *, events: Path | None = None) -> None:
        check_output_file(folder / "metrics.json")
        if events is not None:
            check_output_file(events / "events")
        self._folder, self._events_folder, self._problem, self._epoch = folder, events, "", 0
        self._live = self._events = None

    def start(self) -> None:
        """Begin curves in place of those of an earlier training; raise StorageError where the disk takes none."""
        from dvclive import Live  # brings DVC, which a bare GPU machine trains without

        try:
            self._events = None if self._events_folder is None else EventFile(self._events_folder)
            self._live = Live(dir=str(self._folder), dvcyaml=None, save_dvc_exp=False, report=None)
        except FAULTS as error:
            words = f"{self._folder}: curves cannot be written ({_words(error)})."
            raise StorageError(words, path=self._folder) from error

    def log(self, values: Mapping[str, float]) -> None:
        """Add one epoch's values."""
        if self._live is None:
            self.start()
        self._epoch += 1
        try:
            for name, value in values.items():
                self._live.log_metric(name, value)
            self._live.next_step()
            if self._events is not None:
                self._events.log(self._epoch, values)
        except FAULTS as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        if not self._problem:
            self._problem = _words(error)
            logger.warning("%s: curves cannot be written (%s); the training goes on", self._folder, self._problem)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._live is not None:
                self._live.end()
            if self._events is not None:
                self._events.close()
        except FAULTS as fault:
            self._note(fault)
        if self._problem and error is None:
            raise StorageError(
                f"{self._folder}: the curves are not whole ({self._problem}); the checkpoint is written.",
                path=self._folder,
            )


def _words(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else str(error)
