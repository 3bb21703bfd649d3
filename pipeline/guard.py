"""A function in a process of its own that can be killed: what decodes other people's files.

A hang costs the wall-clock limit, a crash or a file that eats memory costs one call; the caller gets a VideoError and
the next call gets a fresh process. Run as a module, this file is that process.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import math
import os
import resource
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection

from pipeline.errors import VideoError

GRACE_SECONDS = 5  # after the limit an orphan, whose parent is gone, ends by its own alarm


class GuardedProcess:
    """Runs `module:function` in a child process, one call at a time; the child is started on the first call."""

    def __init__(self, function: str, *, memory_bytes: int) -> None:
        self._function = function
        self._memory_bytes = memory_bytes
        self._child: subprocess.Popen | None = None
        self._connection: Connection | None = None

    def call(self, argument: object, *, timeout_seconds: float) -> object:
        """Return `function(argument)`; what it raises is raised here.

        Raises VideoError with reason `timeout` when it does not end in time, `crashed` when its process dies.
        """
        if self._child is None:
            self._start()
        try:
            self._connection.send((argument, timeout_seconds))
            if not self._connection.poll(timeout_seconds):
                self.stop()
                raise VideoError("timeout", f"was not done within {timeout_seconds:g} s and was stopped.")
            succeeded, result = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            status = self.stop()
            raise VideoError("crashed", f"the decoding process died ({_death(status)}).") from error
        if not succeeded:
            raise result
        return result

    def stop(self) -> int | None:
        """End the child, if there is one, and return its exit status."""
        if self._child is None:
            return None
        with contextlib.suppress(OSError):
            self._connection.close()
        try:
            status = self._child.wait(0.2)
        except subprocess.TimeoutExpired:
            self._child.kill()
            status = self._child.wait()
        self._child = self._connection = None
        return status

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-m", "pipeline.guard", str(theirs.fileno()), self._function]
        self._child = subprocess.Popen(
            [*command, str(self._memory_bytes)],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        self._connection = Connection(ours.detach())


def _death(status: int | None) -> str:
    if status is not None and status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"


def _serve(descriptor: int, function: str, memory_bytes: int) -> None:
    """Answer calls until the parent closes the connection."""
    _die_with_parent()
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    module, name = function.split(":")
    work = getattr(importlib.import_module(module), name)
    connection = Connection(descriptor)
    while True:
        try:
            argument, timeout_seconds = connection.recv()
        except EOFError:
            return
        signal.alarm(math.ceil(timeout_seconds) + GRACE_SECONDS)
        answer = _answer(work, argument)
        signal.alarm(0)
        connection.send(answer)


def _answer(work, argument: object) -> tuple[bool, object]:
    """Return (True, result), or (False, the exception) for whatever a hostile file makes the function raise."""
    try:
        return True, work(argument)
    except VideoError as error:
        return False, error
    except MemoryError:
        return False, VideoError("too_large", "needs more memory than --memory-limit allows.")
    except Exception as error:  # noqa: BLE001 - the one place where an unforeseen fault becomes a ledger row
        return False, VideoError(
            "crashed", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        )


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere the closed connection and the alarm serve."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
