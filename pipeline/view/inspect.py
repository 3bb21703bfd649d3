"""What lies in a folder of shards, for people: a summary in numbers and a contact sheet in pictures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.flow import flow_to_color
from tdn_data.pipeline.shards.ledger import (
    count_by_reason,
    count_by_status,
    read_dataset_json,
    read_ledger,
    read_list_splits,
)
from tdn_data.pipeline.shards.reader import ShardReader, StoredVideo
from tdn_data.pipeline.shards.schema import PREFIXES, SCHEMAS, LedgerRow
from tdn_data.pipeline.shards.single import storage_at
from tdn_data.pipeline.view.flow_pictures import flow_scale, visible_flow
from tdn_data.pipeline.view.sheet import MARGIN, flow_key, labelled_thumbnail, pad_right, resize_to_height, stack_bands


@dataclass(frozen=True)
class ModalitySummary:
    """One modality of an extraction in numbers; sizes are (height, width) -> number of videos' first rows."""

    modality: str
    num_shards: int
    shard_bytes: int
    num_videos: int
    num_rows: int
    status: dict[str, int]
    reasons: dict[str, int]
    splits: dict[str, int]
    parameters: dict[str, object]
    clipped_share: float | None
    mean_magnitude: float | None


@dataclass(frozen=True)
class Inspection:
    """A finished extraction: its data set, its modalities and the rows of the ledger that are not ok.

    `list_splits`: number of the train/test split -> split -> listed videos; empty where the data set has only one.
    """

    location: str
    dataset: str
    num_classes: int
    multi_label: bool
    producer: str
    libraries: dict[str, str]
    modalities: tuple[ModalitySummary, ...]
    failures: tuple[LedgerRow, ...]
    list_splits: dict[int, dict[str, int]]


def inspect_shards(path: str | os.PathLike[str]) -> Inspection:
    """Return what is in a finished extraction; raise InputError when there is none at `path`."""
    storage = storage_at(path)
    about, ledger = read_dataset_json(storage), read_ledger(storage)
    return Inspection(
        location=storage.shown,
        dataset=about["name"],
        num_classes=len(about["class_names"]),
        multi_label=about["multi_label"],
        producer=about["producer"],
        libraries=about["libraries"],
        modalities=tuple(_summary(modality, about, ledger) for modality in SCHEMAS if modality in about["parameters"]),
        failures=tuple(row for row in ledger if row.status != "ok"),
        list_splits={number: dict(Counter(splits.values())) for number, splits in read_list_splits(storage).items()},
    )


def _summary(modality: str, about: dict, ledger: list[LedgerRow]) -> ModalitySummary:
    rows = [row for row in ledger if row.modality == modality]
    sizes = [size for name, size in about["shard_bytes"].items() if name.startswith(f"{PREFIXES[modality]}-")]
    splits: dict[str, int] = {}
    for row in rows:
        splits[row.split] = splits.get(row.split, 0) + bool(row.num_stored)
    return ModalitySummary(
        modality=modality,
        num_shards=len(sizes),
        shard_bytes=sum(sizes),
        num_videos=sum(bool(row.num_stored) for row in rows),
        num_rows=sum(row.num_stored for row in rows),
        status=count_by_status(rows),
        reasons=count_by_reason(rows),
        splits=splits,
        parameters=about["parameters"][modality],
        clipped_share=_weighted_mean(rows, "clipped_share"),
        mean_magnitude=_weighted_mean(rows, "mean_magnitude"),
    )


def _weighted_mean(rows: list[LedgerRow], name: str) -> float | None:
    """Return the mean of a per-video number over all stored rows, None where no video has it."""
    known = [row for row in rows if getattr(row, name) is not None]
    if not known:
        return None
    return float(np.average([getattr(row, name) for row in known], weights=[row.num_stored for row in known]))


def contact_sheet(
    path: str | os.PathLike[str], *, num_videos: int = 12, num_columns: int = 5, thumbnail: int = 144
) -> np.ndarray:
    """Return a picture of an extraction, uint8 (H, W, 3) RGB: a row per video, captioned with its labels.

    Videos are spread evenly over the list. Each row shows `num_columns` frames spread evenly over the video, and under
    them, where flow is stored, the flow that starts nearest to each frame. All flow of a sheet is coloured on one
    scale, which a wheel at its foot shows: the same motion has the same colour everywhere, and what is still is white.
    """
    readers = _readers(path)
    videos = next(iter(readers.values())).videos
    if not videos:
        raise InputError(f"{path} holds no stored video to draw; see its ledger for the reasons.", path=path)
    chosen = np.unique(np.linspace(0, len(videos) - 1, min(num_videos, len(videos))).round().astype(int))
    return _sheet([videos[index] for index in chosen], readers, num_columns, thumbnail)


