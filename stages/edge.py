"""Where the program meets a person: messages instead of tracebacks, log lines, progress bars, tables."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from pipeline.errors import InputError, PipelineError
from stages.progress import show_progress

EXIT_FAILED = 1
EXIT_USAGE = 2

out = Console()
err = Console(stderr=True)
progress = partial(show_progress, err)


@contextlib.contextmanager
def messages() -> Iterator[None]:
    """Turn what the pipeline understands into one sentence on stderr and an exit code; let the rest be seen.

    Log lines of the libraries appear on stderr, too: every command and every stage works inside this.
    """
    log_to_console()
    try:
        yield
    except InputError as error:
        fail(error.message, EXIT_USAGE)
    except PipelineError as error:
        fail(error.message, EXIT_FAILED)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        fail(
            f"{error.filename or 'the output'}: {os.strerror(error.errno).lower()}; what is written stays.", EXIT_FAILED
        )
    except KeyboardInterrupt:
        fail("stopped; what is finished stays, and the same command continues.", 130)


def fail(message: str, code: int) -> NoReturn:
    """Print `message` on stderr and leave with `code`."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    sys.exit(code)


def log_to_console() -> None:
    """Send the libraries' log lines to stderr."""
    handler = RichHandler(console=err, show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(message)s")
    for noisy in ("numba", "fsspec", "asyncio", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def make_room(path: Path | None) -> None:
    """Make the folder that a file is going to be written into, so that a run does not find out at its end."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file to write.", path=path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{path.parent} is no folder; nothing can be written into it.", path=path) from error


def print_json(content: object) -> None:
    """Print a record or a dict as JSON on stdout."""
    sys.stdout.write(as_json(content))


def as_json(content: object) -> str:
    """Return a record or a dict as lines of JSON."""
    plain = asdict(content) if is_dataclass(content) and not isinstance(content, type) else content
    return json.dumps(plain, indent=2, default=_plain) + "\n"


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value) if isinstance(value, Path) else repr(value)


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return a count with its noun: `1 video`, `2 videos`, `1,000 videos`; `several` where an s does not make it."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def human_bytes(count: float) -> str:
    """Return a number of bytes with a unit a person reads, e.g. 1.4 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def human_hours(hours: float) -> str:
    """Return hours with a unit a person reads, to two or three digits: 0.4 s, 12 min, 7.9 h, 34,600 h."""
    unit, factor = ("s", 3600) if hours < 1 / 60 else ("min", 60) if hours < 1 else ("h", 1)
    count = hours * factor
    digits = 1 if count < 9.95 else 0 if count < 999.5 else 2 - math.floor(math.log10(count))
    return f"{round(count, digits):,.{max(digits, 0)}f} {unit}"


@contextlib.contextmanager
def checked(source: str) -> Iterator[None]:
    """Turn pydantic's complaint into one InputError that names the key, the value and what is allowed."""
    try:
        yield
    except ValidationError as error:
        raise InputError(f"{source}: {'; '.join(map(_complaint, error.errors()))}.", key=source) from error


def _complaint(fault: dict) -> str:
    """Return one of pydantic's faults as words, e.g. `train.epochs: input should be greater than 0 (is -1)`."""
    key = ".".join(str(part) for part in fault["loc"]) or "the section"
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: unknown key"
    if fault["type"] in ("missing", "missing_argument"):
        return f"{key}: missing"
    message = fault["msg"].removeprefix("Value error, ")
    given = (
        "" if isinstance(fault["input"], (dict, list)) or "Value error" in fault["msg"] else f" (is {fault['input']!r})"
    )
    return f"{key}: {message[:1].lower()}{message[1:]}{given}"


@contextlib.contextmanager
def wrong_arguments() -> Iterator[None]:
    """Turn a library function's ValueError or TypeError about its arguments into an InputError with the same words."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise InputError(f"{error}.", key=type(error).__name__) from error
