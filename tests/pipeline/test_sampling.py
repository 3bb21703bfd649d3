"""Index arithmetic, in exact tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn_data.pipeline.sampling import frames_at, grid_count, grid_times, grid_tolerance


@pytest.mark.parametrize(
    ("duration", "step", "times"),
    [
        (10.0, {"every_seconds": 3}, [0, 3, 6, 9]),
        (9.0, {"every_seconds": 3}, [0, 3, 6]),
        (9.0000001, {"every_seconds": 3}, [0, 3, 6]),  # the end, rounded up
        (9.01, {"every_seconds": 3}, [0, 3, 6, 9]),
        (0.5, {"every_seconds": 3}, [0]),
        (0.0, {"every_seconds": 3}, []),
        (0.4, {"fps": 10}, [0, 0.1, 0.2, 0.3]),
        (1e-7, {"fps": 10}, [0]),
    ],
)
def test_a_grid_begins_at_zero_and_stays_below_the_duration(duration, step, times):
    np.testing.assert_allclose(grid_times(duration, **step), times, atol=1e-12)
    assert grid_count(duration, **step) == len(times)


def test_an_end_rounded_to_milliseconds_adds_no_time():
    assert grid_count(10.334, fps=30, tick_seconds=0.001) == 310  # 310 frames of 33.3 ms, each end rounded
    assert grid_count(10.334, fps=30) == 311


@given(st.integers(1, 20_000), st.sampled_from([10, 24, 25, 30, 50, 60, 24000 / 1001, 30000 / 1001]))
def test_n_frames_at_their_own_rate_are_n_times_one_per_frame(num_frames, fps):
    stored = np.round(np.arange(num_frames) / fps, 3)  # as Matroska does
    end = round(num_frames / fps, 3)
    times = grid_times(end, fps=fps, tick_seconds=0.001)
    assert len(times) == num_frames
    frames = frames_at(stored, times, tolerance_seconds=grid_tolerance(0.001))
    np.testing.assert_array_equal(frames, np.arange(num_frames))


def test_frame_at_t_is_the_last_with_a_timestamp_not_after_t():
    pts = np.array([0.0, 0.1, 0.5, 0.6])
    assert frames_at(pts, [0, 0.09, 0.1, 0.49, 0.5, 0.59, 7]).tolist() == [0, 0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("tick", "tolerance"), [(0.0, 1e-6), (1 / 15360, 1 / 30720 + 1e-6), (0.001, 0.000501), (1 / 30, 0.000501)]
)
def test_tolerance_is_half_a_tick_within_reason(tick, tolerance):
    assert grid_tolerance(tick) == pytest.approx(tolerance)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one must be given"),
        ({"fps": 1, "every_seconds": 1}, "exactly one must be given"),
        ({"fps": 0}, "fps is 0"),
        ({"every_seconds": float("inf")}, "every_seconds is inf"),
    ],
)
def test_wrong_steps_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        grid_times(10.0, **options)


def test_no_frame_at_all_is_an_error():
    with pytest.raises(ValueError, match="pts_seconds is empty"):
        frames_at(np.array([]), [0.0])
