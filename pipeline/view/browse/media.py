"""Pictures for the pages: stored rows as they are, flow planes undone from their codec, posters, short previews.

Few shards are open at once and few pictures are kept, however large the set and however many ask.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from tdn_data.pipeline.errors import ShardError
from tdn_data.pipeline.flow.color import flow_to_color
from tdn_data.pipeline.images import encode_image
from tdn_data.pipeline.shards.parquet import StoredEntry
from tdn_data.pipeline.shards.reader import decode_pictures
from tdn_data.pipeline.shards.shard_formats import Shard, open_shard
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.view.browse.video_columns import Videos
from tdn_data.pipeline.view.flow_pictures import flow_scale, visible_flow

OPEN_SHARDS = 8
MAX_ROWS = 32  # in one answer
MAX_BYTES = 8 << 20  # of pictures in one answer, if it has more than one row
KEPT_BYTES = 32 << 20  # of posters, previews and magnitudes
POSTER_HEIGHT, POSTER_QUALITY = 180, 82
PREVIEW_FRAMES, PREVIEW_MILLISECONDS = 12, 160
MAX_ASPECT = 3
MAGNITUDE_ROWS = 240  # at most so many rows of a video are decoded for its curve
LEVELS = 256


class NotStored(ShardError):
    """A video, or a row of it, of which nothing is stored."""


@dataclass(frozen=True)
class Answer:
    """Bytes and what they are."""

    content: bytes
    kind: str


class _Kept:
    """Answers by key, the oldest dropped when they have more than `KEPT_BYTES`."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._answers: OrderedDict[Hashable, Answer] = OrderedDict()
        self._lock, self._most, self.num_bytes = threading.Lock(), most, 0

    def get(self, key: Hashable, make: Callable[[], Answer]) -> Answer:
        """Return what is kept, or make it; two that ask at once may both make it."""
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key]
        made = make()
        with self._lock:
            if key not in self._answers:
                self._answers[key] = made
                self.num_bytes += len(made.content)
            while self.num_bytes > self._most and len(self._answers) > 1:
                self.num_bytes -= len(self._answers.popitem(last=False)[1].content)
        return made


class _OpenShard:
    """A shard and the lock under which one thread at a time reads it."""

    def __init__(self, shard: Shard) -> None:
        self.shard, self.lock, self.closed = shard, threading.Lock(), False

    def close(self) -> None:
        """Close the shard once nobody reads it."""
        with self.lock:
            self.shard.close()
            self.closed = True


