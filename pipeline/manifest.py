"""What is to be extracted: one record per listed video, and the Parquet file that keeps them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError

MANIFEST_VERSION = 1
ROW_GROUP_SIZE = 1 << 16  # few enough to look into a manifest of millions without reading it
UNUSED = "unused"  # the split of a video that only other train/test splits of its data set use

MANIFEST_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("path", pa.string()),
        ("split", pa.string()),
        ("labels", pa.list_(pa.int32())),
        ("size_bytes", pa.int64()),
        ("fingerprint", pa.string()),
        ("codec", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("fps", pa.float64()),
        ("duration_seconds", pa.float64()),
        ("problem", pa.string()),
        ("list_splits", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class VideoRecord:
    """One listed video. `path` is relative to the data set's root; the rest is what probing found, if it did.

    `list_splits`: where the data set has several train/test splits, the video's split in each, None where it has none.
    """

    video_id: str
    path: str
    split: str
    labels: tuple[int, ...]
    size_bytes: int | None = None
    fingerprint: str | None = None
    codec: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    duration_seconds: float | None = None
    problem: str | None = None
    list_splits: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """A data set as listed: its classes and its videos, in the order of the official list."""

    dataset: str
    root: str
    class_names: tuple[str, ...]
    multi_label: bool
    records: tuple[VideoRecord, ...]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[VideoRecord]:
        return iter(self.records)

    def limited(self, num_videos: int | None) -> Manifest:
        """Return the manifest of the first `num_videos` videos (all of them for None)."""
        return self if num_videos is None else dataclasses.replace(self, records=self.records[:num_videos])

    def splits(self) -> dict[str, int]:
        """Return the number of videos in each split, in order of appearance."""
        counts: dict[str, int] = {}
        for record in self.records:
            counts[record.split] = counts.get(record.split, 0) + 1
        return counts


def video_id_of(path: str) -> str:
    """Return the identifier of a listed path: the path without its file extension, with forward slashes."""
    return str(Path(path.replace("\\", "/")).with_suffix(""))


def fingerprint_file(path: Path, *, sample_bytes: int = 1 << 16) -> tuple[int, str]:
    """Return the size in bytes and a 128-bit digest of the size and of the first, middle and last `sample_bytes`.

    Cheap on files of any size: at most three short reads. Two versions of one video differ in one of these places.
    """
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        for start in sorted({0, max(0, (size - sample_bytes) // 2), max(0, size - sample_bytes)}):
            file.seek(start)
            digest.update(file.read(sample_bytes))
    return size, digest.hexdigest()


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write `manifest` as Parquet, by a temporary name first."""
    columns = {name: [getattr(record, name) for record in manifest] for name in MANIFEST_SCHEMA.names}
    columns["labels"] = [list(labels) for labels in columns["labels"]]
    columns["list_splits"] = [list(splits) or None for splits in columns["list_splits"]]
    about = {
        "version": MANIFEST_VERSION,
        "dataset": manifest.dataset,
        "root": manifest.root,
        "class_names": list(manifest.class_names),
        "multi_label": manifest.multi_label,
    }
    table = pa.table(columns, schema=MANIFEST_SCHEMA).replace_schema_metadata({"tdn_manifest": json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    pq.write_table(table, temporary, row_group_size=ROW_GROUP_SIZE)
    temporary.replace(path)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; raise InputError when it is missing or is not one of ours."""
    header = read_manifest_header(path)
    return dataclasses.replace(header, records=_records(pq.read_table(path)))


def read_manifest_header(path: Path) -> Manifest:
    """Read what a manifest says of the data set, without its records; raise InputError as `read_manifest` does."""
    try:
        metadata = pq.read_schema(path).metadata
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} is no readable manifest ({error}); run `tdn-data index` first.", path=path) from error
    about = json.loads((metadata or {}).get(b"tdn_manifest", b"{}"))
    if about.get("version") != MANIFEST_VERSION:
        raise InputError(
            f"{path} is a manifest of version {about.get('version')}, this program reads version {MANIFEST_VERSION}; "
            "run `tdn-data index` again.",
            path=path,
        )
    return Manifest(about["dataset"], about["root"], tuple(about["class_names"]), about["multi_label"], ())


def sample_records(path: Path, count: int) -> tuple[VideoRecord, ...]:
    """Return `count` records (or all) spread evenly over a manifest file, reading only the row groups they lie in."""
    file = pq.ParquetFile(path)
    wanted = np.unique(np.linspace(0, file.metadata.num_rows - 1, count).round().astype(int))
    records, start = [], 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        inside = wanted[(wanted >= start) & (wanted < end)] - start
        if len(inside):
            records.extend(_records(file.read_row_group(group).take(inside)))
        start = end
    return tuple(records)


def _records(table: pa.Table) -> tuple[VideoRecord, ...]:
    return tuple(_record(row) for row in table.to_pylist())


def _record(row: dict[str, object]) -> VideoRecord:
    """Return one row of the table as a record; manifests made before there were list splits have no such column."""
    splits = {"list_splits": tuple(row.get("list_splits") or ())}
    return VideoRecord(**(row | {"labels": tuple(row["labels"])} | splits))
