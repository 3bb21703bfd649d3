"""What lies in a folder of shards, for people: a summary in numbers and a contact sheet in pictures."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

import numpy as np

from pipeline.errors import InputError
from pipeline.flow import dequantize, flow_to_color
from pipeline.shards.ledger import count_by_reason, count_by_status, read_dataset, read_ledger, read_list_splits
from pipeline.shards.reader import ShardReader, StoredVideo
from pipeline.shards.schema import PREFIXES, SCHEMAS, LedgerRow
from pipeline.sheet import MARGIN, labelled_thumbnail, pad_right, stack_bands
from pipeline.storage import Storage


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
    storage = Storage(path)
    about, ledger = read_dataset(storage), read_ledger(storage)
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
    them, where flow is stored, the flow that starts nearest to each frame, in the colour-wheel coding.
    """
    stored = read_dataset(Storage(path))["parameters"]
    readers = {modality: ShardReader(path, modality=modality) for modality in SCHEMAS if modality in stored}
    main = readers.get("rgb") or readers["flow"]
    if not main.videos:
        raise InputError(f"{path} holds no stored video to draw; see its ledger for the reasons.", path=path)
    chosen = np.unique(np.linspace(0, len(main.videos) - 1, min(num_videos, len(main.videos))).round().astype(int))
    bands = [_video_band(main.videos[index], readers, num_columns, thumbnail) for index in chosen]
    return stack_bands(bands, min_width=num_columns * (thumbnail + MARGIN))


def _video_band(
    video: StoredVideo, readers: dict[str, ShardReader], num_columns: int, thumbnail: int
) -> tuple[np.ndarray, str]:
    """Return one video's rows of thumbnails, and its caption."""
    strips, times = [], None
    for reader in readers.values():
        strip, times = _strip(reader, video, num_columns, thumbnail, times)
        if strip is not None:
            strips.append(strip)
    width = max(strip.shape[1] for strip in strips)
    class_names = next(iter(readers.values())).info.class_names
    labels = ", ".join(class_names[label] for label in video.labels) or "no label"
    caption = f"{video.video_id}   [{labels}]   {video.split}, {video.num_rows} stored"
    return np.concatenate([pad_right(strip, width) for strip in strips]), caption


def _strip(
    reader: ShardReader, video: StoredVideo, num_columns: int, thumbnail: int, times: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return one modality's thumbnails side by side with their times in seconds; nearest to `times` where given."""
    stored = {one.video_id: one for one in reader.videos}.get(video.video_id)
    if stored is None:
        return None, times
    rows = np.unique(np.linspace(0, stored.num_rows - 1, min(num_columns, stored.num_rows)).round().astype(int))
    if times is None:
        times = reader.times(video.video_id)[rows]
    images, starts = pictures_at(reader, video.video_id, times)
    thumbnails = [
        labelled_thumbnail(image, thumbnail, f"{seconds:.2f} s") for image, seconds in zip(images, starts, strict=True)
    ]
    return np.concatenate(thumbnails, axis=1), times


def pictures_at(reader: ShardReader, video_id: str, times: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the stored rows nearest to `times` (seconds) as pictures, uint8 (H, W, 3) RGB, and their own times.

    Flow comes in the colour-wheel coding, all of the video's pictures on one scale.
    """
    starts = reader.times(video_id)
    rows = np.abs(starts[None, :] - np.asarray(times)[:, None]).argmin(axis=1)
    stored = reader.read(video_id, rows.tolist())
    if reader.modality == "rgb":
        return list(stored.data), starts[rows]
    flow = dequantize(stored.data, stored.bound)
    largest = max(float(np.linalg.norm(flow, axis=-1).max()), 1e-3)
    return [flow_to_color(one, max_magnitude=largest) for one in flow], starts[rows]
