"""Text as pixels, in every script that a font of this machine has.

First comes DejaVu Sans, which matplotlib brings along (Latin, Greek, Cyrillic, Arabic, Hebrew, ...), then the fonts of
the system in the order of their paths. What no font has is written out: a symbol by its name, a letter by its number.
"""

from __future__ import annotations

import os
import unicodedata
from functools import lru_cache
from importlib.util import find_spec
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tdn_data.pipeline.text import shown_text

Colour = tuple[int, int, int]

_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
)
_SUFFIXES = (".ttf", ".otf", ".ttc")
_MAX_FONTS = 300  # that are looked into for a letter
_SMALLEST_SIZE = 11  # pixels; fonts of bitmaps in one other size are of no use


def drawable(text: str) -> str:
    """Return text of which every character can be drawn: line breaks and the like escaped, what no font has named."""
    return "".join(map(_named, shown_text(text)))


def text_width(text: str, size: int) -> int:
    """Return the width in pixels of a `drawable` text in letters of `size` pixels."""
    return round(sum(_font(path, size).getlength(run) for path, run in _runs(text)))


def with_text(picture: np.ndarray, text: str, *, left: int, baseline: int, size: int, colour: Colour) -> np.ndarray:
    """Return a copy of a picture, uint8 (H, W, 3), with a `drawable` text that stands on row `baseline`."""
    image = Image.fromarray(picture)
    draw, position = ImageDraw.Draw(image), float(left)
    for path, run in _runs(text):
        font = _font(path, size)
        draw.text((position, baseline), run, font=font, fill=colour, anchor="ls")
        position += font.getlength(run)
    return np.array(image)


def _named(char: str) -> str:
    if "\ufe00" <= char <= "\ufe0f":  # asks for another form of the character before it
        return ""
    if _font_of(char) is not None:
        return char
    name = unicodedata.name(char, "").lower().replace(" ", "_")
    is_symbol = unicodedata.category(char).startswith("S")
    return f":{name}:" if is_symbol and name else char.encode("unicode_escape").decode("ascii")


def _runs(text: str) -> list[tuple[str, str]]:
    """Return (font, characters) for each part of a text that one font draws."""
    fonts: list[str] = []
    for char in text:
        before = fonts[-1] if fonts else _default_font()
        is_mark = bool(unicodedata.combining(char)) and ord(char) in _coverage(before)
        fonts.append(before if is_mark else _font_of(char) or _default_font())
    pairs = groupby(zip(fonts, text, strict=True), key=lambda pair: pair[0])
    return [(path, "".join(char for _, char in run)) for path, run in pairs]


@lru_cache(maxsize=1 << 14)
def _font_of(char: str) -> str | None:
    """Return the first font that has a character, None where none has it."""
    if " " <= char <= "~":
        return _default_font()
    return next((path for path in _font_files() if ord(char) in _coverage(path)), None)


@lru_cache(maxsize=1)
def _default_font() -> str:
    return str(Path(find_spec("matplotlib").origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf")


@lru_cache(maxsize=1)
def _font_files() -> tuple[str, ...]:
    """Return the fonts that there are, the default font first."""
    found = (
        os.path.join(folder, name)
        for top in _FOLDERS
        for folder, _, names in sorted(os.walk(os.path.expanduser(top)))
        for name in sorted(names)
        if name.lower().endswith(_SUFFIXES)
    )
    return (_default_font(), *islice(found, _MAX_FONTS))


@lru_cache(maxsize=_MAX_FONTS + 1)
def _coverage(path: str) -> frozenset[int]:
    """Return the characters that a font has; none of one that cannot be used."""
    from matplotlib.ft2font import FT2Font  # only needed beyond ASCII

    try:
        _font(path, _SMALLEST_SIZE)
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@lru_cache(maxsize=64)
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
