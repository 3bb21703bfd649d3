"""Flow as colours."""

import numpy as np
import pytest

from tdn_data.pipeline.flow import flow_to_color
from tdn_data.pipeline.flow.color import color_wheel


def test_the_wheel_has_55_hues_without_a_gap():
    wheel = color_wheel()
    assert wheel.shape == (55, 3)
    assert wheel[0].tolist() == [1, 0, 0]
    assert wheel.max(axis=1).tolist() == [1] * 55
    steps = np.abs(np.diff(wheel, axis=0, append=wheel[:1])).sum(axis=1)
    assert steps.max() <= 0.26


def test_still_is_white_right_is_red_and_unknown_is_black():
    flow = np.array([[[0.0, 0.0], [5.0, 0.0], [1e10, 0.0], [np.nan, 0.0]]])
    still, right, unknown, nan = flow_to_color(flow, max_magnitude=5.0)[0]
    assert still.tolist() == [255, 255, 255]
    assert right[0] == 255
    assert right[1:].max() < 30
    assert unknown.tolist() == nan.tolist() == [0, 0, 0]


def test_directions_differ_and_opposite_ones_are_far_apart():
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    colors = flow_to_color(np.stack([np.cos(angles), np.sin(angles)], axis=-1)[None])[0].astype(int)
    assert len({tuple(color) for color in colors}) == 16
    assert np.abs(colors - np.roll(colors, 8, axis=0)).sum(axis=1).min() > 150


def test_saturation_grows_with_magnitude_up_to_the_largest():
    colors = flow_to_color(np.stack([np.linspace(0, 4, 5), np.zeros(5)], axis=-1)[None])[0].astype(int)
    assert np.all(np.diff(colors[:, 2]) < 0)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        flow_to_color(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="max_magnitude is -1"):
        flow_to_color(np.zeros((4, 4, 2)), max_magnitude=-1)
