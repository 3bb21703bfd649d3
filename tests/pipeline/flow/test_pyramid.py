"""Pyramids against the reference, which shares no code with them."""

import numpy as np
import pytest

from tdn_data.pipeline.flow import reference
from tdn_data.pipeline.flow.pyramid import enlarge, image_pyramid, linear_taps
from tdn_data.pipeline.flow.tvl1_parameters import PRESETS


def test_resizing_from_corner_to_corner_puts_pixel_zero_at_zero():
    taps = linear_taps(8, 6, step=1.25, centered=False)
    assert taps.low.tolist() == [0, 1, 2, 3, 5, 6]
    assert taps.high.tolist() == [1, 2, 3, 4, 6, 7]
    assert taps.share.tolist() == [0, 0.25, 0.5, 0.75, 0, 0.25]


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize(
    ("size", "new_size", "step"), [(340, 272, 1.25), (272, 340, None), (41, 33, 1.25), (1, 3, None)]
)
def test_taps_are_the_references(size, new_size, step, centered):
    for ours, expected in zip(
        linear_taps(size, new_size, step=step, centered=centered),
        reference.linear_taps(size, new_size, step, centered),
        strict=True,
    ):
        assert ours.dtype == expected.dtype and np.array_equal(ours, expected)


@pytest.mark.parametrize(("preset", "tolerance"), [("opencv", 1e-4), ("opencv-cuda", 0)])
def test_levels_and_enlarged_flow_are_the_references(preset, tolerance):
    parameters = PRESETS[preset]
    image = np.random.default_rng(0).integers(0, 256, (97, 130), np.uint8)
    levels, expected = image_pyramid(image, parameters), reference.pyramid(image, parameters)
    assert [level.shape for level in levels] == parameters.level_shapes(97, 130)
    for ours, truth in zip(levels, expected, strict=True):
        assert np.abs(ours - truth).max() <= tolerance
    larger = reference.resize(expected[1], expected[0].shape, None, parameters) * np.float32(1 / parameters.scale_step)
    assert np.abs(enlarge(expected[1], expected[0].shape, parameters) - larger).max() <= tolerance


def test_flow_of_the_same_size_is_copied():
    plane = np.zeros((20, 24), np.float32)
    assert enlarge(plane, plane.shape, PRESETS["opencv"]) is not plane
