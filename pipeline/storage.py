"""Where shards live: a local folder or any object store that pyarrow or fsspec knows (`s3://`, `gs://`, ...).

A file is written in local scratch space under a temporary name and then published in one step: by rename on a local
disk, by one upload elsewhere. Nobody ever sees half a file.
"""

from __future__ import annotations

import copy
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from pipeline.errors import InputError, StorageError


class Storage:
    """One output folder; names inside it are flat. Picklable: the filesystem is opened on first use."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self.location = os.fspath(location).rstrip("/") or "/"
        self.is_local = "://" not in self.location or self.location.startswith("file://")
        if self.is_local:
            self.location = str(Path(self.location.removeprefix("file://")).absolute())
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
        return re.sub(r"//[^/@]*@", "//", self.location).partition("?")[0]

    @property
    def filesystem(self) -> fs.FileSystem:
        """The pyarrow filesystem; raise InputError for a location that nothing can open."""
        if self._filesystem is None:
            self._filesystem, self._root = _open_filesystem(self.location)
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
        """Make the folder; raise StorageError when that is not allowed."""
        with self.faults("the folder"):
            self.filesystem.create_dir(self.path(""), recursive=True)

    def names(self) -> list[str]:
        """Return the sorted file names in the folder; an absent folder has none."""
        with self.faults("the folder"):
            selector = fs.FileSelector(self.path(""), allow_not_found=True)
            infos = self.filesystem.get_file_info(selector)
        return sorted(info.base_name for info in infos if info.type == fs.FileType.File)

    def sizes(self) -> dict[str, int]:
        """Return name -> bytes for the files in the folder."""
        with self.faults("the folder"):
            infos = self.filesystem.get_file_info(fs.FileSelector(self.path(""), allow_not_found=True))
        return {info.base_name: info.size for info in infos if info.type == fs.FileType.File}

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a file; raise StorageError when it cannot be read."""
        with self.faults(name), self.filesystem.open_input_file(self.path(name)) as file:
            return file.read()

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
        with self.faults(name):
            folder = self.local_root if self.is_local else Path(tempfile.mkdtemp(prefix="tdn-data-"))
        scratch = folder / f".{name}.{os.getpid()}.tmp"
        try:
            yield scratch
            with self.faults(name):
                self._move(scratch, name)
        finally:
            scratch.unlink(missing_ok=True)
            if not self.is_local:
                shutil.rmtree(folder, ignore_errors=True)

    def _move(self, scratch: Path, name: str) -> None:
        if self.is_local:
            _sync(scratch)
            os.replace(scratch, self.local_root / name)
        else:
            fs.copy_files(str(scratch), self.path(name), fs.LocalFileSystem(), self.filesystem)

    @contextmanager
    def faults(self, name: str) -> Iterator[None]:
        """Turn an operating system's or a store's error into a StorageError that names the file and the way out."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise StorageError(
                f"{self.shown}: {name}: {_reason(error)}; what is written stays. Fix it and run the command again.",
                path=self.shown,
                key=name,
            ) from error


def is_scratch(name: str) -> bool:
    """Return whether a file name is one that `publish` writes to before the rename."""
    return name.startswith(".") and name.endswith(".tmp")


def _open_filesystem(location: str) -> tuple[fs.FileSystem, str]:
    if "://" not in location:
        return fs.LocalFileSystem(), location
    try:
        return fs.FileSystem.from_uri(location)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        return _open_with_fsspec(location, error)


def _open_with_fsspec(location: str, first_error: Exception) -> tuple[fs.FileSystem, str]:
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(location)
    except (ValueError, ImportError) as error:
        raise InputError(f"{location} is no place that can be opened: {first_error}", path=location) from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), root


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    """Return the operating system's own words, without the call and the path that pyarrow puts around them."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error).split("\n")[0].rstrip(".")
