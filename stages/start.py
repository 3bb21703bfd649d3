"""The installed program `tdn-data`: so little that Ctrl-C is answered while everything else is still being imported."""

from __future__ import annotations

import os

EXIT_STOPPED = 130  # by Ctrl-C


def main() -> None:
    """Run the command line; who stops it before it has begun gets one line and the exit code for that."""
    try:
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where Ctrl-C is to be ignored
            signal.signal(signal.SIGINT, stop)  # an exception could be swallowed by whatever is being imported
        from tdn_data.stages.cli import console  # noqa: F401
        from tdn_data.stages.cli import main as commands

        if signal.getsignal(signal.SIGINT) is stop:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        commands()
    except KeyboardInterrupt:
        stop()


def stop(*_: object) -> None:
    """Leave at once, with one line on standard error."""
    os.write(2, b"error: stopped before anything was done.\n")
    os._exit(EXIT_STOPPED)
