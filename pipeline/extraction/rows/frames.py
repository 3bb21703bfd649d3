"""A video's frames as rows of a shard."""

from __future__ import annotations

import numpy as np

from tdn_data.pipeline.extraction.rows.job import Extraction, VideoJob
from tdn_data.pipeline.extraction.rows.video import GoodFrames
from tdn_data.pipeline.images import encode_image
from tdn_data.pipeline.shards.schema import VideoRows


def extract_frames(job: VideoJob, *, decoding: str) -> Extraction:
    """Return the video's frames as encoded images; raise VideoError when nothing at all comes out."""
    frames = GoodFrames(job, "rgb24", decoding)
    index, pts, images, shape = [], [], [], (0, 0)
    for frame in frames:
        images.append(encode_image(frame.data, codec=job.section.codec, quality=job.section.quality))
        index.append(frame.frame_index)
        pts.append(frame.pts_seconds)
        shape = frame.data.shape[:2]
    rows = VideoRows("rgb", np.asarray(index, np.int64), np.asarray(pts), *shape, {"image": images})
    return frames.extraction(rows, num_expected=frames.num_expected(len(images)))
