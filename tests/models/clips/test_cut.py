"""Which frames a clip takes: exact tables, and the papers' own examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn_data.models.clips.cut import Cut, rows_at_rate, run_start, snippet_starts
from tdn_data.models.networks.base import ClipShape

CONSECUTIVE = Cut("consecutive")


def drawn(num_frames: int, num_segments: int, snippet_length: int, *, times: int = 600) -> list[set[int]]:
    """Return the starts that are drawn for each segment."""
    generator = np.random.default_rng(0)
    starts = [snippet_starts(num_frames, num_segments, snippet_length, generator=generator) for _ in range(times)]
    return [set(column.tolist()) for column in np.array(starts).T]


@pytest.mark.parametrize(
    ("num_frames", "num_segments", "snippet_length", "starts"),
    [
        (12, 3, 2, [1, 5, 9]),
        (12, 3, 1, [2, 6, 10]),
        (12, 3, 4, [1, 4, 7]),
        (10, 3, 1, [1, 5, 8]),
        (10, 1, 5, [3]),
        (8, 8, 5, [0, 0, 1, 1, 2, 2, 3, 3]),  # 4 starts for 8 segments
        (48, 8, 5, [2, 8, 13, 19, 24, 30, 35, 41]),
        (3, 5, 1, [0, 0, 1, 2, 2]),  # more segments than frames
        (2, 3, 5, [0, 0, 0]),  # shorter than one snippet
        (1, 1, 1, [0]),
    ],
)
def test_centred_snippets_are_the_middles_of_equal_shares_of_the_starts(
    num_frames: int, num_segments: int, snippet_length: int, starts: list[int]
) -> None:
    got = snippet_starts(num_frames, num_segments, snippet_length)
    assert got.tolist() == starts
    assert got.dtype == np.int64


@given(st.integers(1, 500), st.integers(1, 20), st.integers(1, 12))
def test_centred_snippets_are_those_of_tsns_code(num_frames: int, num_segments: int, snippet_length: int) -> None:
    if num_frames <= num_segments + snippet_length - 1:
        return  # where TSN takes the first frame
    tick = (num_frames - snippet_length + 1) / float(num_segments)
    expected = np.array([tick / 2.0 + tick * number for number in range(num_segments)])
    exact = np.abs(expected - expected.round()) > 1e-9  # where the sum of two floats cannot round either way
    got = snippet_starts(num_frames, num_segments, snippet_length)
    assert (got[exact] == expected.astype(int)[exact]).all()


@pytest.mark.parametrize(
    ("num_frames", "num_segments", "snippet_length", "num_starts"),
    [
        (48, 8, 5, 5),
        (80, 16, 5, 4),
        (64, 16, 5, 3),
        (20, 16, 5, 1),
        (12, 3, 2, 3),
        (12, 3, 1, 4),
        (11, 3, 1, 3),
        (300, 1, 16, 285),
    ],
)
def test_a_segment_has_its_share_of_the_starts_by_tsns_rule(
    num_frames: int, num_segments: int, snippet_length: int, num_starts: int
) -> None:
    assert num_starts == (num_frames - snippet_length + 1) // num_segments
    seen = drawn(num_frames, num_segments, snippet_length, times=3000)
    assert seen == [set(range(first * num_starts, (first + 1) * num_starts)) for first in range(num_segments)]


def test_a_video_with_fewer_starts_than_segments_has_them_drawn_in_order() -> None:
    generator = np.random.default_rng(0)
    starts = np.array([snippet_starts(19, 16, 5, generator=generator) for _ in range(100)])
    assert (np.diff(starts) >= 0).all() and set(starts.ravel()) == set(range(15))
    assert len(np.unique(starts, axis=0)) > 90  # each epoch sees another clip
    assert drawn(3, 5, 7) == [{0}] * 5


@given(st.integers(1, 500), st.integers(1, 20), st.integers(1, 12), st.integers(0, 2**32))
def test_random_snippets_rise_and_end_inside_the_video(
    num_frames: int, num_segments: int, snippet_length: int, seed: int
) -> None:
    starts = snippet_starts(num_frames, num_segments, snippet_length, generator=np.random.default_rng(seed))
    assert len(starts) == num_segments and starts.dtype == np.int64
    assert (np.diff(starts) >= 0).all() and (starts >= 0).all()
    assert (starts <= max(num_frames - snippet_length, 0)).all()


def test_the_same_generator_gives_the_same_starts() -> None:
    first, second = (snippet_starts(100, 4, 3, generator=np.random.default_rng(7)).tolist() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", ["num_frames", "num_segments", "snippet_length"])
def test_counts_below_one_are_named(name: str) -> None:
    arguments = {"num_frames": 5, "num_segments": 2, "snippet_length": 1, name: 0}
    with pytest.raises(ValueError, match=f"{name} is 0"):
        snippet_starts(**arguments)


def test_a_run_starts_anywhere_that_it_fits_or_in_the_middle() -> None:
    generator = np.random.default_rng(0)
    assert {run_start(10, 7, generator=generator) for _ in range(100)} == {0, 1, 2, 3}
    assert [run_start(count, 7) for count in (10, 7, 3)] == [1, 0, 0]
    assert run_start(3, 7, generator=generator) == 0


def test_a_consecutive_clip_is_one_run_from_a_random_start() -> None:
    generator, shape = np.random.default_rng(0), ClipShape(30, 1, 8)
    starts = set()
    for _ in range(4000):
        places = CONSECUTIVE.places(300, shape, generator=generator)
        assert places.shape == (30, 1) and (np.diff(places.ravel()) == 1).all()
        starts.add(int(places[0, 0]))
    assert starts == set(range(271))
    assert CONSECUTIVE.places(300, shape).ravel().tolist() == list(range(135, 165))
    assert CONSECUTIVE.places(20, ClipShape(2, 3, 8)).tolist() == [[7, 8, 9], [10, 11, 12]]


def test_a_consecutive_clip_of_a_short_video_repeats_it_from_its_start() -> None:
    for generator in (None, np.random.default_rng(0)):
        places = CONSECUTIVE.places(4, ClipShape(10, 1, 8), generator=generator)
        assert places.ravel().tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_a_clip_of_a_repeated_video_may_run_across_the_seam() -> None:
    generator = np.random.default_rng(0)
    clips = {tuple(CONSECUTIVE.places(4, ClipShape(3, 1, 8), repeat_to=6, generator=generator).flat) for _ in range(99)}
    assert clips == {(0, 1, 2), (1, 2, 3), (2, 3, 0), (3, 0, 1)}


def test_segments_of_a_short_video_repeat_its_last_frame() -> None:
    assert Cut().places(2, ClipShape(2, 3, 8)).tolist() == [[0, 1, 1], [0, 1, 1]]
    assert Cut().places(2, ClipShape(2, 3, 8), repeat_to=3).tolist() == [[0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize("kind", ["segments", "consecutive"])
def test_rows_that_must_follow_a_clip_do(kind: str) -> None:
    generator = np.random.default_rng(0)
    last = {int(Cut(kind).places(10, ClipShape(1, 4, 8), after=1, generator=generator)[0, -1]) for _ in range(200)}
    assert last == set(range(3, 9))


@pytest.mark.parametrize(
    ("pts_seconds", "fps", "rows"),
    [
        (np.arange(30) / 30, 30, list(range(30))),
        (np.arange(30) / 30, 6, [0, 5, 10, 15, 20, 25]),
        (np.arange(31) / 30, 6, [0, 5, 10, 15, 20, 25, 30]),
        (np.round(np.arange(12) / 30, 3), 10, [0, 3, 6, 9]),  # as Matroska rounds
        (np.arange(8) / 25, 10, [0, 2, 5, 7]),
        (np.array([5.0, 5.5, 6.0]), 1, [0, 2]),
        (np.array([0.0, 0.1, 0.9, 1.0]), 10, [0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3]),  # the second is on screen for long
        (np.array([3.0]), 6, [0]),
    ],
)
def test_rows_at_a_rate_are_those_on_screen(pts_seconds: np.ndarray, fps: float, rows: list[int]) -> None:
    assert rows_at_rate(pts_seconds, fps).tolist() == rows


def test_thirty_frames_are_one_second_at_30_fps_and_five_at_6(make_shards) -> None:
    frames = np.zeros((300, 8, 8, 3), np.uint8)
    reader = make_shards([("a", "train", (0,), frames)], class_names=("x",), frames_per_second=30.0)
    video, shape, times = reader.videos[0], ClipShape(30, 1, 8), reader.times("a")
    for fps, seconds in ((None, 29 / 30), (30, 29 / 30), (6, 29 / 6)):
        for generator in (None, np.random.default_rng(0)):
            rows = Cut("consecutive", fps).rows(reader, video, shape, generator=generator)
            assert times[rows[-1, 0]] - times[rows[0, 0]] == pytest.approx(seconds)


def test_unknown_cuts_and_impossible_rates_are_named() -> None:
    with pytest.raises(ValueError, match="cut is 'random'; known cuts: segments, consecutive"):
        Cut("random")
    with pytest.raises(ValueError, match="fps is 0; it must be a number above 0, or None"):
        Cut(fps=0)
