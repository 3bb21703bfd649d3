"""The curves of a training in the event files that TensorBoard reads, written by the package tensorboardX."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path


class EventFile:
    """A new event file in `folder`; for TensorBoard it takes the place of those that are there.

    Its writer works in this thread: a disk that takes no more is an OSError of `log`. Raises ModuleNotFoundError where
    the package is missing.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        self._event, self._writer = Event, EventsWriter(str(folder / "events"))
        restart = SessionLog(status=SessionLog.START)  # from step 0 on, values of earlier files are not shown
        self._writer.write_event(Event(wall_time=time.time(), step=0, session_log=restart))
        self._writer.flush()

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add the values of an epoch, each to the curve of its name."""
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self._writer.write_event(self._event(wall_time=time.time(), step=epoch, summary=scalar(name, value)))
        self._writer.flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._writer.close()
