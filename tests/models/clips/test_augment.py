"""Crops and mirrors: every frame of a clip gets the same one."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.models.clips.augment import (
    SCALES,
    TRAINING_CROPS,
    Augment,
    View,
    center_crop,
    crops_of,
    jitter_colors,
    mirror,
    resize_clip,
    resize_flow,
    ten_crops,
    three_crops,
)
from tdn_data.pipeline.flow.quantize import dequantize


def _clip(height: int = 6, width: int = 8, channels: int = 3) -> np.ndarray:
    """Each pixel says where it is: channel 0 the row, channel 1 the column, the rest the frame's number."""
    clip = np.zeros((2, 3, height, width, channels), np.uint8)
    clip[..., 0] = np.arange(height)[:, None]
    clip[..., 1] = np.arange(width)
    if channels == 3:
        clip[..., 2] = np.arange(6).reshape(2, 3, 1, 1)
    return clip


def augmented(augment: Augment, clip: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, View]:
    """Return a clip (S, K, H, W, C) augmented, and the view of it."""
    pictures = list(clip.reshape(-1, *clip.shape[2:]))
    return augment(pictures, np.arange(len(pictures)).reshape(clip.shape[:2]), generator)


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


def test_mirrored_numbers_are_mirrored_levels() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (1, 2, 3, 4, 2), dtype=np.uint8)
    np.testing.assert_allclose(mirror(dequantize(levels, 20.0)), dequantize(mirror(levels), 20.0), atol=1e-5)


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


@pytest.mark.parametrize("crop", TRAINING_CROPS)
def test_every_frame_of_a_clip_gets_the_same_crop(crop: str) -> None:
    clip = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 1, 20, 24, 3), dtype=np.uint8), 6, axis=1)
    augment, generator = Augment(16, crop, True), np.random.default_rng(1)
    for _ in range(20):
        out, _ = augmented(augment, clip, generator)
        assert out.shape == (1, 6, 16, 16, 3)
        assert (out == out[:, :1]).all()


def test_a_clip_shows_its_frames_in_the_order_of_their_places() -> None:
    pictures = [np.full((6, 8, 3), number, np.uint8) for number in range(3)]
    for places in ([[0, 1], [1, 2]], [[2, 0], [1, 1]], [[0], [1], [2]]):
        clip, _ = Augment(4, "corner", True)(pictures, np.array(places), np.random.default_rng(0))
        assert clip[..., 0, 0, 0].tolist() == places


def test_pictures_that_cannot_be_written_to_are_not() -> None:
    pictures = [np.frombuffer(bytes(range(48)), np.uint8).reshape(4, 4, 3)]
    for size in (2, 3, 4):
        for mirrored in (False, True):
            shown = View(0, 0, 4, 4, size, mirrored).of_pictures(pictures)
            assert shown.shape == (1, size, size, 3) and shown.flags.c_contiguous
    assert pictures[0].tobytes() == bytes(range(48))


def test_random_crop_reaches_every_place() -> None:
    augment, generator = Augment(4, "random"), np.random.default_rng(0)
    places = {tuple(augmented(augment, _clip(), generator)[0][0, 0, 0, 0, :2].tolist()) for _ in range(400)}
    assert places == {(row, column) for row in range(3) for column in range(5)}


def test_corner_crop_takes_the_papers_scales() -> None:
    clip = np.zeros((1, 1, 100, 120, 3), np.uint8)
    clip[..., 0] = np.arange(100)[:, None] * 2  # rows are 2 levels apart: the range seen is the height cropped
    augment, generator = Augment(50, "corner"), np.random.default_rng(0)
    heights = {round((np.ptp(augmented(augment, clip, generator)[0][..., 0])) / 2 / 25) for _ in range(200)}
    assert heights == {round(100 * scale / 25) for scale in SCALES}


def test_mirror_happens_half_of_the_time_and_is_reported() -> None:
    augment, generator = Augment(4, "center", mirror=True), np.random.default_rng(0)
    seen = [augmented(augment, _clip(), generator) for _ in range(200)]
    for out, view in seen:
        columns = out[0, 0, 0, :, 1].astype(int)
        assert (columns[0] > columns[-1]) == view.mirrored
    assert 70 < sum(view.mirrored for _, view in seen) < 130


