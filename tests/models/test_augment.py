"""Crops and mirrors: every frame of a clip gets the same one."""

from __future__ import annotations

import numpy as np
import pytest

from models.augment import (
    SCALES,
    Augment,
    center_crop,
    crops_of,
    mirror,
    resize_clip,
    ten_crops,
    three_crops,
)


def _clip(height: int = 6, width: int = 8, channels: int = 3) -> np.ndarray:
    """Each pixel says where it is: channel 0 the row, channel 1 the column, the rest the frame's number."""
    clip = np.zeros((2, 3, height, width, channels), np.uint8)
    clip[..., 0] = np.arange(height)[:, None]
    clip[..., 1] = np.arange(width)
    if channels == 3:
        clip[..., 2] = np.arange(6).reshape(2, 3, 1, 1)
    return clip


def test_ten_crops_are_corners_centre_and_their_reflections() -> None:
    crops = ten_crops(_clip(), 4)
    assert [tuple(crop[0, 0, 0, 0, :2]) for crop in crops[:5]] == [(0, 0), (0, 4), (2, 0), (2, 4), (1, 2)]
    for crop, reflected in zip(crops[:5], crops[5:], strict=True):
        np.testing.assert_array_equal(reflected, crop[..., ::-1, :])
    np.testing.assert_array_equal(center_crop(_clip(), 4), crops[4])


def test_mirrored_flow_changes_the_sign_of_x_only() -> None:
    flow = np.full((1, 1, 2, 2, 2), 128, np.uint8)
    flow[..., 0, :] = (200, 30)
    mirrored = mirror(flow)
    assert mirrored[0, 0, 0, 1].tolist() == [55, 30]
    np.testing.assert_array_equal(mirror(mirrored), flow)


def test_mirror_leaves_its_argument_alone() -> None:
    flow = np.full((1, 1, 2, 2, 2), 7, np.uint8)
    mirror(flow)
    assert (flow == 7).all()


def test_three_crops_run_along_the_longer_side() -> None:
    wide, tall = _clip(), _clip().swapaxes(2, 3)[..., [1, 0, 2]]
    assert [tuple(crop[0, 0, 0, 0, :2]) for crop in three_crops(wide, 4)] == [(1, 0), (1, 2), (1, 4)]
    assert [tuple(crop[0, 0, 0, 0, :2]) for crop in three_crops(tall, 4)] == [(0, 1), (2, 1), (4, 1)]
    assert [crop.shape for crop in three_crops(wide, 6)] == [(*wide.shape[:2], 6, 6, 3)] * 3
    np.testing.assert_array_equal(three_crops(wide, 4)[1], center_crop(wide, 4))


@pytest.mark.parametrize(("num_crops", "size"), [(1, 7), (3, 7), (10, 7)])
def test_a_test_clip_smaller_than_its_crops_is_refused(num_crops: int, size: int) -> None:
    with pytest.raises(ValueError, match="6 x 8 pixels; a crop of 7 does not fit"):
        crops_of(_clip(), size, num_crops)


@pytest.mark.parametrize("crop", ["corner", "random", "center"])
def test_every_frame_of_a_clip_gets_the_same_crop(crop: str) -> None:
    clip = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 1, 20, 24, 3), dtype=np.uint8), 6, axis=1)
    augment, generator = Augment(16, crop, True), np.random.default_rng(1)
    for _ in range(20):
        out, _ = augment(clip, generator)
        assert out.shape == (1, 6, 16, 16, 3)
        assert (out == out[:, :1]).all()


def test_random_crop_reaches_every_place() -> None:
    augment, generator = Augment(4, "random"), np.random.default_rng(0)
    places = {tuple(augment(_clip(), generator)[0][0, 0, 0, 0, :2].tolist()) for _ in range(400)}
    assert places == {(row, column) for row in range(3) for column in range(5)}


def test_corner_crop_takes_the_papers_scales() -> None:
    clip = np.zeros((1, 1, 100, 120, 3), np.uint8)
    clip[..., 0] = np.arange(100)[:, None] * 2  # rows are 2 levels apart: the range seen is the height cropped
    augment, generator = Augment(50, "corner"), np.random.default_rng(0)
    heights = {round((np.ptp(augment(clip, generator)[0][..., 0])) / 2 / 25) for _ in range(200)}
    assert heights == {round(100 * scale / 25) for scale in SCALES}


def test_mirror_happens_half_of_the_time_and_is_reported() -> None:
    augment, generator = Augment(4, "center", mirror=True), np.random.default_rng(0)
    seen = [augment(_clip(), generator) for _ in range(200)]
    for out, mirrored in seen:
        columns = out[0, 0, 0, :, 1].astype(int)
        assert (columns[0] > columns[-1]) == mirrored
    assert 70 < sum(mirrored for _, mirrored in seen) < 130


def test_without_mirror_nothing_is_reflected() -> None:
    augment, generator = Augment(4, "random"), np.random.default_rng(0)
    assert not any(augment(_clip(), generator)[1] for _ in range(50))


def test_resizing_keeps_a_constant_and_the_frames_apart() -> None:
    assert resize_clip(_clip(), 5)[..., 2].reshape(6, -1).std(1).max() == 0
    assert resize_clip(np.full((1, 1, 9, 7, 2), 91, np.uint8), 4).shape == (1, 1, 4, 4, 2)


def test_unknown_crop_is_named() -> None:
    with pytest.raises(ValueError, match="crop is 'round'; known crops: corner, random, center"):
        Augment(8, "round")


@pytest.mark.parametrize("crop", ["random", "center"])
def test_clip_smaller_than_the_crop_is_refused(crop: str) -> None:
    with pytest.raises(ValueError, match="6 x 8 pixels; a crop of 7 does not fit"):
        Augment(7, crop)(_clip(), np.random.default_rng(0))
