"""Reading a finished extraction: random access to frames and flow by video and row.

reader = ShardReader("data/shards/frames", modality="rgb")
reader.videos[0].video_id, reader.videos[0].num_rows
reader.read("soccer/abc", rows=[0, 3]).data         # uint8 (2, H, W, 3)
"""

from __future__ import annotations

import contextlib
import os
import reprlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from tdn_data.pipeline.datasets.manifest import UNUSED
from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.images import decode_image
from tdn_data.pipeline.shards.labels import labelling_of, renumbered
from tdn_data.pipeline.shards.ledger import (
    REPAIR,
    IndexRow,
    index_tables,
    ledger_rows,
    read_dataset_json,
    read_list_splits,
)
from tdn_data.pipeline.shards.schema import SCHEMAS, Labelling, LedgerRow, VideoRows
from tdn_data.pipeline.shards.shard_formats import Shard, open_shard
from tdn_data.pipeline.shards.single import storage_at
from tdn_data.pipeline.shards.storage import Storage, shown_location
from tdn_data.pipeline.shards.stored_index import Lazily, StoredIndex

NUM_CHANNELS = {"rgb": 3, "flow": 2}
OPEN_SHARDS = 256  # files kept open per process; the one unused for longest is closed first, opening takes 4 to 8 ms


@dataclass(frozen=True)
class DatasetInfo:
    """What the extraction says of its data set; `parameters` are those of the modality that is read."""

    name: str
    class_names: tuple[str, ...]
    multi_label: bool
    parameters: dict[str, object]


@dataclass(frozen=True)
class StoredVideo:
    """One video that can be read, with the number of its stored rows."""

    video_id: str
    split: str
    labels: tuple[int, ...]
    num_rows: int


@dataclass(frozen=True)
class StoredFrames:
    """Decoded rows: `data` uint8 (N, H, W, 3) RGB, or (N, H, W, 2) discretised flow and its `bound`; pts in seconds."""

    data: np.ndarray
    pts_seconds: np.ndarray
    bound: float | None = None


@dataclass(frozen=True)
class StoredPictures:
    """Decoded rows as `StoredFrames` has them, but each by itself: `pictures` are arrays uint8 (H, W, C)."""

    pictures: list[np.ndarray]
    pts_seconds: np.ndarray
    bound: float | None = None


@contextlib.contextmanager
def way_out(storage: Storage) -> Iterator[None]:
    """Add to what is said of a damaged shard the command that notes it, so that extraction recreates it.

    Args:
        storage: the folder of the shards, which the command is given.

    Raises:
        ShardError: the block raised one; this has the same path and key, and the command in its sentence.
    """
    try:
        yield
    except ShardError as error:
        folder = shown_location(storage.location)  # of a shard that is read alone, too
        words = f"{error.message.rstrip('.')}; `tdn-data verify {folder}` says what puts it right."
        raise ShardError(words, path=error.path, key=error.key) from error


