"""What is to be extracted: one record per listed video, and the Parquet file that keeps them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_output_file, open_regular, replacing, shown_path
from tdn_data.pipeline.limits import MAX_IDENTIFIER_BYTES
from tdn_data.pipeline.paths import normal_path, path_fault
from tdn_data.pipeline.text import has_controls

MANIFEST_VERSION = 1
FROM_MANIFEST = "manifest"  # a relative root counts from the manifest's folder; in older ones from the working folder
ROW_GROUP_SIZE = 1 << 16  # few enough to look into a manifest of millions without reading it
BATCH_ROWS = 1 << 14  # read at once
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
    records: Sequence[VideoRecord]

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
    plain = normal_path(path.replace("\\", "/"))
    return plain.removesuffix(PurePosixPath(plain).suffix)


def fingerprint_file(path: Path, *, sample_bytes: int = 1 << 16) -> tuple[int, str]:
    """Return the size in bytes and a 128-bit digest of the size and of the first, middle and last `sample_bytes`.

    Cheap on files of any size: at most three short reads. Two versions of one video differ in one of these places.
    Raises InputError as `open_regular` does, OSError where reading fails.
    """
    with open_regular(path, what="video") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.blake2b(str(size).encode(), digest_size=16)
        for start in sorted({0, max(0, (size - sample_bytes) // 2), max(0, size - sample_bytes)}):
            file.seek(start)
            digest.update(file.read(sample_bytes))
    return size, digest.hexdigest()


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write `manifest` as Parquet, whole or not at all.

    A relative root is kept relative to the manifest's own folder: the same bytes wherever the project lies, and the
    videos are found from whatever folder a command is run in.
    """
    columns = {name: [getattr(record, name) for record in manifest] for name in MANIFEST_SCHEMA.names}
    columns["labels"] = [list(labels) for labels in columns["labels"]]
    columns["list_splits"] = [list(splits) or None for splits in columns["list_splits"]]
    about = {
        "version": MANIFEST_VERSION,
        "dataset": manifest.dataset,
        "root": _root_from(path.parent, manifest.root),
        "root_from": FROM_MANIFEST,
        "class_names": list(manifest.class_names),
        "multi_label": manifest.multi_label,
    }
    table = pa.table(columns, schema=MANIFEST_SCHEMA).replace_schema_metadata({"tdn_manifest": json.dumps(about)})
    with replacing(check_output_file(path)) as scratch:
        pq.write_table(table, scratch, row_group_size=ROW_GROUP_SIZE)


def _root_from(folder: Path, root: str) -> str:
    """Return an absolute root as it is, a relative one relative to `folder` in place of the working folder."""
    return root if os.path.isabs(root) else os.path.relpath(root, folder)


