"""Shards as LMDB files, for training's random access.

    video_id/00000042   the encoded image; for flow the x plane's length (4 bytes, little endian), x plane, y plane
    video_id/about      JSON: size, and of all rows frame_index, pts_seconds, ..., checksum
    .about, .ledger     JSON, as in a Parquet shard's metadata

JSON follows its CRC-32, 4 bytes, little endian. An identifier that is too long for LMDB's keys is replaced in them by
a zero byte and its digest. Schema 1 has no CRC-32 and `.videos/<video_id>` in place of `video_id/about`.

One file per shard, without a lock file: it is written once by one process and then only read. Its memory map is as
large as the file; while it is written, it grows with it.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import threading
import time
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import lmdb
import numpy as np

from tdn_data.pipeline.errors import InputError, ShardError, StorageError
from tdn_data.pipeline.limits import MAX_IDENTIFIER_BYTES
from tdn_data.pipeline.mounts import refuse_network_filesystem
from tdn_data.pipeline.shards.pages import check_pages, seal_pages
from tdn_data.pipeline.shards.parquet import StoredEntry
from tdn_data.pipeline.shards.positions import check_positions
from tdn_data.pipeline.shards.schema import PAYLOADS, LedgerRow, VideoRows
from tdn_data.pipeline.shards.seal import (
    check_rows,
    damage,
    digest,
    dump_about,
    dump_ledger,
    load_about,
    load_ledger,
    row_checksums,
)
from tdn_data.pipeline.shards.storage import Storage

FIRST_MAP_BYTES = 1 << 20
CLOSING_SECONDS = 5  # closing takes milliseconds
KEPT_ROWS = 1 << 16  # whose times and checksums an open shard keeps, 2 MiB


class LmdbShardWriter:
    """Writes one shard to a local path, one transaction per video."""

    def __init__(self, path: Path, modality: str) -> None:
        refuse_network_filesystem(path.parent)
        self._path, self._modality = path, modality
        self._environment = _open_environment(path, map_size=FIRST_MAP_BYTES, sync=False, metasync=False, meminit=True)

    def add(self, rows: VideoRows, *, video_id: str, split: str, labels: tuple[int, ...]) -> None:
        """Append one video's rows; a video without rows leaves no trace here, only in the ledger."""
        if not len(rows):
            return
        about = _with_crc(_video_entry(rows, video_id))
        values = [_payload(rows, number) for number in range(len(rows))]
        self._make_room(sum(map(len, values)) + len(about), len(values) + 1)
        with self._transaction(video_id) as transaction:
            for number, value in enumerate(values):
                transaction.put(row_key(video_id, number), value)
            transaction.put(video_key(video_id), about)

    def close(self, about: dict[str, object], ledger: Sequence[LedgerRow]) -> None:
        """Write the metadata and end the file."""
        values = {b".about": _with_crc(dump_about(about, self._path.name)), b".ledger": _with_crc(dump_ledger(ledger))}
        self._make_room(sum(map(len, values.values())), len(values))
        with self._transaction("the ledger") as transaction:
            for key, value in values.items():
                transaction.put(key, value)
        self._environment.sync(True)
        page_size = self._environment.stat()["psize"]
        self._environment.close()
        seal_pages(self._path, page_size)

    def abort(self) -> None:
        """Let go of the file without completing it; the caller removes it."""
        self._environment.close()

    def _make_room(self, num_bytes: int, num_values: int) -> None:
        """Enlarge the map to the next power of two that surely holds what is to be added."""
        info, page_size = self._environment.info(), self._environment.stat()["psize"]
        needed = (info["last_pgno"] + 65) * page_size + 2 * (num_bytes + 2 * num_values * page_size)
        if needed > info["map_size"]:
            map_size = 1 << (needed - 1).bit_length()
            try:
                self._environment.set_mapsize(map_size)
            except lmdb.Error as error:
                raise _no_room(self._path, map_size, error) from error

    def _transaction(self, what: str) -> _Transaction:
        return _Transaction(self._environment, what)


