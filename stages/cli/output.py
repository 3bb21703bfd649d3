"""Standard output that says when it takes no more: a full disk must not pass for a finished file."""

from __future__ import annotations

import contextlib
import io
import os
from typing import TextIO

from tdn_data.pipeline.errors import StorageError
from tdn_data.pipeline.files import shown_path


class StandardOutput(io.FileIO):
    """The system's own standard output; what comes after a fault is dropped."""

    def write(self, data) -> int | None:
        """Write bytes and return how many; raise StorageError that names the file, BrokenPipeError for a pipe."""
        try:
            return super().write(data)
        except OSError as error:
            where = self._where()
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            words = os.strerror(error.errno).lower()
            raise StorageError(f"standard output{where} cannot be written ({words}).", key="stdout") from error

    def _where(self) -> str:
        """Return the name of the file that it goes to, in brackets; nothing where it goes to none."""
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{self.fileno()}")
            return f" ({shown_path(target)})" if os.path.exists(target) else ""
        return ""


def written_to_its_end(stream: TextIO) -> TextIO:
    """Return `stream` over `StandardOutput` where it is the system's; any other, e.g. a test's, as it is.

    It has a buffer even under PYTHONUNBUFFERED, where Python drops without a word what a full disk did not take; then,
    as on a terminal, each line is written at once.
    """
    below = getattr(stream, "buffer", None)
    raw = getattr(below, "raw", below)
    if type(raw) is not io.FileIO:
        return stream
    stream.flush()
    at_once = below is raw or stream.isatty()
    bytes_out = io.BufferedWriter(StandardOutput(raw.fileno(), "wb", closefd=False))
    return io.TextIOWrapper(bytes_out, stream.encoding, stream.errors, line_buffering=at_once)
