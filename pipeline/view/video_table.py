"""Stored videos in numbers: a line for each video of a folder of shards, and one video frame by frame."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.progress import OnProgress, reported
from tdn_data.pipeline.shards.ledger import read_dataset_json, read_ledger
from tdn_data.pipeline.shards.reader import ShardReader, way_out
from tdn_data.pipeline.shards.schema import SCHEMAS, STATUSES, LedgerRow, parse_shard_name
from tdn_data.pipeline.shards.shard_folder import shard_names
from tdn_data.pipeline.shards.shard_formats import open_shard
from tdn_data.pipeline.shards.single import storage_at
from tdn_data.pipeline.text import some_of
from tdn_data.pipeline.view.flow_pictures import visible_flow

SORTS = {"duration": "seconds", "motion": "motion", "bytes": "stored_bytes", "clipped": "clipped_share"}
MEASURED = ("duration", "motion", "clipped")  # what may have to be read from shards


@dataclass(frozen=True)
class VideoLine:
    """One listed video. `status` is the worst of its modalities', `reason` and `message` are that one's.

    `seconds`: from the first to the last stored row; `motion`: mean magnitude of its flow in pixels a step;
    `clipped_share`: of its flow, in [0, 1]. Each is None where there is nothing stored to tell it.
    """

    video_id: str
    split: str
    classes: tuple[str, ...]
    status: str
    reason: str | None
    message: str | None
    num_frames: int
    num_flow: int
    stored_bytes: int
    seconds: float | None = None
    motion: float | None = None
    clipped_share: float | None = None


@dataclass(frozen=True)
class VideoTable:
    """The first lines of those that were asked for, and how many there are."""

    location: str
    num_videos: int
    videos: tuple[VideoLine, ...]


@dataclass(frozen=True)
class RowLine:
    """One stored frame or flow pair; `motion` (mean magnitude, pixels a step) and `clipped_share` of flow only."""

    frame_index: int
    seconds: float
    num_bytes: int
    motion: float | None = None
    clipped_share: float | None = None


@dataclass(frozen=True)
class VideoDetails:
    """One video: its line, its ledger rows, and its stored rows by modality; `sizes` are (height, width)."""

    video: VideoLine
    ledger: tuple[LedgerRow, ...]
    sizes: dict[str, tuple[int, int]]
    rows: dict[str, tuple[RowLine, ...]]


def video_table(
    path: str | os.PathLike[str],
    *,
    sort: str | None = None,
    split: str | None = None,
    class_name: str | None = None,
    failed: bool = False,
    limit: int = 40,
    on_progress: OnProgress | None = None,
) -> VideoTable:
    """Return a line for each listed video of a finished extraction, by identifier or, with `sort`, the largest first.

    Only the lines that are returned are measured; sorting by duration reads the times of all videos, and sorting by
    motion or clipped share the flow of those whose ledger row does not have it. `failed`: what is failed or partial.
    `on_progress` counts the videos that are measured.

    Raises InputError for an unknown split or class, or where there is no finished extraction.
    """
    folder = _Folder(path)
    lines = folder.lines()
    _check_known("split", split, {line.split for line in lines})
    _check_known("class", class_name, set(folder.class_names))
    lines = [line for line in lines if split in (None, line.split)]
    lines = [line for line in lines if class_name is None or class_name in line.classes]
    lines = [line for line in lines if not failed or line.status != "ok"]
    if sort in MEASURED:
        lines = folder.measured(lines, on_progress)
    if sort is not None:
        field = SORTS[sort]
        lines = sorted(lines, key=lambda line: 1.0 if getattr(line, field) is None else -getattr(line, field))
    shown = lines[:limit] if sort in MEASURED else folder.measured(lines[:limit], on_progress)
    return VideoTable(folder.storage.shown, len(lines), tuple(shown))


def video_details(path: str | os.PathLike[str], video_id: str) -> VideoDetails:
    """Return what is stored of one video, row by row; raise InputError where it is not listed."""
    folder = _Folder(path)
    found = [line for line in folder.lines() if line.video_id == video_id]
    if not found:
        shown = folder.storage.shown
        raise InputError(
            f"{video_id!r} is not in {shown}; `tdn-data inspect {shown} --videos` lists what is.", key=video_id
        )
    (line,) = folder.measured(found)
    rows, sizes = {}, {}
    for modality, reader in folder.readers.items():
        if (video_id, modality) in folder.stored:
            stored = reader.read_encoded(video_id)
            sizes[modality] = stored.height, stored.width
            sums = np.sum([[len(one) for one in column] for column in stored.payloads.values()], axis=0)
            motion = _motion(reader, video_id) if modality == "flow" else [(None, None)] * len(stored)
            columns = zip(stored.frame_index.tolist(), stored.pts_seconds.tolist(), sums.tolist(), motion, strict=True)
            rows[modality] = tuple(RowLine(index, time, size, *moved) for index, time, size, moved in columns)
    return VideoDetails(line, tuple(row for row in folder.ledger if row.video_id == video_id), sizes, rows)


def stored_columns(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Return modality -> column -> Arrow type, as the first Parquet shard of each says it.

    LMDB has no columns: there the values of a row are those of the newest schema.

    Raises InputError where there is no finished extraction, ShardError where that first shard is damaged.
    """
    storage = storage_at(path)
    about, names = read_dataset_json(storage), shard_names(storage)
    columns = {}
    for modality in (one for one in SCHEMAS if one in about["parameters"]):
        schema = SCHEMAS[modality]
        for name in names:
            if parse_shard_name(name)[0] == modality and name.endswith(".parquet"):
                with way_out(storage), contextlib.closing(open_shard(storage, name)) as shard:
                    schema = shard.schema
                break
        columns[modality] = {field.name: str(field.type) for field in schema}
    return columns


