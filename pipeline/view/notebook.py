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

        from tdn_data.pipeline.view import show
        show("shards", "kitchen/a")

    Raises InputError for a video of which nothing is stored.
    """
    return Shown(video_id, video_sheet(path, video_id, num_columns=num_columns))
