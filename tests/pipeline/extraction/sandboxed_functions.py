"""What the tests of the sandbox let run in its process: good work, and what a decoder that is taken over might do."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time


def double(number: int) -> list[bytes]:
    return [str(number).encode(), str(number).encode()]


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def exit_with(status: int) -> None:
    os._exit(status)


def die_by(number: int) -> None:
    signal.raise_signal(number)


def allocate(num_bytes: int) -> None:
    bytearray(num_bytes)


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def malicious_pickle(path: str) -> None:
    """As `multiprocessing.Connection` would send it, as a whole answer, and as a fault."""
    content = pickle.dumps((True, _Touch(path)))
    _write(len(content).to_bytes(4, "big") + content)
    time.sleep(60)


def pickled_answer(path: str) -> list[bytes]:
    return [pickle.dumps(_Touch(path))]


def raw_answer(content: bytes) -> None:
    """Write `content` in place of an answer and go."""
    _write(content)
    os._exit(0)


def raw_answer_and_wait(content: bytes) -> None:
    _write(content)
    time.sleep(60)


def compile_slowly(argument: object) -> None:
    time.sleep(1.5)


def answer(parts: list[bytes]) -> list[bytes]:
    return parts


def _write(content: bytes) -> None:
    os.write(int(sys.argv[1]), content)
