"""A video's good frames, up to where it breaks, and what is known of the break."""

from __future__ import annotations

from collections.abc import Iterator

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.extraction.rows.job import Extraction, VideoJob
from tdn_data.pipeline.sampling import grid_times
from tdn_data.pipeline.shards.schema import VideoRows
from tdn_data.pipeline.video.frames import Frame, GivenFramesError, iter_frames
from tdn_data.pipeline.video.probe import probe


class GoodFrames:
    """Iterates over a video's frames up to where it breaks; `problem` then says why.

    Of a span these are as many frames as it has rows, and `overlap` more. `in_pairs`: each frame is followed by the
    video's own next one, and two frames make a row.
    """

    def __init__(
        self, job: VideoJob, pixel_format: str, decoding: str, *, overlap: int = 0, in_pairs: bool = False
    ) -> None:
        self._job, section = job, job.section
        self._each = 2 if in_pairs else 1  # frames a row
        self._frames = iter_frames(
            job.path,
            every_seconds=section.every_seconds,
            fps=section.fps,
            size=section.size,
            pixel_format=pixel_format,
            max_pixels=job.max_pixels,
            with_next=in_pairs,
            decoding=decoding,
            span=job.span and (self._each * job.span[0], self._each * job.span[1] + overlap),
        )
        self.problem: VideoError | None = None

    def __iter__(self) -> Iterator[Frame]:
        section, count = self._job.section, 0
        try:
            for frame in self._frames:
                if section.max_seconds is not None and self._asked_seconds(frame, count) >= section.max_seconds:
                    return
                count += 1
                yield frame
        except GivenFramesError:
            raise
        except VideoError as error:
            if not count and self._job.span is None:
                raise
            self.problem = error

    def _asked_seconds(self, frame: Frame, number: int) -> float:
        """Return the time that frame `number` was asked for: its place in the grid, later where frames are missing."""
        section = self._job.section
        number = 0 if number % self._each else number // self._each  # the second of a pair was asked for by no time
        if section.every_seconds is not None:
            return max(number * section.every_seconds, frame.pts_seconds)
        return frame.pts_seconds if section.fps is None else max(number / section.fps, frame.pts_seconds)

    def num_expected(self, num_good: int) -> int:
        """Return how many frames or pairs the whole video was to give: the good ones, or what its header announces."""
        if self.problem is None:
            return num_good
        info, section = probe(self._job.path), self._job.section
        duration = min(info.duration_seconds, section.max_seconds or info.duration_seconds)
        if section.every_seconds is None and section.fps is None:
            return max(num_good, round(duration * info.fps))
        return max(num_good, len(grid_times(duration, every_seconds=section.every_seconds, fps=section.fps)))

    def extraction(self, rows: VideoRows, *, num_expected: int) -> Extraction:
        """Return the rows with what is known of the break."""
        return Extraction(rows, num_expected, self.problem, self._frames.decoding, self._frames.note)
