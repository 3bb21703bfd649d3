"""The rows of a shard, its names, and what every shard says about itself.

    frames-00007-of-00120.parquet   one row per frame
    flow-00007-of-00120.parquet     one row per flow pair
    index.parquet                   video -> shard, rows
    ledger.parquet                  every video's status
    dataset.json                    classes, parameters, versions, counts
    README.md                       Parquet only: the card for Hugging Face, see `card`
    splits.parquet                  only where the data set has several train/test splits: each video's in each of them

A shard carries its class names and the ledger rows of its own videos in its metadata, so that the shards alone say
everything: the four small files are gathered from there, and an interrupted run continues from what it finds.

Schema 2 (schema 1 is still read; `repair` upgrades it): the class names, a checksum of each row and of the metadata,
the splits of each video in every list, and row groups of a limited size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from importlib import metadata

import numpy as np
import pyarrow as pa

SCHEMA_VERSION = 2  # the newest; all versions from 1 on are read
PRODUCER = "tdn-data"
LIBRARIES = ("av", "numpy", "opencv-contrib-python-headless", "pyarrow", "numba")

_COMMON = [
    ("video_id", pa.string()),
    ("split", pa.string()),
    ("labels", pa.list_(pa.int32())),
    ("frame_index", pa.int64()),
    ("pts_seconds", pa.float64()),
]
_SIZE = [("height", pa.int32()), ("width", pa.int32())]
_CHECKSUM = ("checksum", pa.uint32())  # of the row's place, times, size and payload; see `seal.row_checksums`

FRAMES_SCHEMA = pa.schema([*_COMMON, *_SIZE, ("image", pa.binary()), _CHECKSUM])
FLOW_SCHEMA = pa.schema(
    [
        *_COMMON,
        ("next_pts_seconds", pa.float64()),
        *_SIZE,
        ("flow_x", pa.binary()),
        ("flow_y", pa.binary()),
        ("bound", pa.float32()),
        _CHECKSUM,
    ]
)
SCHEMAS = {"rgb": FRAMES_SCHEMA, "flow": FLOW_SCHEMA}
PREFIXES = {"rgb": "frames", "flow": "flow"}
PAYLOADS = {"rgb": ("image",), "flow": ("flow_x", "flow_y")}
STATISTICS = {"rgb": (), "flow": ("clipped_share", "mean_magnitude")}  # of each row, while a video is extracted

INDEX_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("modality", pa.string()),
        ("split", pa.string()),
        ("labels", pa.list_(pa.int32())),
        ("shard", pa.string()),
        ("row_group", pa.int32()),
        ("num_rows", pa.int64()),
    ]
)

LEDGER_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("modality", pa.string()),
        ("path", pa.string()),
        ("split", pa.string()),
        ("labels", pa.list_(pa.int32())),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("num_expected", pa.int64()),
        ("num_stored", pa.int64()),
        ("stored_bytes", pa.int64()),
        ("source_bytes", pa.int64()),
        ("fingerprint", pa.string()),
        ("clipped_share", pa.float64()),
        ("mean_magnitude", pa.float64()),
        ("shard", pa.string()),
        ("list_splits", pa.list_(pa.string())),
        ("made_by", pa.string()),  # digest of the versions that made the rows; the shard's metadata spells them out
        ("limits", pa.string()),  # JSON: the limits that may have stopped the video
        ("decoding", pa.string()),  # sparse or full; null for failed videos and in older shards
    ]
)

SPLITS_SCHEMA = pa.schema([("video_id", pa.string()), ("list_split", pa.int32()), ("split", pa.string())])

STATUSES = ("ok", "partial", "failed")


@dataclass(frozen=True)
class Labelling:
    """What labels mean: the data set's name, its classes in order of number, and whether a video may have several."""

    dataset: str
    class_names: tuple[str, ...]
    multi_label: bool


