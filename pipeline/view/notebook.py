"""One stored video inside a notebook."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from tdn_data.pipeline.images import encode_image
from tdn_data.pipeline.view.inspect import video_sheet


@dataclass(frozen=True, repr=False)
class Shown:
    """A picture, uint8 (H, W, 3) RGB, that Jupyter draws below the cell."""

    video_id: str
    picture: np.ndarray

    def __repr__(self) -> str:
        height, width = self.picture.shape[:2]
        return f"Shown({self.video_id!r}, {width} x {height} pixels)"

    def _repr_png_(self) -> bytes:
        return encode_image(self.picture, codec="png")


def show(path: str | os.PathLike[str], video_id: str, *, num_columns: int = 8) -> Shown:
    """Draw frames of a stored video and, below them, their flow: the last line of a notebook's cell.

    Args:
        path: the folder of the shards, or its address, e.g. s3://bucket/folder.
        video_id: the video, by its name in the shards.
        num_columns: how many frames, at even distances.

    Returns:
        the picture, which Jupyter draws.

    Raises:
        InputError: nothing of the video is stored.

    >>> show("shards", "videos/clip 00", num_columns=2)  # of what `tdn-data extract --out shards` made
    Shown('videos/clip 00', 408 x 194 pixels)
    """
    return Shown(video_id, video_sheet(path, video_id, num_columns=num_columns))
