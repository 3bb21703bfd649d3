"""What is exported: the stored videos of a folder of shards, both modalities together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.export.names import safe_names
from tdn_data.pipeline.images import decode_image, encode_image
from tdn_data.pipeline.shards.ledger import read_dataset_json, read_ledger
from tdn_data.pipeline.shards.reader import NUM_CHANNELS, DatasetInfo, ShardReader, StoredVideo
from tdn_data.pipeline.shards.schema import PAYLOADS, SCHEMAS, LedgerRow, VideoRows
from tdn_data.pipeline.shards.single import storage_at

FILE_STEMS = {"image": "img", "flow_x": "flow_x", "flow_y": "flow_y"}  # as TSN and mmaction2 call them


@dataclass(frozen=True)
class ExportSource:
    """Videos to export, sorted, with their names as files; `ledger` has what became of each one listed."""

    location: str
    readers: dict[str, ShardReader]
    videos: tuple[StoredVideo, ...]
    names: dict[str, str]
    ledger: tuple[LedgerRow, ...]

    @property
    def info(self) -> DatasetInfo:
        """What the extraction says of its data set."""
        return next(iter(self.readers.values())).info

    def has(self, modality: str, video_id: str) -> bool:
        """Whether rows of a video are stored in a modality that is exported."""
        return (video_id, modality) in self._rows

    def stored_bytes(self, video_id: str) -> int:
        """Return the bytes of a video's rows in all modalities that are exported."""
        return sum(self._rows[video_id, one].stored_bytes for one in self.readers if self.has(one, video_id))

    def digest(self) -> str:
        """Return what differs where other videos, labels or rows are exported."""
        rows = [(row.video_id, row.modality, row.split, row.labels, row.num_stored) for row in self._rows.values()]
        return hashlib.blake2b(repr(sorted(rows)).encode(), digest_size=16).hexdigest()

    def by_split(self) -> dict[str, list[StoredVideo]]:
        """Return split -> its videos."""
        splits: dict[str, list[StoredVideo]] = {}
        for video in self.videos:
            splits.setdefault(video.split, []).append(video)
        return splits

    def split_names(self) -> dict[str, str]:
        """Return split -> its name in files: letters, digits and `_` only, as Hugging Face wants it."""
        return safe_names(self.by_split(), words=True)

    def groups(self, split: str, most_bytes: int) -> list[list[StoredVideo]]:
        """Return a split's videos in groups of about `most_bytes`, at least one video each."""
        groups: list[list[StoredVideo]] = []
        size = most_bytes
        for video in self.by_split()[split]:
            if size >= most_bytes:
                groups.append([])
                size = 0
            groups[-1].append(video)
            size += self.stored_bytes(video.video_id)
        return groups

    @cached_property
    def _rows(self) -> dict[tuple[str, str], LedgerRow]:
        return {(row.video_id, row.modality): row for row in self.ledger if row.num_stored}

    def image_files(self, modality: str, video_id: str) -> tuple[VideoRows, str]:
        """Return a video's rows with payloads that are image files, and their ending, `jpg` or `png`.

        JPEG and PNG are as they are stored, byte for byte; only the codec `raw` is encoded, as PNG.
        """
        reader = self.readers[modality]
        rows, codec = reader.read_encoded(video_id), str(reader.info.parameters["codec"])
        if codec != "raw":
            return rows, "jpg" if codec == "jpeg" else "png"
        channels = NUM_CHANNELS["rgb"] if modality == "rgb" else 1
        size = {"codec": codec, "height": rows.height, "width": rows.width, "channels": channels}
        payloads = {
            name: [encode_image(decode_image(one, **size), codec="png") for one in column]
            for name, column in rows.payloads.items()
        }
        return replace(rows, payloads=payloads), "png"

    def numbered_files(self, video_id: str) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of a video's images: img_00001.jpg, flow_x_00001.jpg, flow_y_00001.jpg, ..."""
        for modality in self.readers:
            if self.has(modality, video_id):
                rows, ending = self.image_files(modality, video_id)
                for column in PAYLOADS[modality]:
                    for number, content in enumerate(rows.payloads[column], start=1):
                        yield f"{FILE_STEMS[column]}_{number:05d}.{ending}", content


def open_source(path: str, *, modalities: Sequence[str] | None, video_ids: Sequence[str] = ()) -> ExportSource:
    """Return the stored videos of a folder of shards: all, or those of `video_ids`; None: all modalities stored.

    Raises InputError for a modality or video that is not stored, with the ledger's words where it has some.
    """
    storage = storage_at(path)
    about = read_dataset_json(storage)
    chosen = modalities or [modality for modality in SCHEMAS if modality in about["parameters"]]
    readers = {modality: ShardReader(path, modality=modality) for modality in chosen}
    ledger = [row for row in read_ledger(storage, about) if row.modality in readers]
    stored = {video.video_id: video for reader in reversed(readers.values()) for video in reader.videos}
    for video_id in video_ids:
        if video_id not in stored:
            raise InputError(_not_stored(video_id, ledger, storage.shown), key=video_id)
    wanted = set(video_ids) or set(stored)
    return ExportSource(
        location=storage.shown,
        readers=readers,
        videos=tuple(stored[video_id] for video_id in sorted(wanted)),
        names=safe_names(sorted(stored)),
        ledger=tuple(row for row in ledger if not video_ids or row.video_id in wanted),
    )


def _not_stored(video_id: str, ledger: Sequence[LedgerRow], shown: str) -> str:
    words = [f"{row.status}, {row.reason}: {row.message}" for row in ledger if row.video_id == video_id]
    if words:
        return f"{video_id!r} has nothing to export ({words[0]})."
    return f"{video_id!r} is not in {shown}; `tdn-data inspect {shown} --videos` lists what is."