class Media:
    """Reads rows of videos. Safe to use from several threads."""

    def __init__(self) -> None:
        self._open: OrderedDict[Hashable, _OpenShard] = OrderedDict()
        self._lock, self._kept = threading.Lock(), _Kept()

    def close(self) -> None:
        """Close all shards, each once nobody reads it."""
        with self._lock:
            shards = list(self._open.values())
            self._open.clear()
        for shard in shards:
            shard.close()

    @contextlib.contextmanager
    def _shard(self, storage: Storage, name: str, version: str) -> Iterator[Shard]:
        key = (storage.path(""), name, version)
        while True:
            with self._lock:
                one = self._open.get(key)
                if one is None:
                    one = self._open[key] = _OpenShard(open_shard(storage, name))
                self._open.move_to_end(key)
                old = [self._open.popitem(last=False)[1] for _ in range(len(self._open) - OPEN_SHARDS)]
            for shard in old:
                shard.close()
            with one.lock:
                if not one.closed:
                    yield one.shard
                    return

    @contextlib.contextmanager
    def _reading(self, videos: Videos, place: int, modality: str) -> Iterator[tuple[Shard, StoredEntry, str]]:
        """Give an open shard, a video's place in it and the codec of its pictures."""
        found = videos.entry(place, modality)
        if found is None:
            raise NotStored(f"no {modality} is stored of {videos.ids[place].as_py()!r}.")
        folder = videos.stored[modality].folder
        with self._shard(folder.storage, found[0], videos.version) as shard:
            yield shard, found[1], str(folder.parameters[modality]["codec"])

    def times(self, videos: Videos, place: int, modality: str) -> np.ndarray:
        """Return when each row is shown, seconds."""
        with self._reading(videos, place, modality) as (shard, entry, _):
            return shard.times(entry)

    def rows(self, videos: Videos, place: int, modality: str, start: int, count: int) -> Answer:
        """Return stored rows from `start` on, fewer than `count` where they are large.

            length of the head, 4 bytes, little endian | head, JSON | pictures one after the other

        A frame is a JPEG or PNG file; flow is its x plane and its y plane, one byte a pixel.
        """
        with self._reading(videos, place, modality) as (shard, entry, codec):
            if not 0 <= start < entry.num_rows:
                raise NotStored(f"{entry.video_id!r} has no row {start}; it has {entry.num_rows} rows.")
            first = shard.read(entry, [start])
            per_row = 2 * first.height * first.width if modality == "flow" else first.num_bytes()
            count = max(min(count, MAX_ROWS, entry.num_rows - start, MAX_BYTES // max(per_row, 1)), 1)
            rows = first if count == 1 else shard.read(entry, range(start, start + count))
        head: dict[str, object] = {"start": start, "height": rows.height, "width": rows.width, "bound": rows.bound}
        head |= {"index": rows.frame_index.tolist(), "pts": rows.pts_seconds.tolist()}
        if rows.next_pts_seconds is not None:
            head["next_pts"] = rows.next_pts_seconds.tolist()
        if modality == "rgb":
            parts = rows.payloads["image"]
            if codec == "raw":
                codec, parts = "png", [encode_image(one, codec="png") for one in decode_pictures(rows, codec)]
            head |= {"kind": f"image/{codec}"}
        else:
            parts = [np.ascontiguousarray(one.transpose(2, 0, 1)).tobytes() for one in decode_pictures(rows, codec)]
        content = json.dumps(head | {"sizes": [len(one) for one in parts]}).encode()
        return Answer(struct.pack("<I", len(content)) + content + b"".join(parts), "application/octet-stream")

    def pictures(self, videos: Videos, place: int, modality: str, rows: list[int]) -> list[np.ndarray]:
        """Return rows as pictures, uint8 (H, W, 3); flow in colour, all of them on one scale."""
        with self._reading(videos, place, modality) as (shard, entry, codec):
            stored = shard.read(entry, rows)
        pictures = decode_pictures(stored, codec)
        if modality == "rgb":
            return pictures
        fields = [visible_flow(one, stored.bound) for one in pictures]
        scale = flow_scale(fields, bound=stored.bound)
        return [flow_to_color(one, max_magnitude=scale) for one in fields]

    def poster(self, videos: Videos, place: int) -> Answer:
        """Return the video's middle frame, small; its flow where no frames are stored."""
        return self._kept.get((videos.version, place, "poster"), lambda: self._poster(videos, place))

    def _poster(self, videos: Videos, place: int) -> Answer:
        modality, count = _main(videos, place)
        (picture,) = self.pictures(videos, place, modality, [count // 2])
        return Answer(encode_image(small(picture), codec="jpeg", quality=POSTER_QUALITY), "image/jpeg")

    def preview(self, videos: Videos, place: int) -> Answer:
        """Return a few frames spread over the video as a small moving picture."""
        return self._kept.get((videos.version, place, "preview"), lambda: self._preview(videos, place))

    def _preview(self, videos: Videos, place: int) -> Answer:
        modality, count = _main(videos, place)
        rows = np.unique(np.linspace(0, count - 1, min(PREVIEW_FRAMES, count)).round().astype(int)).tolist()
        return moving([small(one) for one in self.pictures(videos, place, modality, rows)])

    def magnitude(self, videos: Videos, place: int) -> Answer:
        """Return mean flow over time as JSON, of rows spread over the video, and what is full colour for all of it."""
        return self._kept.get((videos.version, place, "magnitude"), lambda: self._magnitude(videos, place))

    def _magnitude(self, videos: Videos, place: int) -> Answer:
        times = self.times(videos, place, "flow")
        rows = np.unique(np.linspace(0, len(times) - 1, min(MAGNITUDE_ROWS, len(times))).round().astype(int))
        means, scales, bound = [], [], 0.0
        for start in range(0, len(rows), 16):  # other readers have their turn between
            with self._reading(videos, place, "flow") as (shard, entry, codec):
                stored = shard.read(entry, rows[start : start + 16].tolist())
            bound = stored.bound
            fields = [visible_flow(one, bound) for one in decode_pictures(stored, codec)]
            means += [float(np.hypot(one[..., 0], one[..., 1]).mean()) for one in fields]
            scales += [flow_scale([one], bound=bound) for one in fields]
        scale = round(float(np.percentile(scales, 80)), 2)  # of the fastest rows: a jump does not make the others pale
        found = {"rows": rows.tolist(), "seconds": times[rows].tolist(), "mean": means, "scale": scale, "bound": bound}
        return Answer(json.dumps(found).encode(), "application/json")

    def wheel(self, bound: float, scale: float) -> Answer:
        """Return the colour of every pair of stored levels, bytes (y, x, RGB), as `flow_to_color` draws them."""
        return self._kept.get(("wheel", bound, scale), lambda: Answer(wheel(bound, scale), "application/octet-stream"))


def wheel(bound: float, scale: float) -> bytes:
    """Return the colours of all stored flow vectors, 256 x 256 x 3 bytes: y plane's level, x plane's level, RGB."""
    levels = np.arange(LEVELS, dtype=np.uint8)
    x, y = np.meshgrid(levels, levels)
    return flow_to_color(visible_flow(np.stack([x, y], axis=-1), bound), max_magnitude=scale).tobytes()


def small(picture: np.ndarray, height: int = POSTER_HEIGHT) -> np.ndarray:
    """Return a picture not higher than `height` and not wider than three times that; small ones stay as they are."""
    factor = min(height / picture.shape[0], MAX_ASPECT * height / picture.shape[1], 1.0)
    if factor == 1.0:
        return picture
    size = max(round(picture.shape[1] * factor), 1), max(round(picture.shape[0] * factor), 1)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def moving(pictures: list[np.ndarray], milliseconds: int = PREVIEW_MILLISECONDS) -> Answer:
    """Return pictures (H, W, 3) of one size as one that moves (WebP)."""
    first, *others = [Image.fromarray(one) for one in pictures]
    content = io.BytesIO()
    options = {"save_all": True, "append_images": others, "duration": milliseconds, "loop": 0}
    first.save(content, "WEBP", quality=70, method=0, **options)
    return Answer(content.getvalue(), "image/webp")


def _main(videos: Videos, place: int) -> tuple[str, int]:
    """Return the modality that a video is shown in, and its number of rows."""
    for modality, stored in videos.stored.items():
        if stored.num_rows[place]:
            return modality, int(stored.num_rows[place])
    raise NotStored(f"nothing is stored of {videos.ids[place].as_py()!r}.")