@dataclass(frozen=True)
class LedgerRow:
    """What became of one video in one modality. `status` is ok, partial or failed; `reason` one of VideoError.REASONS.

    The `message` of a row that is ok tells what of its file is not read at all. `list_splits`: where the data set has
    several train/test splits, the video's split in each, None where it has none.
    """

    video_id: str
    modality: str
    path: str
    split: str
    labels: tuple[int, ...]
    status: str
    reason: str | None = None
    message: str | None = None
    num_expected: int | None = None
    num_stored: int = 0
    stored_bytes: int = 0
    source_bytes: int | None = None
    fingerprint: str | None = None
    clipped_share: float | None = None
    mean_magnitude: float | None = None
    shard: str | None = None
    list_splits: tuple[str | None, ...] = ()
    decoding: str | None = None  # "full" where nothing less proved which pictures are on screen
    made_by: str | None = None
    limits: str | None = None


@dataclass(frozen=True)
class VideoRows:
    """One video's rows in one modality: parallel columns, payloads encoded.

    frame_index int64 (N,), pts_seconds and next_pts_seconds float64 (N,) (the latter None for frames), payloads one
    list of N bytes for each name in PAYLOADS[modality]. statistics: what is known of each row, float64 (N,) by name;
    a shard keeps a video's mean of each in its ledger.
    """

    modality: str
    frame_index: np.ndarray
    pts_seconds: np.ndarray
    height: int
    width: int
    payloads: dict[str, list[bytes]]
    next_pts_seconds: np.ndarray | None = None
    bound: float | None = None
    statistics: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frame_index)

    def between(self, start: int, end: int) -> VideoRows:
        """Return the rows from `start` up to, not including, `end`."""
        following = self.next_pts_seconds
        return replace(
            self,
            frame_index=self.frame_index[start:end],
            pts_seconds=self.pts_seconds[start:end],
            payloads={name: column[start:end] for name, column in self.payloads.items()},
            next_pts_seconds=None if following is None else following[start:end],
            statistics={name: values[start:end] for name, values in self.statistics.items()},
        )

    def mean_statistics(self) -> dict[str, float]:
        """Return the mean over the rows of each of `statistics`; nothing where there are no rows."""
        return {name: float(np.mean(values)) for name, values in self.statistics.items()} if len(self) else {}

    def num_bytes(self) -> int:
        """Return the bytes of all payloads."""
        return sum(len(data) for column in self.payloads.values() for data in column)


def shard_name(modality: str, number: int, count: int, extension: str) -> str:
    """Return a shard's file name; `number` counts from 0 to `count` - 1."""
    return f"{PREFIXES[modality]}-{number:05d}-of-{count:05d}.{extension}"


_SHARD_NAME = re.compile(r"^(frames|flow)-(\d{5,})-of-(\d{5,})\.(parquet|lmdb)$")


def parse_shard_name(name: str) -> tuple[str, int, int, str] | None:
    """Return (modality, number, count, extension) of a shard's file name, None for any other name."""
    match = _SHARD_NAME.match(name)
    if match is None:
        return None
    modality = next(key for key, prefix in PREFIXES.items() if prefix == match[1])
    return modality, int(match[2]), int(match[3]), match[4]


def library_versions() -> dict[str, str]:
    """Return the installed versions of the libraries that decide a shard's bytes."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def rows_table(
    rows: VideoRows, *, video_id: str, split: str, labels: tuple[int, ...], checksums: np.ndarray
) -> pa.Table:
    """Return one video's rows as a table of the modality's schema."""
    count = len(rows)
    columns: dict[str, object] = {
        "video_id": [video_id] * count,
        "split": [split] * count,
        "labels": [list(labels)] * count,
        "frame_index": rows.frame_index,
        "pts_seconds": rows.pts_seconds,
        "next_pts_seconds": rows.next_pts_seconds,
        "height": [rows.height] * count,
        "width": [rows.width] * count,
        "bound": [rows.bound] * count,
        "checksum": checksums,
        **rows.payloads,
    }
    schema = SCHEMAS[rows.modality]
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)
