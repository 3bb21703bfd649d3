"""Flow as bytes."""

import numpy as np
import pytest

from tdn_data.pipeline.flow import dequantize, flow_statistics, quantize


def test_discretisation_is_the_two_stream_formula():
    flow = np.array([-40.0, -20.0, -10.0, 0.0, 0.0784, 10.0, 20.0, 99.0])
    assert quantize(flow, 20).tolist() == [0, 0, 64, 128, 128, 191, 255, 255]
    assert quantize(flow, 40).tolist() == [0, 64, 96, 128, 128, 159, 191, 255]


def test_every_byte_survives_the_way_back_and_forth():
    levels = np.arange(256, dtype=np.uint8)
    for bound in (1.0, 20.0, 40.0, 33.3):
        assert np.array_equal(quantize(dequantize(levels, bound), bound), levels)


def test_error_of_the_code_is_half_a_level_at_most():
    flow = np.random.default_rng(0).uniform(-20, 20, (50, 60, 2)).astype(np.float32)
    assert np.abs(dequantize(quantize(flow, 20), 20) - flow).max() <= 20 / 255 + 1e-5


def test_infinite_flow_is_clipped_and_nan_is_refused():
    assert quantize(np.array([np.inf, -np.inf]), 20).tolist() == [255, 0]
    with pytest.raises(ValueError, match="not numbers"):
        quantize(np.array([0.0, np.nan]), 20)


@pytest.mark.parametrize("bound", [0, -1, float("nan"), float("inf")])
def test_a_bound_that_is_no_positive_number_is_refused(bound):
    for action in (quantize, flow_statistics):
        with pytest.raises(ValueError, match="bound is"):
            action(np.zeros((2, 2, 2)), bound)
    with pytest.raises(ValueError, match="bound is"):
        dequantize(np.zeros(2, np.uint8), bound)


def test_only_bytes_are_turned_back_into_flow():
    with pytest.raises(TypeError, match="float64"):
        dequantize(np.zeros(3), 20)


def test_statistics_count_pixels_with_a_component_above_the_bound():
    flow = np.zeros((2, 2, 2), np.float32)
    flow[0, 0] = (3, 4)
    flow[1, 1] = (0, -25)
    statistics = flow_statistics(flow, 20)
    assert statistics.clipped_share == 0.25
    assert statistics.mean_magnitude == pytest.approx((5 + 25) / 4)


def test_statistics_of_nothing_are_refused():
    with pytest.raises(ValueError, match=r"\(0, 4, 2\)"):
        flow_statistics(np.zeros((0, 4, 2)), 20)
