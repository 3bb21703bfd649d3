"""What a test sees of a video: which clips of it, and which part of their pictures.

`temporal` says where the clips lie:

    random     drawn by a generator seeded by the video's own name; a single one lies in the middle (Ng & Davis, section
               4.2: 25 clips; dissertation, section 3.4: 240 of consecutive frames)
    uniform    at even distances over the video, as SlowFast and TimeSformer space them
    dense      as many at even distances as show every frame: one pass over the video

`spatial` says which squares are cut out of each clip:

    fixed      the centre, three along the longer side (Wang et al., section 4.1) or four corners, centre and their
               reflections (TSN; Ng & Davis, section 4.2), by `num_crops`
    random     `num_crops` anywhere, each reflected half of the time (dissertation, section 3.4, Data Augmentation:
               "randomly sampling a 220 x 220 region and randomly flipping the image horizontally with 50% probability")

A mirrored clip may show another class, a move to the left one to the right: whoever averages scores over views puts
those of mirrored ones where they belong (`Scorer`).

Views depend on the seed and the video's name alone, not on the order of the videos or the machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tdn_data.models.clips.augment import CROPS, NUM_UPRIGHT, Augment, crops_of
from tdn_data.models.clips.cut import Cut
from tdn_data.models.clips.dataset import SEGMENTS
from tdn_data.models.clips.pixels import normalize
from tdn_data.models.clips.rows import CACHE_BYTES, CachedRows, RowCache
from tdn_data.models.networks.base import ClipShape
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.limits import MAX_SEGMENTS
from tdn_data.pipeline.shards.reader import ShardReader, StoredVideo

TEMPORAL = ("random", "uniform", "dense")
SPATIAL = ("fixed", "random")


@dataclass(frozen=True)
class Views:
    """The views of a test video: `num_clips` clips, None for `dense`, each in `num_crops` crops."""

    num_clips: int | None
    num_crops: int
    temporal: str = "random"
    spatial: str = "fixed"
    cut: Cut = SEGMENTS
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("temporal", TEMPORAL), ("spatial", SPATIAL)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(known)}")
        if self.temporal == "dense" and (self.num_clips is not None or self.cut.kind != "consecutive"):
            raise ValueError(
                "temporal is 'dense', which shows all frames and counts clips itself; set num_clips null and cut "
                "consecutive"
            )
        if self.temporal != "dense" and self.num_clips is None:
            raise ValueError(f"num_clips is null; {self.temporal} clips need a number, only dense ones do not")
        if self.spatial == "fixed" and self.num_crops not in CROPS:
            raise ValueError(f"num_crops is {self.num_crops!r}; it must be 1, 3 or 10, or spatial random")
        if not 1 <= self.num_crops <= MAX_SEGMENTS:
            raise ValueError(f"num_crops is {self.num_crops!r}; it must be from 1 to {MAX_SEGMENTS:,}")

    @property
    def mirrors(self) -> bool:
        """Whether some of the views are reflected left to right."""
        return self.spatial == "random" or self.num_crops > NUM_UPRIGHT

    def of(
        self, reader: ShardReader, video: StoredVideo, shape: ClipShape, *, repeat_to: int | None = None
    ) -> Iterator[tuple[np.ndarray, bool]]:
        """Yield a video's views, uint8 (S, K, size, size, C), and whether each is mirrored.

        All crops of the first clip come first, then those of the next. One clip is in memory at a time, with the
        decoded rows that clips share where they have room. A video of fewer than `repeat_to` rows is repeated from its
        start up to there. Raises InputError where the crop does not fit into the video's frames.
        """
        generator = _generator(video.video_id, self.seed)
        rows = self._rows(reader, video, shape, repeat_to, generator)
        frames = CachedRows(reader, RowCache(CACHE_BYTES if len(rows) > 1 else 0))
        for one in rows:
            stored = frames.read(video.video_id, one)
            check_crop_fits(video, stored.frame_size, shape.size)
            yield from self._crops(stored.data, shape.size, generator)

    def _rows(
        self,
        reader: ShardReader,
        video: StoredVideo,
        shape: ClipShape,
        repeat_to: int | None,
        generator: np.random.Generator,
    ) -> list[np.ndarray]:
        """Return the rows (S, K) of each clip."""
        count, where = self.num_clips, {"repeat_to": repeat_to}
        if count is None:
            count = self.cut.num_clips_of_all(reader, video, shape, **where)
        if self.temporal == "random" and count > 1:
            return [self.cut.rows(reader, video, shape, generator=generator, **where) for _ in range(count)]
        return [self.cut.rows(reader, video, shape, nth=(number, count), **where) for number in range(count)]

    def _crops(self, clip: np.ndarray, size: int, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, bool]]:
        if self.spatial == "fixed":
            for number, crop in enumerate(crops_of(clip, size, self.num_crops)):
                yield crop, number >= NUM_UPRIGHT
            return
        augment = Augment(size, "random", mirror=True)
        for _ in range(self.num_crops):
            view = augment.draw_view(*clip.shape[2:4], generator)
            yield view.of(clip), view.mirrored


def check_crop_fits(video: StoredVideo, frame_size: tuple[int, int], size: int) -> None:
    """Raise InputError that names a video whose frames, of a height and width in pixels, have no room for the crop."""
    if min(frame_size) < size:
        stored = " x ".join(map(str, frame_size))
        raise InputError(
            f"{video.video_id} is stored at {stored} pixels; the network sees {size} x {size}: set a smaller `size` of "
            "the run's `test`, or train it on smaller crops.",
            key=video.video_id,
        )


def video_views(
    reader: ShardReader,
    video: StoredVideo,
    shape: ClipShape,
    *,
    num_clips: int,
    num_crops: int,
    repeat_to: int | None = None,
    **options: object,
) -> Tensor:
    """Return all of a video's views at once, normalised, float32 (num_clips * num_crops, S, K, C, H, W)."""
    views = Views(num_clips, num_crops, **options)
    return torch.stack([normalize(view) for view, _ in views.of(reader, video, shape, repeat_to=repeat_to)])


def _generator(video_id: str, seed: int) -> np.random.Generator:
    digest = hashlib.blake2b(f"{seed} {video_id}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
