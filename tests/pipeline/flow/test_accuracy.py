"""The end-point error."""

import numpy as np
import pytest

from tdn_data.pipeline.flow import end_point_error


def test_distance_is_euclidean_and_averaged():
    truth = np.zeros((1, 2, 2))
    flow = np.array([[[3.0, 4.0], [0.0, 0.5]]])
    error = end_point_error(flow, truth)
    assert (error.mean, error.median, error.share_above_1px) == (2.75, 2.75, 0.5)


@pytest.mark.parametrize("unknown", [1e10, np.nan, np.inf])
def test_unknown_pixels_are_left_out(unknown):
    truth = np.zeros((1, 3, 2))
    truth[0, 1, 0] = unknown
    error = end_point_error(np.ones((1, 3, 2)), truth)
    assert error.mean == pytest.approx(np.sqrt(2))
    assert (error.num_known, error.num_unknown) == (2, 1)


def test_shapes_that_differ_and_truths_without_a_known_pixel_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2, 2\).*\(2, 3, 2\)"):
        end_point_error(np.zeros((2, 2, 2)), np.zeros((2, 3, 2)))
    with pytest.raises(ValueError, match="no pixel"):
        end_point_error(np.zeros((1, 1, 2)), np.full((1, 1, 2), 1e10))
