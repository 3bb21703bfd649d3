"""Pieces of picture sheets: their sizes, frames and proportions."""

import numpy as np
import pytest

from pipeline.sheet import CAPTION_HEIGHT, FRAME, MARGIN, PALE, framed_thumbnail, labelled_thumbnail, stack_bands

GREEN = (0, 200, 0)


@pytest.mark.parametrize(("height", "width"), [(20, 60), (60, 20), (300, 100), (40, 40)])
def test_a_framed_picture_keeps_its_proportions_inside_a_square(height, width):
    picture = framed_thumbnail(np.full((height, width, 3), 250, np.uint8), 100, "", GREEN)
    assert picture.shape == (100 + MARGIN, 100 + MARGIN, 3)
    framed = picture[:100, MARGIN:]  # the margin is at the left and below
    assert (framed[:FRAME] == GREEN).all() and (framed[:, -FRAME:] == GREEN).all()
    inside = framed[FRAME:-FRAME, FRAME:-FRAME]
    shown = (inside != PALE).any(axis=2)
    rows, columns = shown.any(axis=1).sum(), shown.any(axis=0).sum()
    assert max(rows, columns) == 100 - 2 * FRAME
    assert rows / columns == pytest.approx(height / width, rel=0.05)


def test_text_is_drawn_on_a_copy():
    image = np.zeros((50, 80, 3), np.uint8)
    assert labelled_thumbnail(image, 50, "7").shape == (50 + MARGIN, 80 + MARGIN, 3)
    assert labelled_thumbnail(image, 50, "7")[:50, MARGIN:].any() and not image.any()


def test_bands_are_as_wide_as_the_widest_of_them_and_of_their_captions():
    bands = [(np.zeros((10, 50, 3), np.uint8), "a"), (np.zeros((20, 90, 3), np.uint8), "b")]
    assert stack_bands(bands).shape == (2 * CAPTION_HEIGHT + 30 + MARGIN, 90 + MARGIN, 3)
    assert stack_bands(bands, min_width=200).shape[1] == 200 + MARGIN
    caption = stack_bands([(bands[0][0], "a caption that is wider than its picture")])
    assert caption.shape[1] > 200 and (caption[:CAPTION_HEIGHT, 1 - MARGIN :] == 255).all()
