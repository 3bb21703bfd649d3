"""Shards as LMDB files, for training's random access.

    video_id/00000042      the encoded image; for flow the x plane's length (4 bytes, little endian), x plane, y plane
    .about, .ledger        JSON, as in a Parquet shard's metadata
    .videos/<video_id>     JSON: split, labels, size, frame_index, pts_seconds, ... of all rows

One file per shard, without a lock file: it is written once by one process and then only read.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import lmdb
import numpy as np

from pipeline.errors import InputError, ShardError
from pipeline.shards.parquet import StoredEntry
from pipeline.shards.schema import LedgerRow, VideoRows
from pipeline.storage import Storage

MAP_SIZE = 1 << 40  # an upper limit of the address space; the file grows with its content
MAX_KEY_BYTES = 511
NETWORK_FILESYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "fuse.sshfs", "fuse.s3fs", "ceph", "9p")


class LmdbShardWriter:
    """Writes one shard to a local path, one transaction per video."""

    def __init__(self, path: Path, modality: str) -> None:
        refuse_network_filesystem(path.parent)
        self._modality = modality
        self._environment = lmdb.open(
            str(path), map_size=MAP_SIZE, subdir=False, lock=False, sync=False, metasync=False, meminit=True
        )

    def add(self, rows: VideoRows, *, video_id: str, split: str, labels: tuple[int, ...]) -> None:
        """Append one video's rows; a video without rows leaves no trace here, only in the ledger."""
        if not len(rows):
            return
        with self._transaction(video_id) as transaction:
            for number in range(len(rows)):
                transaction.put(row_key(video_id, number), _payload(rows, number))
            transaction.put(_video_key(video_id), _video_entry(rows, split, labels))

    def close(self, about: dict[str, object], ledger: Sequence[LedgerRow]) -> None:
        """Write the metadata and end the file."""
        with self._transaction("the ledger") as transaction:
            transaction.put(b".about", json.dumps(about, sort_keys=True).encode())
            transaction.put(b".ledger", json.dumps([asdict(row) for row in ledger]).encode())
        self._environment.sync(True)
        self._environment.close()

    def abort(self) -> None:
        """Let go of the file without completing it; the caller removes it."""
        self._environment.close()

    def _transaction(self, what: str) -> _Transaction:
        return _Transaction(self._environment, what)


class _Transaction:
    """An LMDB write transaction whose errors come out as the operating system's (a full disk) or as a ShardError."""

    def __init__(self, environment: lmdb.Environment, what: str) -> None:
        self._environment, self._what = environment, what

    def __enter__(self) -> lmdb.Transaction:
        self._transaction = self._environment.begin(write=True)
        return self._transaction

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            self._transaction.abort()
            if isinstance(error, lmdb.Error):
                raise OSError(f"LMDB could not store {self._what}: {error}") from error
            return
        try:
            self._transaction.commit()
        except lmdb.Error as fault:
            raise OSError(f"LMDB could not store {self._what}: {fault}") from fault


class LmdbShard:
    """One shard, opened read-only."""

    def __init__(self, storage: Storage, name: str, modality: str, *, verify_checksums: bool = False) -> None:
        if not storage.is_local:
            raise InputError(f"{storage.shown} is an object store; LMDB shards are read from a local disk only.")
        refuse_network_filesystem(storage.local_root)
        self.name = name
        self._modality = modality
        path = storage.local_root / name
        try:
            self._file = _open_once(path)
        except (lmdb.Error, OSError) as error:
            raise ShardError(f"{name} cannot be opened ({error}).", path=storage.shown, key=name) from error
        self._refuse_truncated(path)
        self._about, self._ledger = self._get(b".about"), self._get(b".ledger")

    @property
    def about(self) -> dict[str, object]:
        """What the shard says of itself: versions, parameters, digests."""
        return json.loads(self._about)

    @property
    def ledger(self) -> list[LedgerRow]:
        """The fate of every video that belongs into this shard."""
        return [LedgerRow(**(row | {"labels": tuple(row["labels"])})) for row in json.loads(self._ledger)]

    def entries(self) -> list[StoredEntry]:
        """Return each stored video."""
        return [
            StoredEntry(row.video_id, row.split, row.labels, 0, row.num_stored) for row in self.ledger if row.num_stored
        ]

    def read(self, entry: StoredEntry, rows: Sequence[int] | None = None) -> VideoRows:
        """Return the rows of one video, or those at the positions `rows`, in the order asked for."""
        video = json.loads(self._get(_video_key(entry.video_id)))
        positions = list(range(entry.num_rows)) if rows is None else [int(row) for row in rows]
        values = [self._get(row_key(entry.video_id, position)) for position in positions]
        flow = self._modality == "flow"
        return VideoRows(
            modality=self._modality,
            frame_index=np.asarray(video["frame_index"], np.int64)[positions],
            pts_seconds=np.asarray(video["pts_seconds"], np.float64)[positions],
            height=video["height"],
            width=video["width"],
            payloads=_split_planes(values) if flow else {"image": values},
            next_pts_seconds=np.asarray(video["next_pts_seconds"], np.float64)[positions] if flow else None,
            bound=video["bound"],
        )

    def close(self) -> None:
        """Release the file."""
        self._file = None

    def _refuse_truncated(self, path: Path) -> None:
        """Raise ShardError when the file ends before its last page: the memory map would kill the process there."""
        needed = (self._file.environment.info()["last_pgno"] + 1) * self._file.environment.stat()["psize"]
        if path.stat().st_size < needed:
            self.close()
            raise ShardError(f"{self.name} has {path.stat().st_size} bytes; expected {needed}.", path=path)

    def _get(self, key: bytes) -> bytes:
        with self._file.environment.begin() as transaction:
            value = transaction.get(key)
        if value is None:
            raise ShardError(f"{self.name} has no entry {key.decode(errors='replace')!r}.", key=key.decode("utf-8"))
        return value