class _Transaction:
    """An LMDB write transaction whose errors come out as the operating system's, such as a full disk."""

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

    def __init__(self, storage: Storage, name: str, modality: str) -> None:
        if not storage.is_local:
            raise InputError(f"{storage.shown} is an object store; LMDB shards are read from a local disk only.")
        refuse_network_filesystem(storage.local_root)
        self.name = name
        self._modality = modality
        path = storage.local_root / name
        with damage(name, "cannot be opened"):
            self._file, self._kept = _open_once(path, name), OrderedDict()
            self._sealed = self._file.sealed
            self._refuse_truncated(path)
            self.about = self._load_about()

    def _load_about(self) -> dict[str, object]:
        about = load_about(self._get_json(b".about"), self.name)
        if about["modality"] != self._modality:
            raise ShardError(f"{self.name} holds {about['modality']}, not {self._modality}.", key=self.name)
        if about["schema_version"] > 1 and not self._sealed:
            raise ShardError(f"{self.name} has lost its checksums; it is damaged.", key=self.name)
        return about

    @cached_property
    def ledger(self) -> list[LedgerRow]:
        """What became of every video that belongs into this shard."""
        return load_ledger(self._get_json(b".ledger"), self.name)

    def entries(self) -> list[StoredEntry]:
        """Return each stored video."""
        return [
            StoredEntry(row.video_id, row.split, row.labels, 0, row.num_stored) for row in self.ledger if row.num_stored
        ]

    def read(self, entry: StoredEntry, rows: Sequence[int] | None = None) -> VideoRows:
        """Return the rows of one video, or those at the positions `rows`, in the order asked for.

        Raises InputError for positions that the video does not have, ShardError where the file is damaged.
        """
        positions = check_positions(rows, entry.video_id, entry.num_rows)
        with damage(self.name, f"cannot be read at {entry.video_id}"):
            video = self._video(entry)
            values = self._get([row_key(entry.video_id, place) for place in positions.tolist()])
            found = video.rows(positions, values, self._modality)
            if self._sealed:
                check_rows(found, entry.video_id, positions, video.checksum[positions], self.name)
        return found

    def times(self, entry: StoredEntry) -> np.ndarray:
        """Return when each row of one video is shown, float64 (N,) seconds, without reading its pictures."""
        with damage(self.name, f"cannot be read at {entry.video_id}"):
            return self._video(entry).pts_seconds.copy()

    def last_pts_seconds(self, entry: StoredEntry) -> float:
        """Return the time of a video's last row."""
        return float(self.times(entry)[-1])

    def _video(self, entry: StoredEntry) -> _VideoColumns:
        """Return what is stored of a video as a whole; those read last are kept, `KEPT_ROWS` rows of them."""
        found = self._kept.pop(entry.video_id, None) or self._read_video(entry)
        if len(found) <= KEPT_ROWS:
            self._kept[entry.video_id] = found  # the last one read is the last to go
        while sum(map(len, self._kept.values())) > KEPT_ROWS:
            self._kept.popitem(last=False)
        return found

    def _read_video(self, entry: StoredEntry) -> _VideoColumns:
        key = video_key(entry.video_id) if self._sealed else _old_video_key(entry.video_id)
        video = _VideoColumns.of(json.loads(self._get_json(key)))
        if len(video) != entry.num_rows:
            raise ShardError(f"{self.name}: {entry.video_id} has {len(video)} rows; expected {entry.num_rows}.")
        return video

    def stored_labels(self, entry: StoredEntry) -> set[tuple[str, tuple[int, ...]]]:
        """Return the (split, labels) of one video, which stand in the ledger alone."""
        return {(entry.split, entry.labels)}

    def check_unread(self) -> None:
        """Do nothing: whatever lies in the file is read by this program, too."""

    def close(self) -> None:
        """Release the file."""
        self._file = None

    def _refuse_truncated(self, path: Path) -> None:
        """Raise ShardError when the file ends before its last page: the memory map would kill the process there."""
        needed = (self._file.environment.info()["last_pgno"] + 1) * self._file.environment.stat()["psize"]
        if path.stat().st_size < needed:
            self.close()
            raise ShardError(f"{self.name} has {path.stat().st_size} bytes; expected {needed}.", path=path)

    def _get_json(self, key: bytes) -> bytes:
        (value,) = self._get([key])
        if not self._sealed:
            return value
        if zlib.crc32(value[4:]) != int.from_bytes(value[:4], "little"):
            raise ShardError(f"{self.name} has a damaged entry {_shown(key)}.", key=self.name)
        return value[4:]

    def _get(self, keys: list[bytes]) -> list[bytes]:
        """Return the values of several keys; raise ShardError that names the first that is not there."""
        values, key = [], b""
        try:
            with self._file.environment.begin() as transaction:
                for key in keys:
                    values.append(transaction.get(key))
        except lmdb.Error as error:
            raise ShardError(f"{self.name} cannot be read at {_shown(key)} ({error}).", key=self.name) from error
        if None in values:
            raise ShardError(f"{self.name} has no entry {_shown(keys[values.index(None)])}.", key=self.name)
        return values


def _shown(key: bytes) -> str:
    return repr(key.decode(errors="replace"))