def video_sheet(
    path: str | os.PathLike[str], video_id: str, *, num_columns: int = 8, thumbnail: int = 144
) -> np.ndarray:
    """Return a picture of one stored video, uint8 (H, W, 3) RGB: frames spread evenly over it, their flow below.

    Raises InputError for a video of which nothing is stored.
    """
    readers = _readers(path)
    found = [video for reader in readers.values() for video in reader.videos if video.video_id == video_id]
    if not found:
        raise InputError(f"nothing of {video_id!r} is stored in {path}; its ledger says why.", key=video_id, path=path)
    return _sheet(found[:1], readers, num_columns, thumbnail)


def _readers(path: str | os.PathLike[str]) -> dict[str, ShardReader]:
    """Return a reader for each modality that is stored, frames first."""
    stored = read_dataset_json(storage_at(path))["parameters"]
    return {modality: ShardReader(path, modality=modality) for modality in SCHEMAS if modality in stored}


def _sheet(
    videos: Sequence[StoredVideo], readers: dict[str, ShardReader], num_columns: int, thumbnail: int
) -> np.ndarray:
    strips = [_video_strips(video, readers, num_columns, thumbnail) for video in videos]
    fields = [field for video in strips for strip in video if strip.is_flow for field in strip.pictures]
    scale = flow_scale(fields, bound=max((strip.bound for video in strips for strip in video), default=0.0))
    class_names = next(iter(readers.values())).info.class_names
    bands = [
        (_band(of_video, thumbnail, scale), _caption(video, class_names))
        for video, of_video in zip(videos, strips, strict=True)
    ]
    width = num_columns * (thumbnail + MARGIN)
    key = [(flow_key(scale, width), "key to the flow")] if fields else []
    return stack_bands([*bands, *key], min_width=width)


@dataclass(frozen=True)
class _Strip:
    """Stored rows of a video: frames, uint8 (H, W, 3), or flow, float32 (H, W, 2) in pixels, of a `bound` above 0."""

    pictures: list[np.ndarray]
    seconds: np.ndarray
    bound: float = 0.0

    @property
    def is_flow(self) -> bool:
        return self.bound > 0

    def colored(self, scale: float) -> list[np.ndarray]:
        """Return the rows as pictures, uint8 (H, W, 3); flow of `scale` pixels is full colour."""
        if not self.is_flow:
            return self.pictures
        return [flow_to_color(field, max_magnitude=scale) for field in self.pictures]


def _video_strips(
    video: StoredVideo, readers: dict[str, ShardReader], num_columns: int, thumbnail: int
) -> list[_Strip]:
    """Return one video's rows of each modality at `num_columns` times, made small."""
    strips, times = [], None
    for reader in readers.values():
        stored = {one.video_id: one for one in reader.videos}.get(video.video_id)
        if stored is None:
            continue
        rows = np.unique(np.linspace(0, stored.num_rows - 1, min(num_columns, stored.num_rows)).round().astype(int))
        times = reader.times(video.video_id)[rows] if times is None else times
        strip = _strip_at(reader, video.video_id, times)
        small = [resize_to_height(picture, thumbnail) for picture in strip.pictures]
        strips.append(replace(strip, pictures=small))
    return strips


def _strip_at(reader: ShardReader, video_id: str, times: np.ndarray) -> _Strip:
    """Return the stored rows nearest to `times` (seconds)."""
    starts = reader.times(video_id)
    rows = np.abs(starts[None, :] - np.asarray(times)[:, None]).argmin(axis=1)
    stored = reader.read(video_id, rows.tolist())
    if reader.modality == "rgb":
        return _Strip(list(stored.data), starts[rows])
    return _Strip(list(visible_flow(stored.data, stored.bound)), starts[rows], stored.bound)


def _band(strips: list[_Strip], thumbnail: int, scale: float) -> np.ndarray:
    """Return one video's rows of thumbnails with their times."""
    rows = []
    for strip in strips:
        images = (
            [flow_to_color(one, max_magnitude=scale) for one in strip.pictures] if strip.is_flow else strip.pictures
        )
        cells = [
            labelled_thumbnail(image, thumbnail, f"{seconds:.2f} s")
            for image, seconds in zip(images, strip.seconds, strict=True)
        ]
        rows.append(np.concatenate(cells, axis=1))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([pad_right(row, width) for row in rows])


def _caption(video: StoredVideo, class_names: Sequence[str]) -> str:
    labels = ", ".join(class_names[label] for label in video.labels) or "no label"
    return f"{video.video_id}   [{labels}]   {video.split}, {video.num_rows} stored"


def pictures_at(reader: ShardReader, video_id: str, times: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the stored rows nearest to `times` (seconds) as pictures, uint8 (H, W, 3) RGB, and their own times.

    Flow comes in the colour-wheel coding, all of the video's pictures on one scale (see `flow_scale`).
    """
    strip = _strip_at(reader, video_id, times)
    scale = flow_scale(strip.pictures, bound=strip.bound) if strip.is_flow else 1.0
    return strip.colored(scale), strip.seconds
