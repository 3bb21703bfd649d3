"""What single frames tell of the built-in set's classes."""

import numpy as np
import pytest

from tdn_data.models.claims.ceiling import single_frame_ceiling
from tdn_data.pipeline.datasets.demo import CLASS_NAMES, PAIRS, draw_states


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_classes_of_a_pair_have_the_same_states_in_opposite_order(first, second):
    forwards, backwards = (draw_states(name, seed=4, num_frames=7) for name in (first, second))
    np.testing.assert_array_equal(forwards, backwards[::-1])
    assert not np.array_equal(forwards, backwards)


def test_perfect_vision_of_single_frames_is_better_than_chance_and_right_half_the_time_at_most():
    share = single_frame_ceiling(num_train=60, num_test=60)
    assert 1 / len(CLASS_NAMES) + 0.1 < share <= 0.5 + 0.07  # three standard deviations of the mean of 480 clips
    assert single_frame_ceiling(num_train=60, num_test=60) == share
