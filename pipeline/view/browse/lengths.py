"""How long videos are, which index and ledger do not say: read in the background, once somebody looks.

A Parquet footer has the largest time of every row group, so a shard costs its footer; an LMDB shard one entry a video.
"""

from __future__ import annotations

import contextlib
import threading

import numpy as np

from tdn_data.pipeline.errors import PipelineError
from tdn_data.pipeline.shards.shard_formats import open_shard
from tdn_data.pipeline.view.browse.video_columns import Videos

MAX_SHARDS_READ = 2000  # of a larger set a sample, spread evenly


class Lengths:
    """Seconds until each video's last stored row, (N,) float64; NaN where not known, or not known yet."""

    def __init__(self, videos: Videos) -> None:
        self._videos = videos
        self.seconds = np.full(len(videos), np.nan)
        self._lock, self._thread = threading.Lock(), None
        self.num_shards, self.num_read = 0, 0

    def ask(self, *, wait_seconds: float = 0.0) -> np.ndarray:
        """Return what is known; begin to read, if that has not begun, and wait a little for a small set."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="lengths", daemon=True)
                self._thread.start()
        self._thread.join(wait_seconds)
        return self.seconds

    @property
    def done(self) -> bool:
        """Whether everything that is going to be read is read."""
        return self._thread is not None and not self._thread.is_alive()

    def _work(self) -> None:
        stored = next((one for one in self._videos.stored.values() if one.num_rows.any()), None)
        if stored is None:
            return
        modality = next(name for name, one in self._videos.stored.items() if one is stored)
        order = np.argsort(stored.shard.codes, kind="stable")
        codes, starts = np.unique(stored.shard.codes[order], return_index=True)
        ends = np.append(starts[1:], len(order))
        groups = [(code, order[a:b]) for code, a, b in zip(codes.tolist(), starts, ends, strict=True) if code >= 0]
        self.num_shards = len(groups)
        step = max(len(groups) / MAX_SHARDS_READ, 1.0)
        for number in range(min(len(groups), MAX_SHARDS_READ)):
            code, places = groups[int(number * step)]
            with contextlib.suppress(PipelineError, OSError):
                self._read(stored.folder.storage, stored.shard.names[code], places, modality)
            self.num_read += 1

    def _read(self, storage, name: str, places: np.ndarray, modality: str) -> None:
        with contextlib.closing(open_shard(storage, name)) as shard:
            for place in places.tolist():
                found = self._videos.entry(place, modality)
                if found is not None:
                    self.seconds[place] = shard.last_pts_seconds(found[1])
