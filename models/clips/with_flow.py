"""Clips with their optical flow, for networks that learn it: Ng's dissertation, sections 4.3.1 and 4.4.

    frames  f0    f1    f2    f3    (f4)        K = 4, a snippet, and the frame after it
    flow       u0    u1    u2    u3             u3 leads to a frame that the network is not given

Field n of a video leads from its frame n to frame n + 1, so frames and flow must be stored at the same times, in one
folder of shards or in two, each at a size of its own. Flow goes through the window, resizing and reflection of its
frames and comes out in pixels of the clip. A field that a video does not have, because the video ends, is not a
number and does not count in `summed_end_point_error`.

As true flow the dissertation takes EpicFlow; here it is what the shards hold, by default TV-L1 rounded to 256 levels.
Of the augmentations it names for flow (section 4.4.2) the translation and rotation of image pairs are left out.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tdn_data.models.clips.augment import Augment, resize_flow
from tdn_data.models.clips.cut import Cut
from tdn_data.models.clips.dataset import SEGMENTS, ClipDataset
from tdn_data.models.clips.pixels import as_clip
from tdn_data.models.clips.rows import CachedRows
from tdn_data.pipeline.datasets.flow_pairs import FlowPairs
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.flow.accuracy import known_pixels
from tdn_data.pipeline.flow.quantize import dequantize
from tdn_data.pipeline.shards.reader import ShardReader, StoredVideo

logger = logging.getLogger(__name__)

RATES = ("fps", "every_seconds", "max_seconds")
SAME_TIME_SECONDS = 1e-3
MAX_NAMES_SHOWN = 5


class FlowClipDataset(ClipDataset):
    """One split as (epoch, index) -> (clip (S, K, C, H, W), target, flow float32 (S, num_fields, 2, H, W)).

    `num_fields` is K - 1, or K to have the flow after each snippet's last frame, too. Clip and target are as in
    `ClipDataset`, whose options it takes. Videos without exactly one field for each pair of neighbouring frames are
    left out, with a warning that names them. Raises InputError where frames and flow were taken at different rates and
    where no video is left.
    """

    def __init__(
        self,
        frames: ShardReader,
        flow: ShardReader,
        *,
        num_fields: int,
        cut: Cut = SEGMENTS,
        **options: object,
    ) -> None:
        if cut.fps is not None:
            raise ValueError(
                f"cut has fps {cut.fps:g}; stored flow leads to the next stored frame, so fps must be None"
            )
        check_same_rate(frames, flow)
        super().__init__(frames, cut=cut, **options)
        self.videos = videos_with_flow(self.videos, flow)
        self._flow, self._num_fields = CachedRows(flow, self._cache), num_fields

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        video, count = self.videos[key[1]], self._num_fields
        drawn = self._draw(key, rows_after=count + 1 - self._shape.snippet_length)
        known = known_fields(drawn.rows, video.num_rows)[:, :count]
        stored = self._flow.read(video.video_id, np.minimum(drawn.rows[:, :count], video.num_rows - 2))
        _check_times(video, drawn.pts_seconds[:, :count][known], stored.pts_seconds[known])
        flow = resize_flow(dequantize(stored.data, stored.bound), *drawn.frame_size)
        flow = np.where(known[..., None, None, None], flow, np.float32(np.nan))
        return drawn.clip, drawn.target, _channels_first(drawn.view.of_flow(flow))


class FlowPairDataset(Dataset):
    """Image pairs with known flow as (epoch, index) -> (clip (1, 2, 3, H, W), flow float32 (1, 1, 2, H, W)).

    With `normalized=False` clips come as levels, as those of `ClipDataset`. Where the true flow is not known it is not
    a number. Raises InputError when the split is empty or a file is missing.
    """

    def __init__(
        self, pairs: FlowPairs, *, augment: Augment, split: str = "train", seed: int = 0, normalized: bool = True
    ) -> None:
        self._source = replace(pairs, pairs=tuple(pair for pair in pairs.pairs if pair.split == split))
        self._augment, self._seed, self._normalized = augment, seed, normalized
        missing = self._source.missing()
        if missing or not self._source.pairs:
            problem = f"{len(missing)} files are missing, e.g. {missing[0]}" if missing else f"no pair is for {split}"
            raise InputError(f"{pairs.root} cannot serve for flow training: {problem}.", path=pairs.root)

    def __len__(self) -> int:
        return len(self._source.pairs)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = key
        first, second, flow = self._source.load(self._source.pairs[index])
        generator = np.random.default_rng((self._seed, epoch, index))
        clip, view = self._augment([first, second], np.array([[0, 1]]), generator)
        flow = np.where(known_pixels(flow)[..., None], flow, np.float32(np.nan))
        return as_clip(clip, self._normalized), _channels_first(view.of_flow(flow[None, None]))


def known_fields(rows: np.ndarray, num_rows: int) -> np.ndarray:
    """Return bool (S, K): whether a video's field leads from a snippet's frame to the next one that the snippet shows.

    `rows` (S, K) are the frames of a video of `num_rows`, in which some may be repeated; behind a snippet's last frame
    the video goes on.

    >>> known_fields(np.array([[1, 2, 2], [1, 2, 0]]), 4).tolist()
    [[True, False, True], [True, False, True]]
    """
    following = np.column_stack([rows[:, 1:], rows[:, -1] + 1])
    return (following == rows + 1) & (following < num_rows)


def check_same_rate(frames: ShardReader, flow: ShardReader) -> None:
    """Raise InputError that names what differs unless frames and flow were taken at the same times."""
    for name in RATES:
        of_frames, of_flow = (reader.info.parameters.get(name) for reader in (frames, flow))
        if of_frames != of_flow:
            raise InputError(
                f"frames were stored with {name} {_shown(of_frames)} and flow with {name} {_shown(of_flow)}, so there "
                f"is not one flow field for each pair of frames; extract both with the same {name}.",
                key=name,
            )


def _shown(value: object) -> str:
    return "null" if value is None else f"{value:g}"


def videos_with_flow(videos: tuple[StoredVideo, ...], flow: ShardReader) -> tuple[StoredVideo, ...]:
    """Return the videos that have one stored field for each pair of frames; log those that do not, by name.

    Raises InputError when none is left.
    """
    stored = {video.video_id: video.num_rows for video in flow.videos}
    kept, left_out = [], []
    for video in videos:
        num_fields = stored.get(video.video_id, 0)
        if num_fields == video.num_rows - 1 > 0:
            kept.append(video)
        else:
            left_out.append(f"{video.video_id} ({num_fields} for {video.num_rows} frames)")
    if not left_out:
        return tuple(kept)
    shown = ", ".join(left_out[:MAX_NAMES_SHOWN]) + (" ..." if len(left_out) > MAX_NAMES_SHOWN else "")
    words = f"{len(left_out)} of {len(videos)} videos lack flow fields: {shown}; the flow's ledger.parquet says why"
    if not kept:
        raise InputError(f"{words}. Extract the flow of the videos whose frames are stored.")
    logger.warning("%s. They are left out.", words)
    return tuple(kept)


def _check_times(video: StoredVideo, frame_seconds: np.ndarray, flow_seconds: np.ndarray) -> None:
    """Raise InputError unless each field starts when its frame is shown."""
    apart = np.abs(frame_seconds - flow_seconds) > SAME_TIME_SECONDS
    if apart.any():
        raise InputError(
            f"{video.video_id}: a flow field starts at {flow_seconds[apart][0]:.3f} s and its frame is shown at "
            f"{frame_seconds[apart][0]:.3f} s; extract frames and flow again from the same file.",
            key=video.video_id,
        )


def _channels_first(flow: np.ndarray) -> Tensor:
    """Return flow (S, F, H, W, 2) as a tensor (S, F, 2, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(0, 1, 4, 2, 3), np.float32))
