"""The clip of a video that is explained: one view of its test, the middle clip in its centre crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tdn_data.models.clips.augment import crops_of, resize_flow
from tdn_data.models.clips.cut import Cut
from tdn_data.models.clips.rows import CachedRows, RowCache
from tdn_data.models.clips.views import check_crop_fits
from tdn_data.models.clips.with_flow import known_fields
from tdn_data.models.evaluation.predict import DecodedVideo
from tdn_data.models.networks.base import ClipShape
from tdn_data.pipeline.flow import flow_to_color
from tdn_data.pipeline.shards.reader import ShardReader, StoredVideo
from tdn_data.pipeline.view.flow_pictures import flow_scale, visible_flow


@dataclass(frozen=True)
class SeenClip:
    """A clip of one video: its `levels`, uint8 (S, K, size, size, C), the `rows` and `seconds` (S, K) of its frames.

    `frame_size` are the height and width of the stored frames, `bound` that of flow.
    """

    video: StoredVideo
    levels: np.ndarray
    rows: np.ndarray
    seconds: np.ndarray
    frame_size: tuple[int, int]
    bound: float | None = None

    def frames(self) -> np.ndarray:
        """Return the clip as pictures, uint8 (S, K, size, size, 3) RGB, flow in colour."""
        if self.bound is None:
            return self.levels
        fields = visible_flow(self.levels, self.bound)
        flat = fields.reshape(-1, *fields.shape[2:])
        scale = flow_scale(list(flat), bound=self.bound)
        return np.stack([flow_to_color(one, max_magnitude=scale) for one in flat]).reshape(*fields.shape[:-1], 3)

    def stored_flow(self, reader: ShardReader) -> np.ndarray:
        """Return the flow that leads from each frame to the next of the video, float32 (S, K, size, size, 2).

        It is in pixels of the clip, and not a number where none is stored, or where the next frame of the snippet is
        another than the video's.
        """
        num_fields, (height, width) = reader.num_rows(self.video.video_id), self.frame_size
        known = known_fields(self.rows, self.video.num_rows) & (self.rows < num_fields)
        stored = reader.read(self.video.video_id, np.minimum(self.rows, num_fields - 1).ravel().tolist())
        fields = visible_flow(stored.data, stored.bound)
        fields = resize_flow(fields.reshape(*self.rows.shape, *fields.shape[1:]), height, width)
        fields = crops_of(fields, self.levels.shape[2], 1)[0]
        return np.where(known[..., None, None, None], fields, np.float32(np.nan))


def seen_clip(
    reader: ShardReader | DecodedVideo, video: StoredVideo, shape: ClipShape, cut: Cut, *, repeat_to: int | None = None
) -> SeenClip:
    """Return a video's middle clip in its centre crop; raise InputError where its frames are smaller than the crop.

    A video of fewer than `repeat_to` rows is repeated from its start up to there.
    """
    rows = cut.rows(reader, video, shape, repeat_to=repeat_to)
    stored = CachedRows(reader, RowCache(0)).read(video.video_id, rows)
    height, width = stored.frame_size
    check_crop_fits(video, stored.frame_size, shape.size)
    levels = np.ascontiguousarray(crops_of(stored.data, shape.size, 1)[0])
    return SeenClip(video, levels, rows, stored.pts_seconds, (height, width), stored.bound)
