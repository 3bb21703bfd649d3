"""Text as pixels: every character is drawn as itself or written out, and none changes the layout."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.view import lettering
from tdn_data.pipeline.view.lettering import drawable, text_width, with_text

INK, SIZE = (0, 0, 0), 14


def drawn(text):
    paper = np.full((30, 200, 3), 255, np.uint8)
    return with_text(paper, text, left=2, baseline=20, size=SIZE, colour=INK)


@pytest.fixture
def only_the_font_that_comes_along(monkeypatch):
    """A machine without fonts of its own."""
    monkeypatch.setattr(lettering, "_FOLDERS", ())
    for function in (lettering._font_files, lettering._font_of):
        function.cache_clear()
    yield
    for function in (lettering._font_files, lettering._font_of):
        function.cache_clear()


@pytest.mark.parametrize("text", ["Café", "прыжок", "άλμα", "שלום", "e\u0301"])
def test_scripts_of_the_font_that_comes_along_are_drawn_as_themselves(only_the_font_that_comes_along, text):
    assert drawable(text) == text
    boxes = drawn("\u0378" * len(text))  # no character: what a font draws for those that it lacks
    assert (drawn(text) < 128).any() and not np.array_equal(drawn(text), boxes)
    assert not np.array_equal(drawn(text), drawn("?" * len(text)))


def test_what_no_font_has_is_written_out(only_the_font_that_comes_along):
    assert drawable("走.mp4") == "\\u8d70.mp4"
    assert drawable("a\U0001f9ff\ufe0f") == "a:nazar_amulet:"
    assert drawable("a\nb\x1b\u200b") == "a\\nb\\x1b\\u200b"
    assert drawable("走") != drawable("跑")


def test_a_font_of_the_system_is_taken_where_it_has_the_letter(only_the_font_that_comes_along, tmp_path, monkeypatch):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    other = lettering._default_font().replace("DejaVuSans.ttf", "STIXGeneral.ttf")
    (tmp_path / "z.ttf").symlink_to(other)
    letter = chr(min(lettering._coverage(other) - lettering._coverage(lettering._default_font())))
    monkeypatch.setattr(lettering, "_FOLDERS", (str(tmp_path),))
    lettering._font_files.cache_clear()
    lettering._font_of.cache_clear()
    assert lettering._font_of(letter) == str(tmp_path / "z.ttf") and lettering._font_of("a").endswith("DejaVuSans.ttf")


def test_a_text_is_as_wide_as_it_is_said_to_be_and_the_picture_is_not_changed():
    paper = np.full((30, 400, 3), 255, np.uint8)
    for text in ("WWWW", "прыжок в высоту", "iiii"):
        columns = np.flatnonzero((with_text(paper, text, left=0, baseline=20, size=SIZE, colour=INK) < 250).any((0, 2)))
        assert columns.max() + 1 == pytest.approx(text_width(text, SIZE), abs=2)
    assert (paper == 255).all()