class ShardReader:
    """A finished extraction, one modality. Picklable; shards are opened lazily in each process.

    Args:
        path: the folder of the shards, or its address, e.g. s3://bucket/folder; or one shard.
        modality: `rgb` or `flow`.
        list_split: one of the train/test splits of a data set that has several (HMDB51, UCF101: 1 to 3): a video's
            `split` is then that one's, or `unused` where it has none there. None: the one the shards were made with.

    Raises:
        InputError: there is no finished extraction of the modality.
        ShardError: a file is damaged.
        TypeError: a path, modality or list split is of the wrong type.
        ValueError: the modality is no known one.

    >>> reader = ShardReader("shards", modality="rgb")  # what `tdn-data extract --out shards` made
    >>> len(reader.videos), reader.info.class_names
    (10, ('left', 'right'))
    >>> video = reader.videos[0]  # in order of identifier
    >>> video.video_id, video.split, video.labels, video.num_rows
    ('videos/clip 00', 'test', (1,), 4)
    >>> stored = reader.read(video.video_id, rows=[0, 3])
    >>> stored.data.shape, stored.data.dtype, stored.pts_seconds.tolist()
    ((2, 48, 64, 3), dtype('uint8'), [0.0, 0.6])
    """

    def __init__(self, path: str | os.PathLike[str], *, modality: str = "rgb", list_split: int | None = None) -> None:
        self._storage = storage_at(path)
        self.modality = _known_modality(modality)
        about = read_dataset_json(self._storage)
        if modality not in about["parameters"]:
            raise InputError(
                f"{self._storage.shown} holds {', '.join(about['parameters'])}, not {modality}; run `tdn-data extract "
                f"--modality {modality}` into it.",
                path=path,
            )
        self.info = DatasetInfo(
            about["name"], tuple(about["class_names"]), about["multi_label"], about["parameters"][modality]
        )
        self._about = about
        self._rows = StoredIndex(index_tables(self._storage, about), modality)
        self._splits = None if list_split is None else self._list_split(list_split)
        self.videos: Sequence[StoredVideo] = Lazily(self._rows, self._stored_video)
        self._open: OrderedDict[str, Shard] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_open": OrderedDict()}

    def _stored_video(self, row: IndexRow) -> StoredVideo:
        return StoredVideo(row.video_id, self._split_of(row), row.labels, row.num_rows)

    def missing(self, split: str) -> tuple[str, ...]:
        """Return the videos of a split that were listed and have nothing to read: those that failed.

        Args:
            split: as a video's own `split` names it, `list_split` being heeded.

        Returns:
            their identifiers, in order.
        """
        listed = (row for row in ledger_rows(self._storage, self._about) if row.modality == self.modality)
        return tuple(row.video_id for row in listed if row.video_id not in self._rows and self._split_of(row) == split)

    def _list_split(self, number: int) -> dict[str, str]:
        """Return video -> split of one list split; raise InputError where the shards do not know it."""
        if isinstance(number, bool) or not isinstance(number, Integral):
            raise TypeError(f"list_split is {reprlib.repr(number)}; it must be a whole number from 1, or None")
        splits = read_list_splits(self._storage, self._about)
        if number not in splits:
            known = f"its shards know {', '.join(map(str, splits))}" if splits else "its data set has one split only"
            raise InputError(f"{self._storage.shown} has no list split {number}; {known}.", key="list_split")
        return splits[number]

    def _split_of(self, row: IndexRow | LedgerRow) -> str:
        return row.split if self._splits is None else self._splits.get(row.video_id, UNUSED)

    def ledger(self) -> tuple[LedgerRow, ...]:
        """Return what became of every listed video in this modality, those without rows among them.

        Returns:
            a row for each: its status (`ok`, `partial` or `failed`), why, and how many rows were expected and stored.
        """
        return tuple(row for row in ledger_rows(self._storage, self._about) if row.modality == self.modality)

    def digest(self) -> str | None:
        """Return what tells these shards from others: two folders of one digest hold the same rows.

        Returns:
            the digest of parameters, labels, and the shards' names and rows, hexadecimal; None in older folders.
        """
        return self._about.get("digest")

    def num_rows(self, video_id: str) -> int:
        """Return how many frames, or pairs of frames with flow, are stored of a video.

        Args:
            video_id: one of `self.videos`.

        Returns:
            the number, at least 1.

        Raises:
            InputError: the video is not there.
            TypeError: `video_id` is no text.
        """
        return self._row(video_id).num_rows

    def _row(self, video_id: str) -> IndexRow:
        if not isinstance(video_id, str):
            raise TypeError(
                f"video_id is {reprlib.repr(video_id)}; it must be one video's identifier, a text from "
                "`[video.video_id for video in reader.videos]`"
            )
        row = self._rows.get(video_id)
        if row is None:
            raise InputError(f"{video_id!r} is not stored in {self._storage.shown}; see its ledger.", key=video_id)
        return row

    def read(self, video_id: str, rows: Sequence[int] | None = None) -> StoredFrames:
        """Return the decoded rows of one video.

        Args:
            video_id: one of `self.videos`.
            rows: positions from 0 to its number of rows - 1, in any order; None for all.

        Returns:
            uint8 (N, H, W, 3) RGB, or (N, H, W, 2) discretised flow with its bound, and times in seconds.

        Raises:
            InputError: the video or a position is not there.
            TypeError: `video_id` is no text.
            ShardError: the shard is damaged.
        """
        return decode_rows(self.read_encoded(video_id, rows), str(self.info.parameters["codec"]))

    def read_pictures(self, video_id: str, rows: Sequence[int] | None = None) -> StoredPictures:
        """Return the decoded rows of one video, each picture by itself, which spares a copy of all of them.

        Args:
            video_id: one of `self.videos`.
            rows: positions from 0 to its number of rows - 1, in any order; None for all.

        Returns:
            for each row uint8 (H, W, 3) RGB, or (H, W, 2) discretised flow, its bound, and times in seconds. Pictures
            of the codec `raw` cannot be written to.

        Raises:
            InputError: the video or a position is not there.
            TypeError: `video_id` is no text.
            ShardError: the shard is damaged.
        """
        stored = self.read_encoded(video_id, rows)
        return StoredPictures(
            decode_pictures(stored, str(self.info.parameters["codec"])), stored.pts_seconds, stored.bound
        )

    def read_encoded(self, video_id: str, rows: Sequence[int] | None = None) -> VideoRows:
        """Return the rows of one video as they are stored, without decoding their images.

        Args:
            video_id: one of `self.videos`.
            rows: positions from 0 to its number of rows - 1, in any order; None for all.

        Returns:
            columns of N rows: the images' bytes by column (`image`, or `flow_x` and `flow_y`), the frames' numbers in
            the video, times in seconds, and one size in pixels for all.

        Raises:
            InputError: the video or a position is not there.
            TypeError: `video_id` is no text.
            ShardError: the shard is damaged.
        """
        row = self._row(video_id)
        shard = self._shard(row)
        with way_out(self._storage):
            return shard.read(row.entry, rows)

    def times(self, video_id: str) -> np.ndarray:
        """Return when each row of a video is shown, without reading its pictures.

        Args:
            video_id: one of `self.videos`.

        Returns:
            float64 (N,) seconds from the first shown frame, rising.

        Raises:
            InputError: the video is not there.
            TypeError: `video_id` is no text.
            ShardError: the shard is damaged.
        """
        row = self._row(video_id)
        shard = self._shard(row)
        with way_out(self._storage):
            return shard.times(row.entry)

    def _shard(self, row: IndexRow) -> Shard:
        if self._process != os.getpid():  # after a fork: file handles are not shared with the parent
            self._open, self._process = OrderedDict(), os.getpid()
        if row.shard not in self._open:
            with way_out(self._storage):
                shard = open_shard(self._storage, row.shard)
            self._open[row.shard] = self._checked(shard)
        self._open.move_to_end(row.shard)
        while len(self._open) > OPEN_SHARDS:
            self._open.popitem(last=False)[1].close()
        return self._open[row.shard]

    def _checked(self, shard: Shard) -> Shard:
        """Return a shard that holds what the index says of it; raise ShardError for one that was replaced."""
        indexed = {row.entry for row in self._rows.of_shard(shard.name)}
        own, common = labelling_of(shard), Labelling(self.info.name, self.info.class_names, self.info.multi_label)
        stored = {replace(one, labels=renumbered(one.labels, own or common, common)) for one in shard.entries()}
        if indexed != stored:
            raise ShardError(
                f"{shard.name} holds other videos, labels or splits than index.parquet says; {REPAIR}.", key=shard.name
            )
        return shard


