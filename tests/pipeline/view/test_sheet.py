"""Pieces of picture sheets: their sizes, frames and proportions."""

import numpy as np
import pytest

from tdn_data.pipeline.view.sheet import (
    CAPTION_HEIGHT,
    FRAME,
    INK,
    KEY_SIDE,
    MARGIN,
    MAX_ASPECT,
    MAX_CAPTION_WIDTH,
    PALE,
    caption_width,
    elided,
    flow_key,
    framed_thumbnail,
    labelled_thumbnail,
    resize_to_height,
    stack_bands,
)

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


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (0, 220, 255)])
def test_a_time_stamp_stands_out_from_any_picture(colour):
    image = np.full((144, 192, 3), colour, np.uint8)
    plate = labelled_thumbnail(image, 144, "1.25 s")[118:140, MARGIN + 3 : MARGIN + 40].reshape(-1, 3).astype(int)
    letters, ground = plate[(plate > 200).all(axis=1)], plate[(plate == INK).all(axis=1)]
    assert len(letters) > 30 and len(ground) > 300


@pytest.mark.parametrize(
    "text",
    [
        "v/" + "long_name_" * 25 + "   [run]   train",
        "one\nline\tand\0 no other",
        "ünïcödé",
        "",
        "x" * 5000,
        "漢字/" * 125,
        "прыжок \U0001f3c3 " * 30,
        "\u0301" * 400,
        "שלום مرحبا",
    ],
)
def test_no_text_changes_the_layout(text):
    sheet = stack_bands([(np.zeros((20, 300, 3), np.uint8), text), (np.zeros((20, 300, 3), np.uint8), "b")])
    assert sheet.shape[0] == 2 * (CAPTION_HEIGHT + 20) + MARGIN
    assert 300 < sheet.shape[1] <= MAX_CAPTION_WIDTH + MARGIN
    assert (sheet[:CAPTION_HEIGHT, 1 - MARGIN :] == 255).all()  # nothing runs over the right margin


def test_a_caption_that_is_cut_keeps_its_beginning_and_its_end():
    assert elided("short", 500) == "short"
    cut = elided("v/" + "a" * 400 + "   [run]   train, 12 stored", 500)
    assert cut.startswith("v/aaa") and " ... " in cut and cut.endswith("[run]   train, 12 stored")
    assert caption_width(cut) <= 500 + MARGIN


@pytest.mark.parametrize("shape", [(2, 4000, 3), (2, 4000, 2), (4000, 2, 3), (48, 48, 2)])
def test_no_shape_of_picture_makes_a_sheet_without_bounds(shape):
    small = resize_to_height(np.zeros(shape, np.uint8 if shape[2] == 3 else np.float32), 144)
    assert small.shape[0] == 144 and 1 <= small.shape[1] <= MAX_ASPECT * 144 and small.shape[2] == shape[2]


def test_the_key_shows_the_wheel_with_its_directions_and_its_unit():
    key = flow_key(3.2, 760)
    assert key.shape[1] == 760 and (key[:, -MARGIN:] == 255).all()
    middle, right, left = (key[KEY_SIDE // 2, MARGIN + column] for column in (KEY_SIDE // 2, KEY_SIDE - 2, 1))
    assert middle.min() > 225  # still is white
    assert right[0] > 240 and right[1:].max() < 60  # to the right is red
    assert left[0] < 60 and left[1:].min() > 150  # to the left is its opposite
    assert not np.array_equal(key, flow_key(6.4, 760))  # the number is drawn
