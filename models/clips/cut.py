"""Which frames of a video a clip is made of: index arithmetic, by the rules of the papers.

`segments`, for TSN and all that follow it. Ng & Davis, section 3.4 (dissertation, 5.3.3): "The input videos are split
into s approximately equally sized segments, and k consecutive frames [...] are randomly sampled from each segment".
Where in its segment a snippet may start is left to TSN's code (Wang et al., ECCV 2016, `dataset.py` of its PyTorch
version): the n - K + 1 places where a snippet fits into the video are divided, (n - K + 1) // S to each segment. So a
snippet may run on into the next segment:

    12 frames, S = 3, K = 2: 11 starts, 3 for each segment
    random     any of 0-2, 3-5, 6-8, each equally likely
    centred    1, 5, 9: the middles of 11 / 3 starts each, rounded down
    uniform    two clips, (0, 2) and (1, 2): 0, 4, 8 and 2, 6, 10, the middles of the halves of each share

`consecutive`, for chapter 3 of the dissertation (Ng et al., Beyond Short Snippets, CVPR 2015). Section 3.4, Data
Augmentation: "Multiple examples per video are obtained by randomly selecting the position of the first frame". All
S x K frames follow each other: 30 of them are one second at 30 fps and five at 6 fps (UCF-101, Comparison of Frame
Rates). Data Extraction: "Frames are repeated from the start for videos that are shorter". Several clips at even
distances begin at the first frame and end with the last, as those of SlowFast's and TimeSformer's tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tdn_data.models.networks.base import ClipShape, check_count
from tdn_data.pipeline.datasets.base import repeated_length
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.pipeline.sampling import frames_at, grid_times, grid_tolerance
from tdn_data.pipeline.shards.reader import DatasetInfo, ShardReader, StoredVideo

CUTS = ("segments", "consecutive")
MIDDLE = (0, 1)  # the only one of one clip at even distances
TICK_SECONDS = 1e-3  # to which containers round times; Matroska's


@dataclass(frozen=True)
class Cut:
    """How clips are cut out of videos: by `kind`, see CUTS, from all stored frames or from `fps` of them a second."""

    kind: str = "segments"
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in CUTS:
            raise ValueError(f"cut is {self.kind!r}; known cuts: {', '.join(CUTS)}")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ValueError(f"fps is {self.fps!r}; it must be a number above 0, or None for all stored frames")

    def repeat_to(self, info: DatasetInfo) -> int | None:
        """Return to how many frames, of those that clips are cut from, a shorter video is repeated; None for none."""
        rates = info.parameters if self.fps is None else {"fps": self.fps}
        return repeated_length(dataset_spec(info.name), rates)

    def rows(
        self,
        reader: ShardReader,
        video: StoredVideo,
        shape: ClipShape,
        **which: object,
    ) -> np.ndarray:
        """Return the stored rows (S, K) of one clip of a video; the options of `places` say of which."""
        if self.fps is None:
            return self.places(video.num_rows, shape, **which)
        counted = rows_at_rate(reader.times(video.video_id), self.fps)
        return counted[self.places(len(counted), shape, **which)]

    def num_frames(self, reader: ShardReader, video: StoredVideo) -> int:
        """Return how many frames of a video clips are cut from."""
        return video.num_rows if self.fps is None else len(rows_at_rate(reader.times(video.video_id), self.fps))

    def num_clips_of_all(
        self, reader: ShardReader, video: StoredVideo, shape: ClipShape, *, repeat_to: int | None = None
    ) -> int:
        """Return how many `consecutive` clips at even distances show every frame of a video, and not one fewer."""
        rows = self.num_frames(reader, video)
        return max(1, math.ceil(max(rows, repeat_to or 0) / (shape.num_segments * shape.snippet_length)))

    def places(
        self,
        num_frames: int,
        shape: ClipShape,
        *,
        repeat_to: int | None = None,
        after: int = 0,
        generator: np.random.Generator | None = None,
        nth: tuple[int, int] = MIDDLE,
    ) -> np.ndarray:
        """Return the frames (S, K) of one clip, int64, of a video of `num_frames`.

        With `generator` the clip is drawn at random (training); without, it is the `nth`, (i, n), of n clips at even
        distances (testing), by default the one in the middle. A video of fewer than `repeat_to` frames is repeated
        from its start up to there, one cut `consecutive` up to S x K; else the last frame is repeated where a video is
        too short. Where it is long enough, `after` frames follow on each snippet.
        """
        num_segments, length = shape.num_segments, shape.snippet_length
        available = max(num_frames, repeat_to or 0)
        if self.kind == "segments":
            starts = snippet_starts(available - after, num_segments, length, generator=generator, nth=nth)
        else:
            available = max(available, num_segments * length)
            first = run_start(available - after, num_segments * length, generator=generator, nth=nth)
            starts = first + length * np.arange(num_segments)
        return np.minimum(starts[:, None] + np.arange(length), available - 1) % num_frames


def snippet_starts(
    num_frames: int,
    num_segments: int,
    snippet_length: int,
    *,
    generator: np.random.Generator | None = None,
    nth: tuple[int, int] = MIDDLE,
) -> np.ndarray:
    """Return the first frame of one snippet in each segment, int64 (num_segments,), rising.

    With `generator` each is drawn uniformly from the (n - K + 1) // S starts of its segment (training); without, it is
    the middle of the (n - K + 1) / S starts of its share, rounded down (testing), or of the i-th of n equal parts of
    that share for `nth` (i, n). A video with fewer starts than segments has starts drawn from all of them, in order, or
    spread evenly, as TSN does where n > S; where n <= S TSN gives its first frame S times. A video shorter than a
    snippet starts at 0, and reading past the end is the caller's matter.
    """
    for name, value in (("num_frames", num_frames), ("num_segments", num_segments), ("snippet_length", snippet_length)):
        check_count(name, value)
    num_starts = max(num_frames - snippet_length + 1, 1)
    segments = np.arange(num_segments, dtype=np.int64)
    if generator is None:
        number, count = nth
        return (2 * count * segments + 2 * number + 1) * num_starts // (2 * count * num_segments)
    if num_starts < num_segments:
        return np.sort(generator.integers(0, num_starts, num_segments))
    room = num_starts // num_segments
    return segments * room + generator.integers(0, np.full(num_segments, room))


def run_start(
    num_frames: int, length: int, *, generator: np.random.Generator | None = None, nth: tuple[int, int] = MIDDLE
) -> int:
    """Return the first of `length` consecutive frames, 0 where no more fit.

    It is drawn uniformly from all that fit, or the `nth` (i, n) of n at even distances from the first to the last, the
    middle one where n is 1.
    """
    room = max(num_frames - length, 0)
    if generator is not None:
        return int(generator.integers(0, room + 1))
    number, count = nth
    return room // 2 if count == 1 else room * number // (count - 1)


def rows_at_rate(pts_seconds: np.ndarray, fps: float) -> np.ndarray:
    """Return which of a video's rows are on screen at 0, 1/fps, 2/fps, ... seconds from the first, int64.

    The last row is shown as long as the middle one of the others; a rate above the stored one repeats rows.

    >>> rows_at_rate(np.arange(12) / 30, 6).tolist()
    [0, 5, 10]
    """
    shown = pts_seconds - pts_seconds[0]
    last_seconds = float(np.median(np.diff(shown))) if len(shown) > 1 else 1 / fps
    times = grid_times(shown[-1] + last_seconds, fps=fps, tick_seconds=TICK_SECONDS)
    return frames_at(shown, times, tolerance_seconds=grid_tolerance(TICK_SECONDS))
