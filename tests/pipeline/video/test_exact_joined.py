"""Two files of numbered pictures written one behind the other: every picture is the one due or reported missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tdn_data.pipeline.video import FrameBatch, sample_frames
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import NUM_PICTURES, Stream, encoded

pytestmark = pytest.mark.slow

SECOND = 100  # number of the first picture of the second file
OTHER_SIZE = (128, 160)
STEPS = (1, 5, 13)  # pictures between two that are asked for, at 25 a second


@dataclass(frozen=True)
class Join:
    """Two streams in containers of one kind; `read`: which part of the result can be read."""

    container: str
    first: str
    second: str
    size: tuple[int, int] | None = None  # of the second file; None: that of the first
    read: str = "both"

    def __str__(self) -> str:
        return ":".join((self.container, self.first, "other-size" if self.size else self.second))


def _joins(container: str, first: str, other: str, *, reads: tuple[str, str, str]) -> list[Join]:
    """A file joined to one of the same settings, of others and of another size."""
    same, settings, size = reads
    return [
        Join(container, first, first, read=same),
        Join(container, first, other, read=settings),
        Join(container, first, first, OTHER_SIZE, read=size),
    ]


BOTH, FIRST, SAME = ("both",) * 3, ("first",) * 3, ("both", "first", "first")
JOINS = [
    *_joins("ts", "h264-b2-gop12", "h264-mbaff", reads=BOTH),
    *_joins("ts", "mpeg2-b2-gop12", "mpeg2-interlaced", reads=BOTH),
    *_joins("ts", "hevc-b3-gop12", "hevc-b0-gop12", reads=BOTH),
    *_joins("m2ts", "h264-b2-gop12", "h264-mbaff", reads=BOTH),
    *_joins("mpg", "mpeg2-b2-gop12", "mpeg2-interlaced", reads=BOTH),
    *_joins("mkv", "h264-b2-gop12", "h264-mbaff", reads=SAME),
    *_joins("mkv", "hevc-b3-gop12", "hevc-b0-gop12", reads=SAME),
    *_joins("mkv", "mpeg4-b2-gop12", "mpeg4-b0-gop12", reads=SAME),
    *_joins("mkv", "ffv1-gop12", "ffv1-intra", reads=SAME),
    *_joins("webm", "vp9-gop20", "vp9-long", reads=("both", "both", "first")),
    *_joins("nut", "h264-b2-gop12", "h264-mbaff", reads=FIRST),
    *_joins("nut", "mjpeg", "mjpeg", reads=FIRST),
    *_joins("frag", "h264-b2-gop12", "h264-mbaff", reads=FIRST),
    *_joins("frag", "mpeg4-b0-gop12", "mpeg4-b2-gop12", reads=FIRST),
    *_joins("dash", "h264-b2-gop12", "h264-mbaff", reads=FIRST),
    *_joins("mp4", "h264-b2-gop12", "h264-mbaff", reads=FIRST),
    *_joins("mov", "mjpeg", "mjpeg", reads=FIRST),
    *_joins("3gp", "mpeg4-b0-gop12", "mpeg4-b2-gop12", reads=FIRST),
    *_joins("flv", "h264-b2-gop12", "h264-mbaff", reads=FIRST),
    *_joins("asf", "wmv2-gop12", "wmv2-gop12", reads=FIRST),
    *_joins("avi", "mpeg4-b2-gop12", "mpeg4-b0-gop12", reads=("both", "both", "first")),
    *_joins("avi", "mjpeg", "mjpeg", reads=BOTH),
    *_joins("mxf", "mpeg2-b2-gop12", "mpeg2-interlaced", reads=BOTH)[:2],  # FFmpeg refuses another size
    *_joins("ogg", "vp8-gop20", "vp8-gop20", reads=BOTH),
    *_joins("ivf", "vp9-gop20", "vp9-long", reads=FIRST),
    *_joins("h264es", "h264-b2-gop12", "h264-mbaff", reads=BOTH),
    *_joins("hevces", "hevc-b3-gop12", "hevc-b0-gop12", reads=BOTH),
    *_joins("m2v", "mpeg2-b2-gop12", "mpeg2-interlaced", reads=BOTH),
    *_joins("m4v", "mpeg4-b2-gop12", "mpeg4-b0-gop12", reads=BOTH),
    *_joins("mjpges", "mjpeg", "mjpeg", reads=BOTH),
]


def _write(folder: Path, name: str, number: int, size: tuple[int, int] | None, container: str) -> tuple[Path, Stream]:
    stream, kind, timing = encoded(name, first=number, size=size), CONTAINERS[container], TIMINGS["cfr"]
    path = folder / f"{number}{kind.suffix}"
    write(path, stream, kind, timing, stamp(stream, timing))
    return path, stream


@pytest.fixture
def joined(request, tmp_path) -> tuple[Path, Stream, Stream]:
    """The joined file of the case, and the streams in it."""
    join: Join = request.param
    one, first = _write(tmp_path, join.first, 0, None, join.container)
    two, second = _write(tmp_path, join.second, SECOND, join.size, join.container)
    path = tmp_path / f"joined{one.suffix}"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    return path, first, second


@pytest.mark.parametrize(("joined", "join"), [(join, join) for join in JOINS], ids=str, indirect=["joined"])
def test_each_picture_of_joined_files_is_due_or_reported_missing(joined, join):
    path, first, second = joined
    numbers = first.numbers + second.numbers
    for step in STEPS:
        batch = sample_frames(path, fps=25 / step) if step > 1 else sample_frames(path)
        due = numbers[::step]
        own = [number for number in due if number < SECOND]
        came = [read_number(image) for image in batch.data]
        assert came == (due if join.read == "both" else own)
        assert batch.frame_index.tolist() == list(range(0, 2 * NUM_PICTURES, step))[: len(came)]
        np.testing.assert_allclose(batch.pts_seconds, batch.frame_index / 25, atol=1e-3)
        _assert_same_pictures(batch, came, first)
        assert batch.problem is None if join.read == "both" else batch.problem is not None or batch.note is not None


def _assert_same_pictures(batch: FrameBatch, came: list[int | None], first: Stream) -> None:
    for image, number in zip(batch.data, came, strict=True):
        if number in first.reference and first.square:
            np.testing.assert_array_equal(image, first.reference[number])