@dataclass(frozen=True)
class _VideoColumns:
    """What is stored of a video as a whole: its size, and columns (N,) as in `VideoRows`; schema 1 has no checksums."""

    height: int
    width: int
    bound: float | None
    frame_index: np.ndarray
    pts_seconds: np.ndarray
    next_pts_seconds: np.ndarray | None
    checksum: np.ndarray | None

    @classmethod
    def of(cls, video: dict[str, object]) -> _VideoColumns:
        """Return the columns of a video from plain data, as its shard keeps them."""
        following, checksum = video["next_pts_seconds"], video.get("checksum")
        return cls(
            height=video["height"],
            width=video["width"],
            bound=video["bound"],
            frame_index=np.asarray(video["frame_index"], np.int64),
            pts_seconds=np.asarray(video["pts_seconds"], np.float64),
            next_pts_seconds=None if following is None else np.asarray(following, np.float64),
            checksum=None if checksum is None else np.asarray(checksum, np.int64),
        )

    def __len__(self) -> int:
        return len(self.frame_index)

    def rows(self, positions: np.ndarray, values: list[bytes], modality: str) -> VideoRows:
        """Return the rows at `positions`, whose stored values are given."""
        flow = modality == "flow"
        return VideoRows(
            modality=modality,
            frame_index=self.frame_index[positions],
            pts_seconds=self.pts_seconds[positions],
            height=self.height,
            width=self.width,
            payloads=_split_planes(values) if flow else {PAYLOADS[modality][0]: values},
            next_pts_seconds=self.next_pts_seconds[positions] if flow else None,
            bound=self.bound,
        )


class _OpenFile:
    """An environment, closed when the last shard lets go of it, and whether its structure was checked."""

    def __init__(self, path: Path, name: str, status: os.stat_result) -> None:
        self.check(path, name, status)
        self.environment = _open_environment(path, map_size=status.st_size, readonly=True, create=False)

    def check(self, path: Path, name: str, status: os.stat_result) -> None:
        """Check the file's structure, and remember which state of it that was; raise ShardError for damage."""
        self.sealed = check_pages(path, name)
        self._checked = (status.st_size, status.st_mtime_ns)

    def has_changed(self, status: os.stat_result) -> bool:
        """Whether somebody wrote into the file since it was checked."""
        return self._checked != (status.st_size, status.st_mtime_ns)


def _open_environment(path: Path, *, map_size: int, **options: bool) -> lmdb.Environment:
    """Open one file as LMDB; raise StorageError where the process may not map so much, ShardError for other faults.

    Where another thread has let go of the file, but LMDB has not closed it yet, it is waited for.
    """
    deadline = time.monotonic() + CLOSING_SECONDS
    while True:
        try:
            return lmdb.open(str(path), map_size=map_size, subdir=False, lock=False, readahead=False, **options)
        except lmdb.MemoryError as error:
            raise _no_room(path, map_size, error) from error
        except lmdb.Error as error:
            if "already open in this process" not in str(error) or time.monotonic() > deadline:
                raise ShardError(f"{path.name} cannot be opened ({error}).", path=path, key=path.name) from error
        time.sleep(0.001)


def _no_room(path: Path, map_size: int, error: lmdb.Error) -> StorageError:
    """Return what to say where the system does not map a file: the address space is limited."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    allowed = "" if limit == resource.RLIM_INFINITY else f" of {limit >> 20:,} MiB (ulimit -v {limit >> 10})"
    return StorageError(
        f"{path.name}: {map_size / 2**20:,.0f} MiB cannot be mapped into the address space{allowed} ({error}); "
        "raise the limit (ulimit -v unlimited), give fewer --videos-per-shard, or use --format parquet.",
        path=path,
        key=path.name,
    )


_open_files: weakref.WeakValueDictionary[tuple[int, int, int], _OpenFile] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def _open_once(path: Path, name: str) -> _OpenFile:
    """Open a file for reading, or return it as it is open already: LMDB refuses a second time in one process."""
    status = path.stat()
    key = (os.getpid(), status.st_dev, status.st_ino)
    with _opening:
        for (process, *_), inherited in list(_open_files.items()):
            if process != key[0]:  # after a fork: of the parent, whose file this process must not use
                inherited.environment.close()
        file = _open_files.get(key)
        if file is None:
            file = _open_files[key] = _OpenFile(path, name, status)
        elif file.has_changed(status):
            file.check(path, name, status)
        return file


def row_key(video_id: str, number: int) -> bytes:
    """Return the key of a video's row: at most 511 bytes for every identifier."""
    return _key_of(video_id) + b"/%08d" % number


def video_key(video_id: str) -> bytes:
    """Return the key of what is said of a video as a whole; no row has it, as theirs end in digits."""
    return _key_of(video_id) + b"/about"


def _old_video_key(video_id: str) -> bytes:
    return f".videos/{video_id}".encode()


def _key_of(video_id: str) -> bytes:
    encoded = video_id.encode()
    return encoded if len(encoded) <= MAX_IDENTIFIER_BYTES else b"\0" + digest((encoded,)).encode()


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


def _video_entry(rows: VideoRows, video_id: str) -> bytes:
    entry = {
        "height": rows.height,
        "width": rows.width,
        "bound": rows.bound,
        "frame_index": rows.frame_index.tolist(),
        "pts_seconds": rows.pts_seconds.tolist(),
        "next_pts_seconds": None if rows.next_pts_seconds is None else rows.next_pts_seconds.tolist(),
        "checksum": row_checksums(rows, video_id).tolist(),
    }
    return json.dumps(entry).encode()


def _with_crc(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "little") + content
