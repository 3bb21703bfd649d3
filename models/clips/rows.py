"""The pictures of a clip, decoded: only the rows that are asked for, each once, and kept where there is room."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch.utils.data import get_worker_info

from tdn_data.pipeline.shards.reader import ShardReader

CACHE_BYTES = 1 << 30  # of decoded rows, in all processes of a loader together
ENTRY_BYTES = 512  # that keeping a row takes beside its pixels


@dataclass(frozen=True)
class ClipRows:
    """A clip's rows: `pictures` uint8 (H, W, C), each row once, and `places` (S, K) among them; pts in seconds (S, K).

    The pictures are shared with the cache: whoever changes them copies them first.
    """

    pictures: list[np.ndarray]
    places: np.ndarray
    pts_seconds: np.ndarray
    bound: float | None

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self.pictures[0].shape[:2]

    @property
    def data(self) -> np.ndarray:
        """The whole pictures of the clip, (S, K, H, W, C)."""
        return np.stack(self.pictures)[self.places]


class KeptRow(NamedTuple):
    """A decoded row: uint8 (H, W, C), its time, and its video's bound where it is flow."""

    picture: np.ndarray
    pts_seconds: float
    bound: float | None


class RowCache:
    """Decoded rows of one or several readers, as many as `num_bytes` hold; what has no room is decoded again.

    Nothing is thrown out: an epoch asks for all videos in turn, so what was used last would be needed last. Each
    process of a loader keeps rows of its own in its share of the bytes.
    """

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes, self._process = num_bytes, None
        self._kept: dict[tuple[str, str, int], KeptRow] = {}

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_kept": {}, "_process": None}

    def get(self, modality: str, video_id: str, row: int) -> KeptRow | None:
        """Return a row, None where it is not kept."""
        if self._process != os.getpid():
            self._begin()
        return self._kept.get((modality, video_id, row))

    def put(self, modality: str, video_id: str, row: int, kept: KeptRow) -> None:
        """Keep a row that `get` did not find, if it has room."""
        num_bytes = kept.picture.nbytes + ENTRY_BYTES
        if num_bytes <= self._room:
            self._kept[modality, video_id, row] = kept
            self._room -= num_bytes

    def _begin(self) -> None:
        """Begin again in another process: a loader's has its share of the room."""
        worker = get_worker_info()
        self._process, self._kept = os.getpid(), {}
        self._room = self._num_bytes // (worker.num_workers if worker else 1)


class CachedRows:
    """A reader's rows as clips take them."""

    def __init__(self, reader: ShardReader, cache: RowCache) -> None:
        self._reader, self._cache = reader, cache

    def read(self, video_id: str, rows: np.ndarray) -> ClipRows:
        """Return a video's rows (S, K); no other row of it is decoded."""
        asked = rows.ravel().tolist()
        modality, wanted = self._reader.modality, sorted(set(asked))
        found = {row: self._cache.get(modality, video_id, row) for row in wanted}
        missing = [row for row in wanted if found[row] is None]
        if missing:
            stored = self._reader.read_pictures(video_id, missing)
            for row, picture, time in zip(missing, stored.pictures, stored.pts_seconds.tolist(), strict=True):
                found[row] = KeptRow(picture, time, stored.bound)
                self._cache.put(modality, video_id, row, found[row])
        kept, place_of = [found[row] for row in wanted], {row: place for place, row in enumerate(wanted)}
        places = np.array([place_of[row] for row in asked]).reshape(rows.shape)
        times = np.array([row.pts_seconds for row in kept])
        return ClipRows([row.picture for row in kept], places, times[places], kept[0].bound)
