"""Frames as they come out of a video: one, or several in one array."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tdn_data.pipeline.errors import VideoError

Decoding = Literal["sparse", "full"]  # only what the frames depend on, or every packet of the stream


@dataclass(frozen=True)
class Frame:
    """One shown picture: uint8 (H, W, 3) RGB or (H, W) grey; time zero and index 0 are the first shown frame's."""

    data: np.ndarray
    pts_seconds: float
    frame_index: int
    duration_seconds: float  # how long it stays on screen

    def __repr__(self) -> str:
        return (
            f"Frame(data={_shape(self.data)}, pts_seconds={self.pts_seconds:g}, "
            f"duration_seconds={self.duration_seconds:g}, frame_index={self.frame_index})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class FrameBatch:
    """The frames that came out, of `num_expected` asked for; `problem` says why some are missing.

    `len`, iteration and indexing work as on a list of `Frame`s; a slice is a batch again.

    >>> pictures, times, stays = np.zeros((2, 4, 6, 3), np.uint8), np.array([0.0, 3.0]), np.full(2, 0.04)
    >>> batch = FrameBatch(pictures, times, np.array([0, 75]), stays, num_expected=2)
    >>> batch
    FrameBatch(data=uint8 (2, 4, 6, 3), pts_seconds=0 to 3, num_expected=2)
    >>> batch[1].frame_index, len(batch[:1]), [frame.pts_seconds for frame in batch]
    (75, 1, [0.0, 3.0])
    """

    data: np.ndarray  # uint8 (N, H, W, 3)
    pts_seconds: np.ndarray  # float64 (N,), of the frames themselves, not of the times asked for
    frame_index: np.ndarray  # int64 (N,)
    duration_seconds: np.ndarray  # float64 (N,): how long each frame stays on screen
    num_expected: int
    problem: VideoError | None = None
    decoding: Decoding = "sparse"  # "full": the packets proved nothing, and all of them were decoded
    note: str | None = None  # what of the file is not read at all

    def __post_init__(self) -> None:
        names = ("data", "pts_seconds", "frame_index", "duration_seconds")
        lengths = [len(getattr(self, name)) for name in names]
        if len(set(lengths)) > 1:
            raise ValueError(f"{', '.join(names)} differ in length: {', '.join(map(str, lengths))}")

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: int | slice | np.ndarray) -> Frame | FrameBatch:
        """Return one frame for an int; for a slice or an array of places or truths a batch of those frames."""
        data, pts, places, stays = (
            array[key] for array in (self.data, self.pts_seconds, self.frame_index, self.duration_seconds)
        )
        if np.ndim(pts) == 0:
            return Frame(data, float(pts), int(places), float(stays))
        return replace(self, data=data, pts_seconds=pts, frame_index=places, duration_seconds=stays)

    def __iter__(self) -> Iterator[Frame]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        times = f"{self.pts_seconds[0]:g} to {self.pts_seconds[-1]:g}" if len(self) else "none"
        words = [f"data={_shape(self.data)}", f"pts_seconds={times}", f"num_expected={self.num_expected}"]
        words += [f"decoding={self.decoding!r}"] if self.decoding != "sparse" else []
        words += [f"{name}={str(value)!r}" for name, value in (("problem", self.problem), ("note", self.note)) if value]
        return f"FrameBatch({', '.join(words)})"


def _shape(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