def read_manifest(path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> Manifest:
    """Read a manifest; `root` is the folder that holds its videos now, None for the one that it names.

    All rows are checked; the records are read from the file again, a batch at a time, whenever they are asked for.
    Raises InputError when it is missing, is not one of ours, or has a row that cannot stand: an identifier twice, a
    path that leaves the root, a label without a class; and where its root is no folder.
    """
    from tdn_data.pipeline.datasets.stored_records import LazyRecords, ManifestRows  # which are made of these records

    path = Path(path)
    with _opened(path) as (header, file):
        _check_rows(file, header, path)
        records = LazyRecords(ManifestRows.of(path).read, 0, file.metadata.num_rows)
    return dataclasses.replace(header, records=records, root=str(manifest_root(path, root)))


def manifest_root(path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that holds a manifest's videos: `root`, or the one that it names where that is None.

    Raises InputError where there is no such folder.
    """
    root = read_manifest_header(path).root if root is None else root
    if not os.path.isdir(root):
        raise InputError(
            f"{shown_path(path)} lists videos in {shown_path(os.path.abspath(root))}, which is no folder; name the "
            "folder that holds them by --root, or run `tdn-data index` again.",
            path=path,
        )
    return Path(root)


def read_manifest_header(path: str | os.PathLike[str]) -> Manifest:
    """Read what a manifest says of the data set, without its records; raise InputError where it is no manifest."""
    with _opened(Path(path)) as (header, _):
        return header


def sample_records(path: str | os.PathLike[str], count: int) -> tuple[VideoRecord, ...]:
    """Return `count` records (or all) spread evenly over a manifest file, reading only the row groups they lie in."""
    path = Path(path)
    with _opened(path) as (header, file):
        wanted = np.unique(np.linspace(0, file.metadata.num_rows - 1, count).round().astype(int))
        records, start = [], 0
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            inside = wanted[(wanted >= start) & (wanted < end)] - start
            if len(inside):
                records.extend(_records(file.read_row_group(group).take(inside), header, path))
            start = end
    return tuple(records)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Manifest, pq.ParquetFile]]:
    """Give the manifest without its records and its open file; raise InputError for whatever is no manifest."""
    with open_regular(path, what="manifest") as opened:
        try:
            with pq.ParquetFile(opened) as file:
                yield _header(path, file.schema_arrow.metadata or {}), file
        except (OSError, pa.ArrowException) as error:
            words = " ".join(str(error).split())
            raise InputError(
                f"{shown_path(path)} is no readable manifest ({words}); run `tdn-data index` first.", path=path
            ) from error


def _header(path: Path, metadata: Mapping[bytes, bytes]) -> Manifest:
    """Return what the file's metadata say of the data set; its root as it is reached from the working folder."""
    try:
        about = json.loads(metadata.get(b"tdn_manifest", b"{}"))
        version = about.get("version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{shown_path(path)} is a damaged manifest; run `tdn-data index` again.", path=path) from error
    if version is None:
        raise InputError(
            f"{shown_path(path)} is a Parquet file and no manifest; give what `tdn-data index` wrote.", path=path
        )
    if version != MANIFEST_VERSION:
        raise InputError(
            f"{shown_path(path)} is a manifest of version {version}, this program reads version {MANIFEST_VERSION}; "
            "run `tdn-data index` again.",
            path=path,
        )
    kinds = {"dataset": str, "root": str, "class_names": list, "multi_label": bool}
    odd = [name for name, kind in kinds.items() if not isinstance(about.get(name), kind)]
    if not odd and not all(isinstance(name, str) for name in about["class_names"]):
        odd = ["class_names"]
    if odd:
        raise InputError(
            f"{shown_path(path)} is a damaged manifest: its {odd[0]} is {about.get(odd[0])!r}; "
            "run `tdn-data index` again.",
            path=path,
        )
    root = about["root"]
    if about.get("root_from") == FROM_MANIFEST:
        root = os.path.normpath(os.path.join(path.parent, root))
    return Manifest(about["dataset"], root, tuple(about["class_names"]), about["multi_label"], ())


def _records(table: pa.Table, header: Manifest, path: Path) -> tuple[VideoRecord, ...]:
    """Return some rows of a manifest as records; raise InputError at the first that cannot stand."""
    from tdn_data.pipeline.datasets.stored_records import records_of

    _check_columns(table.schema, path)
    table = table.select(_known(table.schema.names))
    first: dict[str, int] = {}
    for number, row in enumerate(table.to_pylist(), start=1):
        _check_row(row, number, header, path)
        _check_first(row["video_id"], number, first, path)
    return tuple(records_of(table))


def _check_rows(file: pq.ParquetFile, header: Manifest, path: Path) -> None:
    """Raise InputError at the first row that cannot stand, or at the first video that is listed twice.

    A video is known by a digest of 8 bytes, and those whose digests are alike by their identifiers.
    """
    _check_columns(file.schema_arrow, path)
    columns, digests, number = _known(file.schema_arrow.names), [np.zeros(0, np.uint64)], 0
    for batch in file.iter_batches(BATCH_ROWS, columns=columns):
        for row in batch.to_pylist():
            number += 1
            _check_row(row, number, header, path)
        digests.append(_digests(batch["video_id"].to_pylist()))
    found, counts = np.unique(np.concatenate(digests), return_counts=True)
    if len(found) < number:
        _check_distinct(file, set(found[counts > 1].tolist()), path)


def _digests(video_ids: Iterable[str]) -> np.ndarray:
    """Return a digest of each identifier, uint64 (N,)."""
    parts = (hashlib.blake2b(video_id.encode(), digest_size=8).digest() for video_id in video_ids)
    return np.frombuffer(b"".join(parts), np.uint64)


def _check_distinct(file: pq.ParquetFile, suspects: set[int], path: Path) -> None:
    """Raise InputError at the first identifier, of those with the digests `suspects`, that is there twice."""
    first, start = {}, 1
    for batch in file.iter_batches(BATCH_ROWS, columns=["video_id"]):
        video_ids = batch["video_id"].to_pylist()
        for number, (video_id, digest) in enumerate(zip(video_ids, _digests(video_ids).tolist(), strict=True), start):
            if digest in suspects:
                _check_first(video_id, number, first, path)
        start += len(video_ids)


def _check_first(video_id: str, number: int, first: dict[str, int], path: Path) -> None:
    """Raise InputError where a video was in a row before; note its row in `first` else."""
    if first.setdefault(video_id, number) != number:
        fault = f"the video {video_id!r} is already in row {first[video_id]}; list it once."
        raise InputError(f"{shown_path(path)}, row {number}: {fault}", path=path)


def _check_columns(schema: pa.Schema, path: Path) -> None:
    """Raise InputError unless a manifest's columns are there, each once and of its type."""
    for name, kind in zip(MANIFEST_SCHEMA.names, MANIFEST_SCHEMA.types, strict=True):
        found = schema.field(name).type if schema.names.count(name) == 1 else None
        if found != kind and not (name == "list_splits" and name not in schema.names):  # older ones lack it
            what = f"is {found}" if found is not None else "is not there once"
            raise InputError(
                f"{shown_path(path)} is no manifest: its column {name!r} {what}; it must be {kind}.", path=path
            )


def _check_row(row: Mapping[str, object], number: int, header: Manifest, path: Path) -> None:
    fault = _row_fault(row, header)
    if fault is not None:
        raise InputError(f"{shown_path(path)}, row {number}: {fault}", path=path)


def _known(names: Iterable[str]) -> list[str]:
    return [name for name in names if name in MANIFEST_SCHEMA.names]


def _row_fault(row: Mapping[str, object], header: Manifest) -> str | None:
    """Return what is wrong with one row of a manifest, None where it can stand."""
    absent = [name for name in ("video_id", "path", "split", "labels") if row[name] is None or row[name] == ""]
    if absent:
        return f"no {absent[0]}."
    if len(row["video_id"].encode()) > MAX_IDENTIFIER_BYTES or "\0" in row["video_id"]:
        return f"the identifier {row['video_id']!r} has a NUL byte or more than {MAX_IDENTIFIER_BYTES} bytes."
    odd = [
        split for split in (row["split"], *(row.get("list_splits") or ())) if split is not None and _is_no_word(split)
    ]
    if odd:
        return f"the split {odd[0]!r} of {row['path']!r} is no word; use one such as train, val or test."
    fault = path_fault(row["path"], header.root)
    if fault is not None:
        return fault[1]
    for label in row["labels"]:
        if label is None or not 0 <= label < len(header.class_names):
            return f"label {label} of {row['path']!r} is none of the {len(header.class_names)} classes."
    return None


def _is_no_word(split: str) -> bool:
    return has_controls(split) or not split or split != split.strip()
