"""What a training logs by epoch, for DVC: `training/metrics.json` and one table for each curve."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from dvclive import Live

from pipeline.errors import StorageError
from pipeline.files import check_output_file

logger = logging.getLogger(__name__)


class Curves(AbstractContextManager):
    """Writes a value of each curve an epoch into a folder. A disk that takes no more does not end the training.

    It is said when it happens, and again as a StorageError on leaving: the weights are worth more than their curves.
    Raises InputError at once where the folder cannot be written into.
    """

    def __init__(self, folder: Path) -> None:
        check_output_file(folder / "metrics.json")
        self._folder, self._problem = folder, ""
        self._live = Live(dir=str(folder), dvcyaml=None, save_dvc_exp=False, report=None)

    def log(self, values: Mapping[str, float]) -> None:
        """Add one epoch's values."""
        try:
            for name, value in values.items():
                self._live.log_metric(name, value)
            self._live.next_step()
        except OSError as error:
            self._note(error)

    def _note(self, error: OSError) -> None:
        if not self._problem:
            self._problem = os.strerror(error.errno).lower() if error.errno else str(error)
            logger.warning("%s: curves cannot be written (%s); the training goes on", self._folder, self._problem)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._live.end()
        except OSError as fault:
            self._note(fault)
        if self._problem and error is None:
            raise StorageError(
                f"{self._folder}: the curves are not whole ({self._problem}); the checkpoint is written.",
                path=self._folder,
            )