def test_without_mirror_nothing_is_reflected() -> None:
    augment, generator = Augment(4, "random"), np.random.default_rng(0)
    assert not any(augmented(augment, _clip(), generator)[1].mirrored for _ in range(50))


def test_resizing_keeps_a_constant_and_the_frames_apart() -> None:
    assert resize_clip(_clip(), 5, 5)[..., 2].reshape(6, -1).std(1).max() == 0
    assert resize_clip(np.full((1, 1, 9, 7, 2), 91, np.uint8), 4, 3).shape == (1, 1, 4, 3, 2)


def test_flow_for_frames_of_another_size_counts_their_pixels() -> None:
    flow = np.ones((1, 1, 8, 10, 2), np.float32)
    np.testing.assert_allclose(resize_flow(flow, 24, 20), np.broadcast_to((2.0, 3.0), (1, 1, 24, 20, 2)))
    assert resize_flow(flow, 8, 10) is flow


def test_flow_shows_the_frames_window_and_grows_with_it() -> None:
    flow = _clip(20, 24, channels=2).astype(np.float32)  # component 0 is the row, component 1 the column
    view = View(top=2, left=4, height=10, width=5, size=5)
    seen = view.of_flow(flow)[0, 0]
    np.testing.assert_allclose(seen[:, 0, 0], np.arange(2.5, 12, 2))  # five columns to five: as they are
    np.testing.assert_allclose(seen[0, :, 1], np.arange(4, 9) * 0.5)  # ten rows to five: half
    mirrored = View(top=2, left=4, height=10, width=5, size=5, mirrored=True).of_flow(flow)[0, 0]
    np.testing.assert_array_equal(mirrored, seen[:, ::-1] * (-1, 1))


def _spread(clip: np.ndarray) -> float:
    return float(np.ptp(clip.astype(int), axis=-1).mean())


def test_colour_jitter_is_one_change_for_all_frames_and_keeps_grey_grey() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 12, 12, 3), dtype=np.uint8)
    clip = np.repeat(image, 4, axis=1)
    grey = np.repeat(clip[..., :1], 3, axis=-1)
    generator = np.random.default_rng(1)
    spreads, means = [], []
    for _ in range(60):
        changed = jitter_colors(clip, 0.4, generator)
        assert changed.dtype == np.uint8 and (changed == changed[:, :1]).all()
        spreads.append(_spread(changed) / _spread(clip))
        means.append(changed.mean() / clip.mean())
        assert np.ptp(jitter_colors(grey, 0.4, generator).astype(int), axis=-1).max() <= 1  # one level of rounding
    assert min(spreads) < 0.7 and max(spreads) > 1.1
    assert 0.55 < min(means) < 0.8 and 1.1 < max(means) < 1.45


@pytest.mark.parametrize("channels", [2, 3])
def test_colours_change_only_where_they_are_asked_to_and_never_flow(channels: int) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (1, 2, 8, 8, channels), dtype=np.uint8)
    plain, _ = augmented(Augment(8, "center"), clip, np.random.default_rng(0))
    np.testing.assert_array_equal(plain, clip)
    jittered, _ = augmented(Augment(8, "center", color_jitter=0.4), clip, np.random.default_rng(0))
    assert (jittered == clip).all() == (channels == 2)


def test_brightness_contrast_and_saturation_are_the_published_blends() -> None:
    """The three blends one after the other, in the order and with the factors that the generator gives."""
    clip = np.random.default_rng(0).integers(60, 190, (1, 2, 6, 6, 3), dtype=np.uint8)
    weights, generator = np.array([0.299, 0.587, 0.114]), np.random.default_rng(7)
    expected = clip.astype(float)
    for kind in generator.permutation(3):
        factor = 1 + generator.uniform(-0.2, 0.2)
        grey = (expected @ weights)[..., None]
        other = (0.0, grey.mean(), grey)[kind]
        expected = factor * expected + (1 - factor) * other
    actual = jitter_colors(clip, 0.2, np.random.default_rng(7))
    np.testing.assert_allclose(actual, expected.clip(0, 255), atol=1)