class _Folder:
    """A finished extraction: its ledger, and readers that open shards when they are needed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.storage = storage_at(path)
        about = read_dataset_json(self.storage)
        self.class_names: list[str] = about["class_names"]
        self.ledger = read_ledger(self.storage, about)
        self.readers = {one: ShardReader(path, modality=one) for one in SCHEMAS if one in about["parameters"]}
        self.stored = {(row.video_id, row.modality): row for row in self.ledger if row.num_stored}

    def lines(self) -> list[VideoLine]:
        """Return a line for each listed video, by identifier, with what the ledger says."""
        rows: dict[str, list[LedgerRow]] = {}
        for row in self.ledger:
            rows.setdefault(row.video_id, []).append(row)
        return [self._line(rows[video_id]) for video_id in sorted(rows)]

    def _line(self, rows: Sequence[LedgerRow]) -> VideoLine:
        worst = max(rows, key=lambda row: STATUSES.index(row.status))
        flow = next((row for row in rows if row.modality == "flow"), None)
        return VideoLine(
            video_id=worst.video_id,
            split=worst.split,
            classes=tuple(self.class_names[label] for label in worst.labels),
            status=worst.status,
            reason=worst.reason,
            message=worst.message,
            num_frames=sum(row.num_stored for row in rows if row.modality == "rgb"),
            num_flow=sum(row.num_stored for row in rows if row.modality == "flow"),
            stored_bytes=sum(row.stored_bytes for row in rows),
            motion=flow and flow.mean_magnitude,
            clipped_share=flow and flow.clipped_share,
        )

    def measured(self, lines: Sequence[VideoLine], on_progress: OnProgress | None = None) -> list[VideoLine]:
        """Return the lines with durations, and with the motion that the ledger does not have."""
        return [self._measured(line) for line in reported(lines, len(lines), on_progress)]

    def _measured(self, line: VideoLine) -> VideoLine:
        readers = [reader for one, reader in self.readers.items() if (line.video_id, one) in self.stored]
        if not readers:
            return line
        times = readers[0].times(line.video_id)
        line = replace(line, seconds=float(times[-1] - times[0]))
        if line.motion is None and readers[-1].modality == "flow":
            motion, clipped = np.mean(_motion(readers[-1], line.video_id), axis=0).tolist()
            line = replace(line, motion=motion, clipped_share=clipped)
        return line


def _motion(reader: ShardReader, video_id: str) -> list[tuple[float, float]]:
    """Return the mean magnitude in pixels a step and the share of pixels at a bound of each stored flow field."""
    stored = reader.read_pictures(video_id)
    return [_field_motion(levels, stored.bound) for levels in stored.pictures]


def _field_motion(levels: np.ndarray, bound: float) -> tuple[float, float]:
    clipped = ((levels == 0) | (levels == 255)).any(axis=-1)
    return float(np.linalg.norm(visible_flow(levels, bound), axis=-1).mean()), float(clipped.mean())


def _check_known(what: str, name: str | None, known: Iterable[str]) -> None:
    if name is not None and name not in known:
        raise InputError(f"{name!r} is no {what} of these shards; there are {some_of(sorted(known), 8)}.", key=what)
