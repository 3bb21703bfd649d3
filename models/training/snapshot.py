"""Snapshots: the whole state of a training on disk, from which it goes on after a crash, a kill or a full night.

    snapshots/<run>/lock        held by the living trainer (a POSIX lock, which ends with its process)
    snapshots/<run>/snapshot    magic, SHA-256 of the rest, then torch's file of tensors and plain values

A snapshot is written aside and renamed, so there is always a whole one or none. One that belongs to another training
(other parameters, data, version of this file's format or of torch) or that is damaged is said and passed over.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from tdn_data.pipeline.errors import InputError, StorageError
from tdn_data.pipeline.files import check_output_file, is_scratch, shown_path, write_bytes

logger = logging.getLogger(__name__)

SNAPSHOT_VERSION = 2  # of the state's form; raised where an older one cannot be gone on with
MAGIC = b"tdn-data snapshot\n"
HEADER_BYTES = len(MAGIC) + hashlib.sha256().digest_size


@dataclass(frozen=True)
class Identity:
    """What a training is the same by: its parameters and data as digests, and what computes it."""

    parameters: str
    data: str
    version: int = SNAPSHOT_VERSION
    torch: str = str(torch.__version__)


def digest_of(*values: object, files: tuple[str | os.PathLike[str], ...] = ()) -> str:
    """Return a SHA-256 of plain values and of the content of files."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
    for path in files:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class SnapshotFolder:
    """The folder of one run's snapshots, while its lock is held."""

    folder: Path

    @property
    def path(self) -> Path:
        """The snapshot's file."""
        return self.folder / "snapshot"

    def save(self, state: Mapping[str, object], identity: Identity) -> None:
        """Write a snapshot in place of the one before; a disk that does not take it is said, and the training goes on.

        `state` holds tensors and plain values.
        """
        buffer = io.BytesIO()
        torch.save({"identity": asdict(identity), "state": dict(state)}, buffer)
        content = buffer.getbuffer()
        try:
            write_bytes(self.path, b"".join((MAGIC, hashlib.sha256(content).digest(), content)))
        except StorageError as error:
            logger.warning("no snapshot: %s The training goes on.", error.message)

    def load(self, identity: Identity) -> dict[str, object] | None:
        """Return the state of a training of the same identity, None where there is none to go on with."""
        content = _content_of(self.path)
        if content is None:
            return None
        if content == {}:
            logger.warning("%s is damaged or cut off; the training starts afresh", shown_path(self.path))
            return None
        differing = _differences(content["identity"], identity)
        if differing:
            logger.warning("%s has %s; the training starts afresh", shown_path(self.path), " and ".join(differing))
            return None
        return content["state"]

    def delete(self) -> None:
        """Remove the snapshot, the lock and the folder, for the training is done."""
        self.path.unlink(missing_ok=True)
        (self.folder / "lock").unlink(missing_ok=True)
        with suppress(OSError):  # somebody keeps something else in it
            self.folder.rmdir()


@contextmanager
def locked_snapshots(folder: str | os.PathLike[str]) -> Iterator[SnapshotFolder]:
    """Hold the lock of a run's folder of snapshots, made where absent; what a killed trainer left half is removed.

    Raises InputError where another process holds it, and where nothing can be written there.
    """
    folder = Path(folder)
    descriptor = _locked(folder)
    try:
        for path in folder.iterdir():
            if is_scratch(path.name):
                path.unlink(missing_ok=True)
        yield SnapshotFolder(folder)
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> int:
    """Return the open lock file of a folder, locked."""
    while True:
        check_output_file(folder / "snapshot")
        try:
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # the trainer before has just removed the folder
            continue
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise InputError(
                f"{shown_path(folder)}: another training of this run is going on; wait for it or stop it.", path=folder
            ) from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(folder / "lock")):
                return descriptor
        os.close(descriptor)  # the trainer before has just removed this file


def _content_of(path: Path) -> dict[str, object] | None:
    """Return what a snapshot's file holds: nothing, {}, where it is damaged, and None where there is no file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        return {}
    header, rest = content[:HEADER_BYTES], content[HEADER_BYTES:]
    if header != MAGIC + hashlib.sha256(rest).digest():
        return {}
    return torch.load(io.BytesIO(rest), map_location="cpu", weights_only=True)


def _differences(found: Mapping[str, object], here: Identity) -> list[str]:
    words = {"parameters": "other parameters", "data": "other data", "version": "another version of the program"}
    words["torch"] = f"torch {found.get('torch')} where this is {here.torch}"
    return [words[name] for name, value in asdict(here).items() if found.get(name) != value]
