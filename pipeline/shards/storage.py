"""Where shards live: a local folder or any object store that pyarrow or fsspec knows (`s3://`, `gs://`, ...).

A file is written in local scratch space under a temporary name and then published in one step: by rename on a local
disk, by one upload elsewhere. Nobody ever sees half a file.
"""

from __future__ import annotations

import copy
import os
import queue
import re
import reprlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote

import pyarrow as pa
from pyarrow import fs

from tdn_data.pipeline.errors import InputError, StorageError
from tdn_data.pipeline.files import replacing, shown_path

STORE_SECONDS = 60.0  # that an object store may take to answer for the first time

T = TypeVar("T")


class Storage:
    """One output folder; names inside it are flat. Picklable: the filesystem is opened on first use."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        """Raises TypeError for what is neither text nor a path, InputError for a location that names no folder."""
        self.location = checked_location(_location_text(location))
        self.is_local = "://" not in self.location
        self._filesystem: fs.FileSystem | None = None
        self._root = self.location
        self._inner = ""  # a folder inside, with a slash before it

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_filesystem": None}

    def __repr__(self) -> str:
        return f"Storage({self.shown!r})"

    @property
    def shown(self) -> str:
        """The location as it may be shown: without credentials and options."""
        return shown_location(self.location)

    @property
    def filesystem(self) -> fs.FileSystem:
        """The pyarrow filesystem.

        Raises InputError for a location that nothing can open, StorageError for a store that does not answer in time.
        """
        if self._filesystem is None:
            if self.is_local:
                self._filesystem = fs.LocalFileSystem()
            else:
                self._filesystem, self._root = _in_time(partial(_reached, self.location), self.shown)
        return self._filesystem

    @property
    def local_root(self) -> Path:
        """The folder as a local path; only meaningful when `is_local`."""
        return Path(f"{self.location}{self._inner}")

    def folder(self, name: str) -> Storage:
        """Return a folder inside this one, as a place of its own."""
        inner = copy.copy(self)
        inner._inner = f"{self._inner}/{name}"
        return inner

    def path(self, name: str) -> str:
        """Return the full path of `name` inside the filesystem."""
        _ = self.filesystem
        root = f"{self._root}{self._inner}"
        return f"{root}/{name}" if name else root

    def create(self) -> None:
        """Make the folder; raise StorageError when that, or writing into it, is not allowed."""
        with self.faults("the folder"):
            self.filesystem.create_dir(self.path(""), recursive=True)
            if self.is_local:
                tempfile.TemporaryFile(dir=self.local_root).close()

    def names(self) -> list[str]:
        """Return the sorted file names in the folder; an absent folder has none."""
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Return name -> bytes for the files in the folder; an absent folder has none."""
        return {info.base_name: info.size for info in self._infos() if info.type == fs.FileType.File}

    def folders(self) -> list[str]:
        """Return the sorted names of the folders in the folder."""
        return sorted(info.base_name for info in self._infos() if info.type == fs.FileType.Directory)

    def _infos(self) -> list[fs.FileInfo]:
        with self.faults("the folder", reading=True):
            return self.filesystem.get_file_info(fs.FileSelector(self.path(""), allow_not_found=True))

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a file; raise StorageError when it cannot be read."""
        with self.faults(name, reading=True), self.filesystem.open_input_file(self.path(name)) as file:
            return file.read()

    def open_file(self, name: str) -> pa.NativeFile:
        """Open a file to read from any place in it; raise StorageError when it cannot be."""
        with self.faults(name, reading=True):
            return self.filesystem.open_input_file(self.path(name))

    def write_bytes(self, name: str, data: bytes) -> None:
        """Publish `data` as `name`."""
        with self.publish(name) as scratch, self.faults(name):
            scratch.write_bytes(data)

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        with self.faults(name):
            if self.filesystem.get_file_info(self.path(name)).type != fs.FileType.NotFound:
                self.filesystem.delete_file(self.path(name))

    def delete_folder(self) -> None:
        """Remove the folder and all files in it; nothing happens where there is none."""
        with self.faults("the folder"):
            if self.filesystem.get_file_info(self.path("")).type == fs.FileType.Directory:
                self.filesystem.delete_dir(self.path(""))

    def adopt(self, inner: Storage, name: str) -> None:
        """Move a file from a folder inside to this one, where it takes the place of a file of that name."""
        with self.faults(name):
            self.filesystem.move(inner.path(name), self.path(name))

    @contextmanager
    def publish(self, name: str) -> Iterator[Path]:
        """Give a local scratch path to write to; on leaving without an error it becomes `name` in one step.

        What goes wrong in the body passes as it is: only what it does inside `faults` is a fault of the output.
        """
        if self.is_local:
            with self.faults(name):
                os.stat(f"{self.local_root}/")  # a file in the place of the folder is found before anything is written
            with replacing(self.local_root / name, follow_links=False) as scratch:
                yield scratch
            return
        with self.faults(name):
            folder = Path(tempfile.mkdtemp(prefix="tdn-data-"))
        try:
            yield folder / name
            with self.faults(name):
                fs.copy_files(str(folder / name), self.path(name), fs.LocalFileSystem(), self.filesystem)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def faults(self, name: str, *, reading: bool = False) -> Iterator[None]:
        """Turn an operating system's or a store's error into a StorageError that names the file and the way out.

        `reading`: nothing is written in the body. A file in the place of the folder is an InputError.
        """
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            if self.is_local and self.local_root.is_file():
                raise InputError(
                    f"{self.shown} is a file; a folder of shards is needed here.", path=self.shown
                ) from error
            way_out = "make it readable" if reading else "what is written stays. Fix it"
            raise StorageError(
                f"{self.shown}: {name}: {_reason(error, self.location)}; {way_out} and run the command again.",
                path=self.shown,
                key=name,
            ) from error


def _location_text(location: object) -> str:
    text = os.fspath(location) if isinstance(location, os.PathLike) else location
    if not isinstance(text, str):
        raise TypeError(
            f"the folder of shards is {reprlib.repr(location)}; it must be text or a path, e.g. 'shards' or "
            "'s3://bucket/shards'"
        )
    return text


def checked_location(location: str) -> str:
    """Return a local folder as an absolute path, an address as it is, both without slashes at the end.

    Raises InputError for what names no folder: nothing, the root itself, an address without a bucket, a web address.
    """
    shown = shown_location(location)
    scheme, has_slashes, rest = location.partition("://")
    if not location.strip() or "\0" in location:
        raise InputError(f"{location!r} names no folder; give one, e.g. shards or s3://bucket/shards.", key="location")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)", location):
        raise InputError(f"{shown} has one slash; an address is written with two, e.g. s3://bucket.", key="location")
    if has_slashes and scheme.lower() in ("http", "https", "ftp"):
        raise InputError(
            f"{shown} is a web page's address; give a folder or an object store's, e.g. s3://bucket.", key="location"
        )
    if has_slashes and scheme.lower() != "file":
        if not _without_userinfo(rest).partition("?")[0].strip("/"):
            raise InputError(f"{shown} names no bucket; write it as {scheme}://bucket/folder.", key="location")
        path, question_mark, options = location.partition("?")
        return path.rstrip("/") + question_mark + options
    path = rest if has_slashes else location
    if not path.strip("/"):
        raise InputError(f"{shown} is no folder of its own; give one inside it.", key="location")
    return str(Path(path).absolute())


def shown_location(location: str) -> str:
    """Return a location as it may be shown: an address without user, password and options."""
    scheme, has_slashes, rest = location.partition("://")
    return f"{scheme}://{_without_userinfo(rest).partition('?')[0]}" if has_slashes else shown_path(location)


def _without_userinfo(rest: str) -> str:
    """Return what follows `://` without `user:password@`; a password may have slashes and question marks in it."""
    before, at, after = rest.partition("?")[0].rpartition("@")
    host = before.partition("/")[0]
    if at and ("/" not in before or ":" in host):
        return after + rest[len(before) + len(at) + len(after) :]
    before, at, after = rest.rpartition("@")
    return after if at and ":" in before.partition("?")[0].partition("/")[0] else rest


def _secrets(location: str) -> list[str]:
    """Return what an address holds beside the place: user, password and the values of its options, longest first."""
    rest = location.partition("://")[2]
    userinfo = rest.removesuffix(_without_userinfo(rest)).removesuffix("@")
    values = [value for _, value in parse_qsl(rest.partition("?")[2])]
    values += [part.partition("=")[2] for part in rest.partition("?")[2].split("&")]
    found = {location, userinfo, *userinfo.split(":", 1), *values}
    return sorted((one for one in found | {unquote(one) for one in found} if len(one) > 3), key=len, reverse=True)


def _in_time(reach: Callable[[], T], shown: str) -> T:
    """Return what `reach` does; raise StorageError when it takes longer than `STORE_SECONDS`, whatever it waits for."""
    answers: queue.Queue = queue.Queue()

    def work() -> None:
        try:
            answers.put((reach(), None))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            answers.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        found, error = answers.get(timeout=STORE_SECONDS)
    except queue.Empty:
        raise StorageError(
            f"{shown} did not answer within {STORE_SECONDS:g} s; check the address, the network and the credentials.",
            path=shown,
        ) from None
    if error is not None:
        raise error
    return found


def _reached(location: str) -> tuple[fs.FileSystem, str]:
    """Return an object store's filesystem and the folder in it, after it has answered once."""
    filesystem, root = _open_filesystem(location)
    try:
        filesystem.get_file_info(root)
    except (OSError, pa.ArrowException) as error:
        shown = shown_location(location)
        raise StorageError(
            f"{shown} cannot be reached ({_reason(error, location)}); check the address, the network and the "
            "credentials.",
            path=shown,
        ) from None  # the store's own error names the address with what is secret in it
    return filesystem, root


def _open_filesystem(location: str) -> tuple[fs.FileSystem, str]:
    if location.startswith(("gs://", "gcs://")) and "retry_limit_seconds" not in location:
        location += f"{'&' if '?' in location else '?'}retry_limit_seconds={STORE_SECONDS:g}"  # without: minutes
    try:
        return fs.FileSystem.from_uri(location)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        return _open_with_fsspec(location, error)


def _open_with_fsspec(location: str, first_error: Exception) -> tuple[fs.FileSystem, str]:
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(location)
    except (ValueError, ImportError):
        shown = shown_location(location)
        raise InputError(
            f"{shown} is an address that nothing here can open ({_reason(first_error, location)}).", path=shown
        ) from None
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), root


def _reason(error: Exception, location: str) -> str:
    """Return the operating system's or store's own words, without what is secret in the location."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    words = str(error).split("\n")[0].rstrip(".")
    if "://" in location:
        for secret in _secrets(location):
            words = words.replace(secret, "***")
    return words