def _known_modality(modality: object) -> str:
    """Return a modality that shards can have; raise TypeError or ValueError for another, with those that there are."""
    words = f"modality is {reprlib.repr(modality)}; known modalities: {', '.join(SCHEMAS)}"
    if not isinstance(modality, str):
        raise TypeError(words)
    if modality not in SCHEMAS:
        raise ValueError(words)
    return modality


def decode_rows(rows: VideoRows, codec: str) -> StoredFrames:
    """Decode a video's stored images.

    Args:
        rows: as `ShardReader.read_encoded` returns them.
        codec: "jpeg", "png" or "raw", which the parameters of the shards name.

    Returns:
        frames uint8 (N, H, W, 3), RGB, or discretised flow uint8 (N, H, W, 2), x and y, and their times in seconds.

    Raises:
        ShardError: an image is damaged or of another size.
    """
    pictures = decode_pictures(rows, codec)
    data = (
        np.stack(pictures)
        if pictures
        else np.zeros((0, rows.height, rows.width, NUM_CHANNELS[rows.modality]), np.uint8)
    )
    return StoredFrames(data, rows.pts_seconds, rows.bound)


def decode_pictures(rows: VideoRows, codec: str) -> list[np.ndarray]:
    """Decode a video's stored images as `decode_rows` does, each by itself.

    Args:
        rows: as `ShardReader.read_encoded` returns them.
        codec: "jpeg", "png" or "raw".

    Returns:
        for each row a frame uint8 (H, W, 3), RGB, or discretised flow uint8 (H, W, 2), x and y.

    Raises:
        ShardError: an image is damaged or of another size.
    """
    size = {"codec": codec, "height": rows.height, "width": rows.width}
    if rows.modality == "rgb":
        return [decode_image(data, channels=3, **size) for data in rows.payloads["image"]]
    planes = zip(rows.payloads["flow_x"], rows.payloads["flow_y"], strict=True)
    return [np.stack([decode_image(plane, channels=1, **size) for plane in pair], axis=-1) for pair in planes]
