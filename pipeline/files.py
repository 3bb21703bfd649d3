"""Local files, opened and written with care: only regular files are read, and nobody ever sees half a file.

A FIFO, a socket or a device in place of a file would wait for ever; a fault becomes one sentence that names the file.
`InputError.key` is then `missing`, `unreadable` or `too_large`, so that a caller can make a ledger row of it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from tdn_data.pipeline.errors import InputError, StorageError, VideoError
from tdn_data.pipeline.limits import MAX_SMALL_FILE_BYTES
from tdn_data.pipeline.text import shown_text

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_SCRATCH = re.compile(r"\.tdn-\d+-[0-9a-f]{8}\.tmp(\..*)?$|\..*\.tmp$")  # the latter by earlier versions
_WORDS = {
    errno.ENOENT: ("missing", "does not exist"),
    errno.ENOTDIR: ("missing", "does not exist: a part of its path is no folder"),
    errno.ENAMETOOLONG: ("missing", "has a name that is too long for any file"),
    errno.EACCES: ("unreadable", "may not be read (permission denied)"),
    errno.EPERM: ("unreadable", "may not be read (permission denied)"),
    errno.ENXIO: ("unreadable", "is a socket or a device, not a regular file"),
    errno.ELOOP: ("unreadable", "is a symbolic link that leads to itself"),
}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def open_regular(path: str | os.PathLike[str], *, what: str = "file") -> BinaryIO:
    """Open a regular file for reading, never waiting for a FIFO or a device.

    Raises InputError that begins with the path and says what it is instead; `what` names the file's purpose, as in
    "class list".
    """
    shown = shown_path(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise InputError(f"{shown}: a path with a NUL byte names no {what}.", path=shown, key="missing") from error
    except OSError as error:
        key, words = _WORDS.get(error.errno, ("unreadable", f"cannot be opened ({os.strerror(error.errno).lower()})"))
        raise InputError(f"{shown}: the {what} {words}.", path=shown, key=key) from error
    kind = _other_kind(os.fstat(descriptor).st_mode)
    if kind is not None:
        os.close(descriptor)
        raise InputError(f"{shown} is {kind}; the {what} must be a regular file.", path=shown, key="unreadable")
    return os.fdopen(descriptor, "rb")


def file_digest(path: str | os.PathLike[str], *, what: str = "file") -> str:
    """Return the SHA-256 of a regular file, as hexadecimal digits; errors as of `open_regular`."""
    with open_regular(path, what=what) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_regular(path: str | os.PathLike[str], *, what: str = "file") -> Path:
    """Return the path of a regular file that can be opened; raise InputError as `open_regular` does."""
    open_regular(path, what=what).close()
    return Path(path)


def check_video_file(path: str | os.PathLike[str]) -> None:
    """Raise VideoError, `missing` or `unreadable`, unless `path` is a regular file that can be opened."""
    try:
        check_regular(path, what="video")
    except InputError as error:
        reason = "missing" if error.key == "missing" else "unreadable"
        raise VideoError(reason, error.message, path=os.fspath(path)) from error


def _other_kind(mode: int) -> str | None:
    """Return what a file is in words, None for a regular one."""
    if stat.S_ISREG(mode):
        return None
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "a special file")


def shown_path(path: str | os.PathLike[str]) -> str:
    """Return a path as it may be printed: control characters and undecodable bytes escaped."""
    text = os.fspath(path)
    text = os.fsdecode(text) if isinstance(text, bytes) else text
    return shown_text(text)


def read_bytes(path: str | os.PathLike[str], *, what: str = "file", max_bytes: int = MAX_SMALL_FILE_BYTES) -> bytes:
    """Return a small file whole; raise InputError where there is none that can be read, or more than `max_bytes`."""
    with open_regular(path, what=what) as file:
        try:
            content = file.read(max_bytes + 1)
        except OSError as error:
            words = os.strerror(error.errno).lower() if error.errno else str(error)
            raise InputError(f"{shown_path(path)}: the {what} cannot be read ({words}).", path=path) from error
    if len(content) > max_bytes:
        raise InputError(
            f"{shown_path(path)} has more than {max_bytes:,} bytes; that is no {what}.", path=path, key="too_large"
        )
    return content


def read_text(path: str | os.PathLike[str], *, what: str = "file", max_bytes: int = MAX_SMALL_FILE_BYTES) -> str:
    """Return a small UTF-8 file's text, without a byte order mark; raise InputError for anything else."""
    content = read_bytes(path, what=what, max_bytes=max_bytes)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shown_path(path)}: the {what} is not UTF-8 text (byte {error.start}); save it as UTF-8.", path=path
        ) from error
    if "\0" in text:
        raise InputError(f"{shown_path(path)}: the {what} holds NUL bytes; it is not text.", path=path)
    return text


def read_json(path: str | os.PathLike[str], *, what: str = "file", max_bytes: int = MAX_SMALL_FILE_BYTES) -> object:
    """Return the content of a small JSON file; raise InputError where it is not whole."""
    try:
        return json.loads(read_text(path, what=what, max_bytes=max_bytes))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{shown_path(path)}: the {what} is damaged ({error}).", path=path) from error


