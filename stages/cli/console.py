"""Where the program meets a person: messages instead of tracebacks, log lines, progress bars, tables."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError
from rich.console import Console, ConsoleRenderable
from rich.logging import RichHandler
from rich.markup import escape
from rich.text import Text

from tdn_data.pipeline.errors import InputError, PipelineError
from tdn_data.pipeline.files import shown_path
from tdn_data.pipeline.text import shown_text, without_controls
from tdn_data.stages.cli.extras import missing_package
from tdn_data.stages.cli.output import written_to_its_end
from tdn_data.stages.cli.progress import show_progress
from tdn_data.stages.start import EXIT_STOPPED

EXIT_FAILED = 1
EXIT_USAGE = 2


class HarmlessConsole(Console):
    """A console on which no name from a file controls the terminal; `:words:` stay as they are written."""

    def __init__(self, **options) -> None:
        super().__init__(emoji=False, **options)

    def render_str(self, text: str, **options) -> Text:
        """Return text to be printed, its control characters escaped."""
        return super().render_str(without_controls(text), **options)


class HarmlessHandler(RichHandler):
    """Log lines whose control characters are escaped."""

    def render_message(self, record: logging.LogRecord, message: str) -> ConsoleRenderable:
        """Return the line to be printed."""
        return super().render_message(record, without_controls(message))


out = HarmlessConsole()
err = HarmlessConsole(stderr=True)
progress = partial(show_progress, err)


@contextlib.contextmanager
def messages() -> Iterator[None]:
    """Turn what a user or the system can cause into one sentence on stderr and an exit code; let the rest be seen.

    Log lines of the libraries appear on stderr, too: every command and every stage works inside this.
    """
    log_to_console()
    with _sentences():
        yield


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        explained = _explained(error)
        if explained is None:
            raise
        fail(*explained)


def _explained(error: BaseException) -> tuple[str, int] | None:
    """Return a sentence about an error, and the exit code; None for one that only a fault of the program causes."""
    if isinstance(error, PipelineError):
        return error.message, EXIT_USAGE if isinstance(error, InputError) else EXIT_FAILED
    if isinstance(error, KeyboardInterrupt):
        return "stopped; what is finished stays; give the same command again for the rest.", EXIT_STOPPED
    if isinstance(error, ImportError) and (words := missing_package(error)) is not None:
        return words, EXIT_USAGE
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; ask for less, or run it on a larger machine.", EXIT_FAILED
    if isinstance(error, UnicodeEncodeError):
        words = f"{error.object!a} cannot be written in this system's encoding, {error.encoding}"
        return f"{words}; set PYTHONUTF8=1.", EXIT_USAGE
    if isinstance(error, OSError) and error.errno:
        words = os.strerror(error.errno).lower()
        if isinstance(error, BrokenPipeError):
            return f"standard output cannot be written ({words}).", EXIT_FAILED
        if error.filename is None:
            return f"the output cannot be written ({words}); what is written stays.", EXIT_FAILED
        return f"{shown_path(str(error.filename))}: {words}; what is written stays.", EXIT_FAILED
    return None


@contextlib.contextmanager
def program() -> Iterator[None]:
    """Hold a whole program: `messages`, names in any script, and standard output that is written to its end."""
    _use_utf8()
    sys.stdout = written_to_its_end(sys.stdout)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names that are no text are shown, not stumbled over
    with _sentences():
        try:
            yield
        finally:
            sys.stdout.flush()


def _use_utf8() -> None:
    """Start the program again in Python's UTF-8 mode where the system's encoding has no name for most files."""
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    module = getattr(sys.modules["__main__"], "__spec__", None)
    if Path(sys.argv[0]).name in ("tdn-data", "-c") or (
        module is not None and module.name.startswith("tdn_data.stages.")
    ):
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def run_stage(main: Callable[..., None]) -> NoReturn:
    """Run a stage with the words of the command line, one for each parameter of its function `main`.

    Leaves with an exit code; with another number of words, or -h, how it is called is said.
    """
    with program():
        words, module = sys.argv[1:], sys.modules["__main__"]
        names = [name.upper() for name in inspect.signature(main).parameters]
        usage = " ".join(["python -m", module.__spec__.name, *names])
        if words and words[0] in ("-h", "--help"):
            out.print(f"{usage}\n\n{module.__doc__}", markup=False, highlight=False, soft_wrap=True)
        elif len(words) != len(names):
            raise InputError(f"this stage is run as `{usage}`; {counted(len(words), 'word')} came after its name.")
        else:
            main(*words)
    sys.exit(0)


def fail(message: str, code: int) -> NoReturn:
    """Print `message` on stderr and leave with `code`."""
    err.print(f"[bold red]error:[/] {shown(message)}", soft_wrap=True)
    sys.exit(code)


def shown(text: object) -> str:
    """Return an identifier, a label, a path or a sentence for `print`: on one line, and none of it is markup."""
    return escape(shown_text(str(text)))


def log_to_console() -> None:
    """Send the libraries' log lines to stderr."""
    handler = HarmlessHandler(console=err, show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(message)s")
    for noisy in ("numba", "fsspec", "asyncio", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def print_json(content: object) -> None:
    """Print a record or a dict as JSON on stdout."""
    sys.stdout.write(as_json(content))


def as_json(content: object) -> str:
    """Return a record or a dict as lines of JSON, which has no word for what is not a number: that is null."""
    plain = asdict(content) if is_dataclass(content) and not isinstance(content, type) else content
    written = json.loads(json.dumps(plain, default=_plain), parse_constant=lambda _: None)
    return json.dumps(written, indent=2) + "\n"


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value) if isinstance(value, Path) else repr(value)


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return a count with its noun: `1 video`, `2 videos`, `1,000 videos`; `several` where an s does not make it."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


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
    key = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("<"))  # a tag is no key
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: unknown key"
    if fault["type"] in ("missing", "missing_argument"):
        return f"{key}: missing"
    message = fault["msg"].removeprefix("Value error, ")
    given = (
        "" if isinstance(fault["input"], (dict, list)) or "Value error" in fault["msg"] else f" (is {fault['input']!r})"
    )
    words = f"{message[:1].lower()}{message[1:]}{given}"
    return f"{key}: {words}" if key else words  # no key: several of a section contradict each other


@contextlib.contextmanager
def wrong_arguments() -> Iterator[None]:
    """Turn a library function's ValueError or TypeError about its arguments into an InputError with the same words."""
    try:
        yield
    except ValidationError as error:
        raise InputError(f"{'; '.join(map(_complaint, error.errors()))}.", key=error.title) from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{error}.", key=type(error).__name__) from error
