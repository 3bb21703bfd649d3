"""What a shard says about itself, and the checksums that tell whether it still says what was written.

    about   JSON: schema version, producer, data set, class names, parameters, digests
    ledger  JSON: one LedgerRow for each video that belongs into the shard
    row     CRC-32 of its video, place, times, size and payload
    file    what a format itself needs to be read (a Parquet footer, LMDB's pages) is checked before it is parsed

CRC-32 finds every damage of up to 32 neighbouring bits and misses one in 2^32 of all others; what holds labels and
places is hashed with BLAKE2b.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from tdn_data.pipeline.errors import ShardError
from tdn_data.pipeline.shards.schema import PAYLOADS, SCHEMA_VERSION, SCHEMAS, STATUSES, LedgerRow, VideoRows

DIGEST_BYTES = 16
READ_BYTES = 1 << 20

# What reading damaged bytes can raise, in Python and in Arrow; it becomes a ShardError.
DAMAGE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError, MemoryError,
    struct.error, zlib.error, pa.ArrowException,
)  # fmt: skip

_ABOUT_TYPES: dict[str, type] = {"modality": str, "parameters": dict, "parameters_digest": str, "plan_digest": str}
_ABOUT_TYPES_2: dict[str, type] = _ABOUT_TYPES | {"dataset": str, "class_names": list, "multi_label": bool}
_LEDGER_TYPES: dict[str, tuple[type, ...]] = {
    "video_id": (str,),
    "path": (str,),
    "split": (str,),
    "num_stored": (int,),
    "stored_bytes": (int,),
    "num_expected": (int, type(None)),
    "fingerprint": (str, type(None)),
    "reason": (str, type(None)),
    "message": (str, type(None)),
    "made_by": (str, type(None)),
    "limits": (str, type(None)),
    "clipped_share": (float, int, type(None)),
    "mean_magnitude": (float, int, type(None)),
}


@contextmanager
def damage(name: str, what: str = "") -> Iterator[None]:
    """Turn whatever reading damaged bytes raises into a ShardError that names the file."""
    try:
        yield
    except DAMAGE as error:
        words = " ".join(str(error).split()) or type(error).__name__
        words = "the file is missing" if isinstance(error, FileNotFoundError) else words
        raise ShardError(f"{name} {what or 'is damaged'} ({words}).", key=name) from error


def digest(parts: Iterable[bytes]) -> str:
    """Return 32 hexadecimal digits that depend on every byte of the parts and on where each ends."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


def stream_digest(file: BinaryIO | pa.NativeFile, num_bytes: int) -> str:
    """Return the `digest` of one part: the `num_bytes` that a file has from where it is read now."""
    state = hashlib.blake2b(num_bytes.to_bytes(8, "little"), digest_size=DIGEST_BYTES)
    while chunk := file.read(READ_BYTES):
        state.update(chunk)
    return state.hexdigest()


def row_checksums(rows: VideoRows, video_id: str, positions: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """Return uint32 (N,), a checksum of each row; `positions` are the rows' places in their video (default: all)."""
    start = zlib.crc32(f"{rows.modality}/{video_id}".encode())
    places = range(len(rows)) if positions is None else np.asarray(positions).tolist()
    following = rows.pts_seconds if rows.next_pts_seconds is None else rows.next_pts_seconds
    times = zip(rows.pts_seconds.tolist(), following.tolist(), strict=True)
    of_video = rows.height, rows.width, 0.0 if rows.bound is None else rows.bound
    payloads = zip(*(rows.payloads[name] for name in PAYLOADS[rows.modality]), strict=True)
    sums = []
    for place, index, shown, images in zip(places, rows.frame_index.tolist(), times, payloads, strict=True):
        crc = zlib.crc32(struct.pack("<qqddqqf", place, index, *shown, *of_video), start)
        for image in images:
            crc = zlib.crc32(image, zlib.crc32(struct.pack("<q", len(image)), crc))
        sums.append(crc)
    return np.array(sums, np.uint32)


def check_rows(rows: VideoRows, video_id: str, positions: np.ndarray, checksums: np.ndarray, name: str) -> None:
    """Raise ShardError that names the first row that is not what was written."""
    wrong = np.flatnonzero(row_checksums(rows, video_id, positions) != np.asarray(checksums))
    if len(wrong):
        raise ShardError(f"{name}: {video_id}: row {positions[wrong[0]]} is damaged (its checksum differs).", key=name)


def dump_about(about: Mapping[str, object], name: str) -> bytes:
    """Return what a shard says about itself as JSON; raise ShardError when it is not complete."""
    content = json.dumps(about, sort_keys=True).encode()
    load_about(content, name)
    return content


def load_about(content: bytes, name: str) -> dict[str, object]:
    """Return what a shard says about itself; raise ShardError when that is damaged or of a newer schema."""
    with damage(name, "has damaged metadata"):
        about = json.loads(content)
        check_version(about, name)
        types = _ABOUT_TYPES if about["schema_version"] == 1 else _ABOUT_TYPES_2
        for key, kind in types.items():
            if not isinstance(about[key], kind):
                raise ValueError(f"{key} is {about[key]!r}")
        if about["modality"] not in SCHEMAS or not isinstance(about["parameters"]["codec"], str):
            raise ValueError(f"modality is {about['modality']!r}")
        if not all(isinstance(one, str) for one in about.get("class_names", ())):
            raise ValueError("a class name is no text")
    return about


def check_version(about: object, name: str) -> None:
    """Raise ShardError unless `about` states a schema version that this program reads."""
    version = about.get("schema_version", 1) if isinstance(about, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ShardError(f"{name} has damaged metadata (schema version {version!r}).", key=name)
    if version > SCHEMA_VERSION:
        raise ShardError(
            f"{name} is of schema version {version}; this program reads versions 1 to {SCHEMA_VERSION}, so a newer "
            "tdn-data is needed.",
            key=name,
        )


def dump_ledger(ledger: Sequence[LedgerRow]) -> bytes:
    """Return ledger rows as JSON."""
    return json.dumps([asdict(row) for row in ledger]).encode()


def load_ledger(content: bytes, name: str) -> list[LedgerRow]:
    """Return the ledger rows of `dump_ledger`; raise ShardError when they are damaged."""
    with damage(name, "has a damaged ledger"):
        return [ledger_row(row) for row in json.loads(content)]


def ledger_row(row: dict[str, object]) -> LedgerRow:
    """Return one ledger row from plain data, checked; raise ValueError, TypeError or KeyError when it is none.

    Columns that older schemas do not have take their defaults.
    """
    for key, kinds in _LEDGER_TYPES.items():
        if not isinstance(row.get(key, 0 if int in kinds else None), kinds) or isinstance(row.get(key), bool):
            raise ValueError(f"{key} is {row.get(key)!r}")
    if row["status"] not in STATUSES or row["modality"] not in SCHEMAS or row["num_stored"] < 0:
        raise ValueError(f"status is {row['status']!r}, modality {row['modality']!r}, rows {row['num_stored']!r}")
    splits = tuple(row.get("list_splits") or ())
    return LedgerRow(**{**row, "labels": checked_labels(row["labels"]), "list_splits": splits})


def checked_labels(labels: Sequence[object]) -> tuple[int, ...]:
    """Return labels as a tuple; raise ValueError unless they are whole numbers from 0 on."""
    found = tuple(labels)
    if any(not isinstance(label, int) or isinstance(label, bool) or label < 0 for label in found):
        raise ValueError(f"labels are {list(found)!r}")
    return found
