"""Numbered pictures of codecs that PyAV does not encode: fields, packed pictures, Theora and RealVideo."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.video import iter_frames, sample_frames
from tests.pipeline.video.exact.cases import Case, make
from tests.pipeline.video.exact.handmade import CLIPS, handmade
from tests.pipeline.video.exact.oracle import complaints
from tests.pipeline.video.exact.packed import write_packed
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import NUM_PICTURES

STEPS = (1, 3, 5, 13)  # pictures between two that are asked for, at 25 a second
TIMINGS = ("cfr", "vfr", "late")
DAMAGES = ("cut0.4", "cut0.7", "cut0.95", "zero0.3", "zero0.97", "fill0.52", "half0.52", "flip0.3", "del0.3", "del0.52")
LOSSES = ("lose3", "lose15", "headless5")


def _cases(stream: str, containers: str, timings: tuple[str, ...], damages: tuple[str, ...]) -> list[Case]:
    parts = product(containers.split(), timings, damages)
    return [Case(stream, container, timing, "own", damage) for container, timing, damage in parts]


CASES = [
    *_cases("paff", "mp4 mkv mov frag flv ts nut", TIMINGS, ("intact",)),
    *_cases("paff", "avi m2ts h264es", ("cfr",), ("intact",)),
    *_cases("paff", "mp4 mkv nut flv", ("cfr",), (*DAMAGES, *LOSSES)),
    *_cases("paff", "ts", ("cfr",), ("zero0.3", "del0.3", "del0.52", *LOSSES)),
    *_cases("mpeg2-fields", "mp4 mkv mov ts nut", TIMINGS, ("intact",)),
    *_cases("mpeg2-fields", "avi mpg vob m2v", ("cfr",), ("intact",)),
    *_cases("mpeg2-fields", "mp4 mkv nut", ("cfr",), ("cut0.95", "zero0.3", "zero0.97", "fill0.52")),
    *_cases("mpeg2-fields", "mp4 mkv nut ts", ("cfr",), ("del0.3", "del0.52", *LOSSES)),
    *_cases("theora.ogv", "mkv nut", TIMINGS, ("intact",)),
    *_cases("theora.ogv", "avi ogg", ("cfr",), ("intact",)),
    *_cases("theora.ogv", "mkv nut", ("cfr",), (*DAMAGES, *LOSSES)),
]


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet_decoders")]


def test_a_frame_of_a_stream_with_fields_that_fails_leaves_its_own_place_empty(tmp_path):
    case = Case("h264-mbaff", "nut", "cfr", "all", "flip0.8")
    path, stream, plan = make(case, tmp_path)
    assert not complaints(path, stream, plan, seed=str(case))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_picture_is_the_one_that_is_due(case, tmp_path):
    path, stream, plan = make(case, tmp_path, handmade(case.stream))
    found = complaints(path, stream, plan, seed=str(case))
    assert not found, f"{case}\n" + "\n".join(found)


@pytest.fixture
def clip(tmp_path, request) -> Path:
    """A copy of the stored clip of that name, or the packed stream."""
    path = tmp_path / request.param
    if request.param == "packed.avi":
        write_packed(path, num_pictures=NUM_PICTURES)
    else:
        path.write_bytes((CLIPS / request.param).read_bytes())
    return path


@pytest.mark.parametrize("clip", ["theora.ogv", "rv10.rm", "rv20.rm", "packed.avi"], indirect=True)
def test_whole_files_give_the_same_sparsely_and_fully(clip):
    for step in STEPS:
        batch = sample_frames(clip, fps=25 / step)
        due = list(range(0, NUM_PICTURES, step))
        assert [read_number(image) for image in batch.data] == batch.frame_index.tolist() == due
        assert batch.problem is None
        np.testing.assert_allclose(batch.pts_seconds, np.array(due) / 25, atol=1e-3)
        _assert_same_fully(clip, step)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("clip", ["rv10.rm", "rv20.rm", "packed.avi"], indirect=True)
def test_files_cut_off_give_what_they_have(clip, share):
    whole, content = sample_frames(clip).data, clip.read_bytes()
    clip.write_bytes(content[: int(share * len(content))])
    for step in STEPS:
        batch = sample_frames(clip, fps=25 / step)
        numbers = [read_number(image) for image in batch.data]
        assert numbers == list(range(0, NUM_PICTURES, step))[: len(numbers)]
        if step == 1:  # RealMedia's header leaves out how long the last picture stays
            assert batch.problem.reason == "truncated"
        np.testing.assert_array_equal(batch.data, whole[numbers])
        np.testing.assert_allclose(batch.pts_seconds, np.array(numbers) / 25, atol=1e-3)
        _assert_same_fully(clip, step)


def _assert_same_fully(path: Path, step: int) -> None:
    batch, frames = sample_frames(path, fps=25 / step), []
    try:
        for frame in iter_frames(path, fps=25 / step, decoding="full"):
            frames.append(frame)
    except VideoError as error:
        assert batch.problem is not None
        assert batch.problem.reason == error.reason
    assert [frame.frame_index for frame in frames] == batch.frame_index.tolist()
    np.testing.assert_array_equal([frame.data for frame in frames], batch.data)
