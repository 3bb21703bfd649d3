"""Numbered pictures in files whose stamps are missing, whose samples are empty, and whose headers are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.rewritten import (
    HEADER_NUMBERS,
    empty_matroska_block,
    empty_mp4_sample,
    scale_number,
    strip_stamps,
)
from tests.pipeline.video.exact.streams import NUM_PICTURES, encoded

pytestmark = pytest.mark.slow

STEPS = (1, 5, 13)  # pictures between two that are asked for, at 25 a second
ALL = list(range(NUM_PICTURES))
KEPT: dict[str, Callable[[int], str]] = {
    "no-dts": lambda number: "pts",
    "every-second": lambda number: "both" if number % 2 == 0 else "none",
    "one-in-twelve": lambda number: "both" if number % 12 == 0 else "none",
    "not-the-first": lambda number: "both" if number % 7 == 3 else "none",
    "first-alone": lambda number: "both" if number == 0 else "none",
    "none": lambda number: "none",
}
STAMPED = [
    *(("ts", name) for name in ("h264-b2-gop12", "h264-pyramid-gop20", "hevc-b3-gop12", "mpeg2-b2-gop12")),
    ("ts", "mpeg4-b2-gop12"),
    ("mpg", "mpeg2-b2-gop12"),
    ("mpg", "mpeg1-b2-gop12"),
]
MORE_IS_A_LOSS = ("avi-length", "flv-duration")  # what a cut file has, too


@pytest.fixture
def make(tmp_path) -> Callable[[str, str], Path]:
    """make(container, stream) -> Path of a new file."""

    def make(container: str, name: str) -> Path:
        kind, timing, stream = CONTAINERS[container], TIMINGS["cfr"], encoded(name)
        path = tmp_path / f"clip{kind.suffix}"
        write(path, stream, kind, timing, stamp(stream, timing))
        return path

    return make


def numbers_and_problem(path: Path, step: int) -> tuple[list[int | None], str | None]:
    """Numbers of every `step`-th picture, and the reason where some are missing."""
    batch = sample_frames(path) if step == 1 else sample_frames(path, fps=25 / step)
    return [read_number(image) for image in batch.data], batch.problem and batch.problem.reason


def assert_all_right(path: Path, name: str, *, problem: str | None = None) -> None:
    """Every picture, index and time is right, at every rate."""
    for step in STEPS:
        batch = sample_frames(path) if step == 1 else sample_frames(path, fps=25 / step)
        assert batch.frame_index.tolist() == ALL[::step]
        assert batch.problem is None if problem is None else batch.problem.reason == problem
        np.testing.assert_allclose(batch.pts_seconds, batch.frame_index / 25, atol=1e-3)
        for image, number in zip(batch.data, ALL[::step], strict=True):
            np.testing.assert_array_equal(image, encoded(name).reference[number])


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize(("container", "name"), STAMPED)
def test_pictures_without_stamps_come_in_order(make, container, name, kept):
    path = make(container, name)
    strip_stamps(path, KEPT[kept])
    assert_all_right(path, name)


@pytest.mark.parametrize("number", [3, 20])
@pytest.mark.parametrize(("container", "name"), [("mkv", "mjpeg"), ("mkv", "ffv1-intra"), ("mp4end", "mpeg4-b2-gop12")])
def test_an_empty_sample_leaves_the_picture_before_on_screen(make, container, name, number):
    path = make(container, name)
    (empty_matroska_block if container == "mkv" else empty_mp4_sample)(path, number)
    empty = encoded(name).packets[number].number
    came = [at - 1 if at == empty else at for at in ALL]
    assert numbers_and_problem(path, 1) == ([at for at in ALL if at != empty], None)
    for step in STEPS[1:]:
        assert numbers_and_problem(path, step) == (came[::step], None)


@pytest.mark.parametrize("number", [3, 15, 20])
@pytest.mark.parametrize("container", ["mkv", "mp4end"])
@pytest.mark.parametrize("name", ["h264-b0-gop12", "h264-b2-gop12", "hevc-b3-gop12"])
def test_an_empty_sample_that_others_need_spoils_no_picture(make, container, name, number):
    path = make(container, name)
    (empty_matroska_block if container == "mkv" else empty_mp4_sample)(path, number)
    empty = encoded(name).packets[number].number
    for step in STEPS:
        came, problem = numbers_and_problem(path, step)
        assert None not in came
        assert empty not in came
        assert problem == "corrupt" or step > 1
        assert problem == "corrupt" or len(came) == len(ALL[::step])


@pytest.mark.parametrize("factor", [0, 0.4, 10])  # nearer rates are believed: they tell how long the last stays
@pytest.mark.parametrize("header", HEADER_NUMBERS)
def test_wrong_counts_and_durations_move_no_picture(make, header, factor):
    container, marker, form, behind = HEADER_NUMBERS[header]
    names = {"asf": "wmv2-gop12", "ivf": "vp9-gop20", "avi": "mpeg4-b2-gop12"}
    name = names.get(container, "h264-b2-gop12")
    path = make(container, name)
    scale_number(path, marker, form, factor, behind=behind)
    assert_all_right(path, name, problem="truncated" if header in MORE_IS_A_LOSS and factor > 1 else None)
