"""SIGTERM and SIGINT during a training: noted when they come, obeyed when the state is written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tdn_data.pipeline.errors import PipelineError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """The training ends here because a signal asked for it."""


@dataclass
class StopRequest:
    """The signal that has come, None for none."""

    number: int | None = None


@contextmanager
def noted_signals() -> Iterator[StopRequest]:
    """Give the note of a signal that comes inside; after the block it takes the effect that it has outside.

    The block leaves by `Stopped` where it obeys the signal. A second signal takes effect at once. Signals that the
    process ignores stay ignored, and outside the main thread, where none can be caught, nothing is noted.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}

    def note(number: int, _: object) -> None:
        if request.number is not None:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        request.number = number

    for number in before:
        signal.signal(number, note)
    stopped = False
    try:
        yield request
    except Stopped:
        stopped = True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if request.number is not None:
        signal.raise_signal(request.number)
    if stopped:
        raise PipelineError(f"stopped by {signal.Signals(request.number).name}; run it again to go on.")