def test_impossible_jitter_is_named() -> None:
    with pytest.raises(ValueError, match="color_jitter is 1.5; it must be at least 0 and below 1"):
        Augment(8, color_jitter=1.5)


def test_unknown_crop_is_named() -> None:
    with pytest.raises(ValueError, match="crop is 'round'; known crops: corner, scaled, random, center"):
        Augment(8, "round")


@pytest.mark.parametrize("crop", ["random", "center"])
def test_clip_smaller_than_the_crop_is_refused(crop: str) -> None:
    with pytest.raises(ValueError, match="6 x 8 pixels; a crop of 7 does not fit"):
        augmented(Augment(7, crop), _clip(), np.random.default_rng(0))


def test_the_sides_of_a_window_differ_by_one_scale_at_most_either_way() -> None:
    augment, generator = Augment(50, "corner"), np.random.default_rng(0)
    views = [augment.draw_view(100, 120, generator) for _ in range(300)]
    scales = [round(100 * scale) for scale in SCALES]
    places = {(scales.index(view.height), scales.index(view.width)) for view in views}
    expected = {(first, second) for first in range(4) for second in range(4) if abs(first - second) <= 1}
    assert places == expected


def test_brightness_goes_up_as_often_as_down() -> None:
    grey, generator = np.full((1, 1, 2, 2, 3), 100, np.uint8), np.random.default_rng(0)
    levels = np.array([jitter_colors(grey, 0.4, generator)[0, 0, 0, 0, 0] for _ in range(400)])
    assert 150 < (levels > 100).sum() < 250
    assert levels.min() < 65 and levels.max() > 135


def test_a_centre_crop_lies_in_the_middle_of_both_sides() -> None:
    assert Augment(4, "center").draw_view(10, 8, np.random.default_rng(0)) == View(3, 2, 4, 4, 4)


@pytest.mark.parametrize(
    ("height", "width", "size", "sides"),
    [
        (256, 340, 224, (179, 224)),  # shorter side to 320 and to 256
        (340, 256, 224, (179, 224)),
        (320, 426, 224, (224, 280)),
        (240, 320, 224, (168, 210)),
        (64, 64, 56, (45, 56)),  # in proportion: 64 to 80
    ],
)
def test_a_scaled_crop_is_one_of_frames_with_a_shorter_side_from_256_to_320(
    height: int, width: int, size: int, sides: tuple[int, int]
) -> None:
    augment, generator = Augment(size, "scaled"), np.random.default_rng(0)
    views = [augment.draw_view(height, width, generator) for _ in range(4000)]
    assert all(view.height == view.width and view.size == size for view in views)
    assert (min(view.height for view in views), max(view.height for view in views)) == sides
    assert all(0 <= view.top <= height - view.height and 0 <= view.left <= width - view.width for view in views)
    lengths = np.array([size * min(height, width) / view.height for view in views])
    assert abs(lengths.mean() - size * 288 / 224) < 0.01 * lengths.mean()  # each length as often


def test_a_scaled_crop_reaches_every_place() -> None:
    augment, generator = Augment(16, "scaled"), np.random.default_rng(0)
    views = [augment.draw_view(20, 24, generator) for _ in range(6000)]
    smallest = {(view.top, view.left) for view in views if view.height == 14}
    assert smallest == {(top, left) for top in range(7) for left in range(11)}


def test_a_scaled_crop_shows_what_resizing_first_would_show() -> None:
    ramp = np.zeros((256, 340, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.linspace(0, 255, 256).round()[:, None], np.linspace(0, 255, 340).round()
    view = Augment(224, "scaled").draw_view(256, 340, np.random.default_rng(3))
    scale = 224 / view.height
    whole = resize_clip(ramp[None, None], round(256 * scale), round(340 * scale))[0, 0]
    top, left = round(view.top * scale), round(view.left * scale)
    seen, expected = view.of_pictures([ramp])[0].astype(int), whole[top : top + 224, left : left + 224].astype(int)
    assert abs(seen - expected).max() <= 2