class _OpenFile:
    """An environment, closed when the last shard lets go of it."""

    def __init__(self, path: Path) -> None:
        self.environment = lmdb.open(
            str(path), map_size=MAP_SIZE, subdir=False, readonly=True, lock=False, readahead=False, create=False
        )


_open_files: weakref.WeakValueDictionary[tuple[int, int, int], _OpenFile] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def _open_once(path: Path) -> _OpenFile:
    """Open a file for reading, or return it as it is open already: LMDB refuses a second time in one process."""
    status = path.stat()
    key = (os.getpid(), status.st_dev, status.st_ino)
    with _opening:
        file = _open_files.get(key) or _OpenFile(path)
        return _open_files.setdefault(key, file)


def row_key(video_id: str, number: int) -> bytes:
    """Return the key of a video's row; raise InputError for an identifier that LMDB's keys cannot hold."""
    return _checked_key(f"{video_id}/{number:08d}", video_id)


def _video_key(video_id: str) -> bytes:
    return _checked_key(f".videos/{video_id}", video_id)


def _checked_key(key: str, video_id: str) -> bytes:
    encoded = key.encode()
    if len(encoded) > MAX_KEY_BYTES:
        raise InputError(
            f"the path {video_id!r} makes an LMDB key of {len(encoded)} bytes, the limit is {MAX_KEY_BYTES}; "
            "shorten it or use --format parquet.",
            key=video_id,
        )
    return encoded


def refuse_network_filesystem(folder: Path) -> None:
    """Raise InputError when `folder` lies on a network filesystem, where LMDB's memory map is not safe."""
    kind = filesystem_kind(folder)
    if kind in NETWORK_FILESYSTEMS:
        raise InputError(
            f"{folder} lies on a network filesystem ({kind}), where LMDB is not safe; "
            "use a local disk or --format parquet.",
            path=folder,
        )


def filesystem_kind(folder: Path, *, mounts: Path = Path("/proc/mounts")) -> str | None:
    """Return the type of the filesystem that holds `folder`, None where the system does not tell."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    place, best, kind = str(folder.resolve()), "", None
    for fields in (line.split() for line in lines):
        point = fields[1]
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def _payload(rows: VideoRows, number: int) -> bytes:
    if rows.modality == "rgb":
        return rows.payloads["image"][number]
    x, y = rows.payloads["flow_x"][number], rows.payloads["flow_y"][number]
    return struct.pack("<I", len(x)) + x + y


def _split_planes(values: list[bytes]) -> dict[str, list[bytes]]:
    lengths = [struct.unpack_from("<I", value)[0] for value in values]
    return {
        "flow_x": [value[4 : 4 + length] for value, length in zip(values, lengths, strict=True)],
        "flow_y": [value[4 + length :] for value, length in zip(values, lengths, strict=True)],
    }


def _video_entry(rows: VideoRows, split: str, labels: tuple[int, ...]) -> bytes:
    entry = {
        "split": split,
        "labels": list(labels),
        "height": rows.height,
        "width": rows.width,
        "bound": rows.bound,
        "frame_index": rows.frame_index.tolist(),
        "pts_seconds": rows.pts_seconds.tolist(),
        "next_pts_seconds": None if rows.next_pts_seconds is None else rows.next_pts_seconds.tolist(),
    }
    return json.dumps(entry).encode()