@contextmanager
def replacing(
    path: str | os.PathLike[str], *, reserve_bytes: int = 0, follow_links: bool = True, sync: bool = True
) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; on leaving without an error it takes the place of `path`.

    What was there stays until then, and nothing is left behind after a fault. The temporary name keeps the suffix, for
    writers that choose a format by it. So many bytes of the disk are the file's from the start with `reserve_bytes`:
    what `fill` then writes fits, however full the disk gets meanwhile. Raises StorageError when the system refuses to
    make the file, to give the bytes or to move it, or has no room for what the body writes; what else the body raises
    passes as it is. In place of a symbolic link its target is replaced, unless not `follow_links`: a link of DVC's
    leads into its cache, which must not change. Without `sync` the file may be empty after a power cut.
    """
    path = Path(os.path.realpath(path)) if follow_links else Path(path)
    scratch = _scratch_beside(path)
    try:
        if reserve_bytes:
            with _storage_faults(path), scratch.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, reserve_bytes)
        with _full_disk(path, scratch):
            yield scratch
        with _storage_faults(path):
            if sync:
                _sync(scratch)
            os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def is_scratch(name: str) -> bool:
    """Return whether a file name is one that `replacing` gives out: a process that was killed leaves the file."""
    return _SCRATCH.match(name) is not None


def fill(scratch: Path, content: bytes | memoryview) -> None:
    """Write `content` into the bytes that `replacing` reserved; StorageError when it does not fit."""
    with _storage_faults(scratch), scratch.open("r+b") as file:
        file.write(content)
        file.truncate()


def write_bytes(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Write a whole file, or leave what was there; raise StorageError when the system refuses."""
    with replacing(path) as scratch, _storage_faults(path):
        scratch.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write a whole UTF-8 file as `write_bytes` does."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: str | os.PathLike[str], content: object) -> None:
    """Write a whole JSON file, indented and with sorted keys, as `write_bytes` does."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


@contextmanager
def opened_to_append(path: str | os.PathLike[str], *, afresh: bool) -> Iterator[TextIO]:
    """Give a UTF-8 file to add lines to, emptied first if `afresh`; raise StorageError when the system refuses."""
    with _storage_faults(path), open(path, "w" if afresh else "a", encoding="utf-8") as file:
        yield file


def check_output_file(path: str | os.PathLike[str], *, inputs: Iterable[str | os.PathLike[str]] = ()) -> Path:
    """Return `path` if a file can be written there, before the work that makes it: its folder is made where absent.

    Raises InputError where `path` is empty, a folder or another special file, one of `inputs`, or in a folder that
    cannot be made or written into.
    """
    shown = shown_path(path)
    if not os.fspath(path) or "\0" in os.fspath(path):
        raise InputError(f"{shown!r} is no name of a file to write.", key="out")
    path = Path(path)
    with _input_faults(shown):
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = _other_kind(path.stat().st_mode) if path.exists() else None
        same = [other for other in inputs if path.exists() and os.path.exists(other) and path.samefile(other)]
        if kind is None and not same:
            _scratch_beside(path).unlink()
    if kind is not None:
        raise InputError(f"{shown} is {kind}; give the name of a file to write.", path=shown, key="out")
    if same:
        raise InputError(f"{shown} is also read; give another name to write to.", path=shown, key="out")
    return path


def _scratch_beside(path: Path) -> Path:
    """Make an empty temporary file in the folder of `path`, with the usual permissions of a new file."""
    suffix = path.suffix if len(os.fsencode(path.suffix)) < 32 else ""
    scratch = path.with_name(f".tdn-{os.getpid()}-{secrets.token_hex(4)}.tmp{suffix}")
    with _storage_faults(path):
        os.close(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    return scratch


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _storage_faults(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        words = os.strerror(error.errno).lower() if error.errno else str(error)
        raise StorageError(
            f"{shown_path(path)} cannot be written ({words}); what was there before stays.", path=shown_path(path)
        ) from error


@contextmanager
def _full_disk(path: Path, scratch: Path) -> Iterator[None]:
    """Name `path` where a write failed on a full disk, over a quota or on a broken disk: libraries name `scratch`, or
    nothing."""
    try:
        yield
    except (OSError, StorageError) as error:
        is_ours = isinstance(error, StorageError) and error.path == shown_path(scratch)
        cause = error.__cause__ if is_ours else error
        if not isinstance(cause, OSError) or cause.errno not in _NO_ROOM:
            raise
        if not is_ours and cause.filename is not None and not os.fsdecode(cause.filename).endswith(scratch.name):
            raise
        with _storage_faults(path):
            raise cause from None


@contextmanager
def _input_faults(shown: str) -> Iterator[None]:
    try:
        yield
    except (OSError, StorageError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        words = os.strerror(cause.errno).lower() if cause.errno else str(cause)
        raise InputError(
            f"{shown} cannot be written ({words}); choose another place.", path=shown, key="out"
        ) from error
