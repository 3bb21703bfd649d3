"""A function in a process of its own that can be killed: what decodes other people's files.

A hang costs the wall-clock limit, a crash or a file that eats memory costs one call; the caller gets a VideoError and
the next call gets a fresh process. Run as a module, this file is that process.

The process is not believed: a decoder that a file has taken over may answer anything. Arguments go to it pickled, but
what comes back are plain bytes, a kind, a length and that many bytes, which the caller's `read` checks and takes apart.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import math
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.text import shown_text

Result = TypeVar("Result")

GRACE_SECONDS = 5  # after the limit an orphan, whose parent is gone, ends by its own alarm
PREPARE_SECONDS = 600  # for imports and compilation, before a video's time begins
MAX_MESSAGE_CHARACTERS = 1000
_MAX_FAULT_BYTES = 1 << 16
_READY, _RESULT, _FAULT = b"P", b"R", b"F"
_LENGTH_BYTES = 8
_CHUNK_BYTES = 1 << 20


class _WrongAnswerError(Exception):
    """The process answered something that its code does not answer."""


class Sandbox:
    """Runs `module:function` in a child process, one call at a time; the child is started on the first call.

    `function(argument)` returns the buffers of its answer. `prepare`, another `module:function`, is called with the
    same argument before the clock starts: it imports and compiles what the call needs.

    On Linux the child is killed when the thread that started it ends, not only when the process does (PR_SET_PDEATHSIG,
    prctl(2)): make a thread's calls with a Sandbox of its own, and let the thread live as long as that. A child found
    dead at the next call is replaced; one that loses its thread during a call from another costs that call (`crashed`).
    """

    def __init__(self, function: str, *, memory_bytes: int, prepare: str | None = None) -> None:
        self._function = function
        self._prepare = prepare
        self._memory_bytes = memory_bytes
        self._child: subprocess.Popen | None = None
        self._socket: socket.socket | None = None

    def call(self, argument: object, *, timeout_seconds: float, read: Callable[[memoryview], Result]) -> Result:
        """Return `read(answer)`; a VideoError that the function raises is raised here.

        `read` raises ValueError for an answer that cannot be right. Raises VideoError with reason `timeout` when there
        is no whole answer in time, `crashed` when the process dies or its answer is not to be believed.
        """
        try:
            if self._child is not None and self._child.poll() is not None:
                self.stop()  # it died between two calls, of which this one is innocent
            if self._child is None:
                self._start()
        except OSError as error:
            words = f"the decoding process cannot be started ({os.strerror(error.errno).lower()})."
            raise VideoError("crashed", words) from error
        try:
            self._send((argument, timeout_seconds))
            kind, content = self._receive(time.monotonic() + PREPARE_SECONDS)
            if kind == _READY and not content:
                kind, content = self._receive(time.monotonic() + timeout_seconds)
            if kind == _FAULT:
                raise _fault(content)
            if kind != _RESULT:
                raise _WrongAnswerError(f"an answer of kind {kind!r}")
            return read(memoryview(content))
        except TimeoutError as error:
            self.stop()
            raise VideoError(
                "timeout", f"the video was not done within {timeout_seconds:g} s and was stopped."
            ) from error
        except (EOFError, ConnectionError) as error:
            status = self.stop()
            raise VideoError("crashed", f"the decoding process died ({_death(status)}).") from error
        except (_WrongAnswerError, ValueError) as error:
            self.stop()
            raise VideoError("crashed", f"the decoding process gave a wrong answer ({error}).") from error

    def stop(self) -> int | None:
        """End the child, if there is one, and return its exit status."""
        if self._child is None:
            return None
        with contextlib.suppress(OSError):
            self._socket.close()
        try:
            status = self._child.wait(0.2)
        except subprocess.TimeoutExpired:
            self._child.kill()
            status = self._child.wait()
        self._child = self._socket = None
        return status

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [
            sys.executable,
            "-m",
            "tdn_data.pipeline.extraction.sandbox",
            str(theirs.fileno()),
            self._function,
            self._prepare or "",
        ]
        self._child = subprocess.Popen(
            [*command, str(self._memory_bytes)],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()

    def _send(self, argument: object) -> None:
        self._socket.settimeout(PREPARE_SECONDS)
        content = pickle.dumps(argument)
        self._socket.sendall(len(content).to_bytes(_LENGTH_BYTES, "big") + content)

    def _receive(self, deadline: float) -> tuple[bytes, bytearray]:
        """Return the kind and content of the next message; raise TimeoutError when it is not whole by `deadline`."""
        head = self._exactly(1 + _LENGTH_BYTES, deadline)
        kind, length = bytes(head[:1]), int.from_bytes(head[1:], "big")
        if length > (self._memory_bytes if kind == _RESULT else _MAX_FAULT_BYTES):
            raise _WrongAnswerError(f"{length:,} bytes are announced")
        return kind, self._exactly(length, deadline)

    def _exactly(self, num_bytes: int, deadline: float) -> bytearray:
        content = bytearray()
        while len(content) < num_bytes:
            left_seconds = deadline - time.monotonic()
            if left_seconds <= 0:
                raise TimeoutError
            self._socket.settimeout(left_seconds)
            chunk = self._socket.recv(min(num_bytes - len(content), _CHUNK_BYTES))
            if not chunk:
                raise EOFError
            content += chunk
        return content


def _death(status: int | None) -> str:
    if status is not None and status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"


def _fault(content: bytearray) -> VideoError:
    """Return the error that the child reports; raise ValueError unless it is one of the known kind."""
    return checked_problem(json.loads(content.decode("utf-8")))


def checked_problem(problem: object) -> VideoError:
    """Return the VideoError of [reason, message] as another process tells it; raise ValueError for anything else."""
    if not isinstance(problem, list) or len(problem) != 2 or problem[0] not in VideoError.REASONS:
        raise ValueError("an unknown kind of fault")
    return VideoError(problem[0], checked_text(problem[1]))


def checked_text(text: object) -> str:
    """Return a short printable text as another process tells it; raise ValueError for anything else."""
    if not isinstance(text, str) or len(text) > MAX_MESSAGE_CHARACTERS or not text.isprintable():
        raise ValueError("a message that is no short printable text")
    return text


def plain_problem(error: VideoError) -> list[str]:
    """Return [reason, sentence] for `checked_problem` on the other side; a long sentence is cut."""
    shown = shown_text(error.sentence)
    return [error.reason, shown if len(shown) <= MAX_MESSAGE_CHARACTERS else shown[: MAX_MESSAGE_CHARACTERS - 1] + "…"]


def _serve(descriptor: int, function: str, prepare: str, memory_bytes: int) -> None:
    """Answer calls until the parent closes the connection."""
    _die_with_parent()
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    work = _named(function)
    connection = socket.socket(fileno=descriptor)
    with connection, connection.makefile("rb") as requests:
        while length := requests.read(_LENGTH_BYTES):
            argument, timeout_seconds = pickle.loads(requests.read(int.from_bytes(length, "big")))
            kind, buffers = _answer(_named(prepare), argument) if prepare else (_RESULT, ())
            if kind != _FAULT:
                _reply(connection, _READY, ())
                signal.alarm(math.ceil(timeout_seconds) + GRACE_SECONDS)
                kind, buffers = _answer(work, argument)
                signal.alarm(0)
            _reply(connection, kind, buffers)


def _named(function: str) -> Callable:
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)


def _reply(connection: socket.socket, kind: bytes, buffers: Sequence[bytes]) -> None:
    connection.sendall(kind + sum(len(one) for one in buffers).to_bytes(_LENGTH_BYTES, "big"))
    for one in buffers:
        connection.sendall(one)


def _answer(work: Callable, argument: object) -> tuple[bytes, Sequence[bytes]]:
    """Return the kind of answer and its buffers, for whatever a hostile file makes the function raise."""
    try:
        return _RESULT, work(argument) or ()
    except VideoError as error:
        problem = error
    except MemoryError:
        problem = VideoError("too_large", "decoding needs more memory than --memory-limit allows.")
    except Exception as error:  # noqa: BLE001 - the one place where an unforeseen fault becomes a ledger row
        words = str(error).splitlines()
        problem = VideoError("crashed", ": ".join([f"decoding failed with {type(error).__name__}", *words[:1]]))
    return _FAULT, [json.dumps(plain_problem(problem)).encode()]


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere the closed connection and the alarm serve."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
