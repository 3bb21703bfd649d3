"""Text that comes from files: how it is shown without harm, and whether two names look the same.

An identifier, a label or a path may hold anything. Printed as it is, an escape sequence (ESC, U+009B) recolours or
rewrites a terminal, a line break makes one line two, and marks of writing direction (U+202E) turn what follows around.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_KEPT = frozenset("\n\t")


def shown_text(text: str) -> str:
    """Return text on one line: what is no printable character is escaped, e.g. `\\x1b`, `\\n`, `\\u200b`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Return the first few names, and how many more there are.

    >>> some_of(["a", "b", "c", "d", "e"]), some_of(["a"])
    ('a, b, c and 2 more', 'a')
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def without_controls(text: str) -> str:
    """Return text with its line breaks and tabs, and with all else escaped that would control a terminal."""
    if text.isprintable():
        return text
    return "".join(_escaped(char) if _is_control(char) and char not in _KEPT else char for char in text)


def has_controls(text: str) -> bool:
    """Whether text holds a control character, a line break or a mark of writing direction."""
    return not text.isprintable() and any(map(_is_control, text))


def appearance(name: str) -> str:
    """Return what names that look the same have in common, though their characters differ.

    Compatibility forms and combining accents are composed (NFKC), case is folded, runs of any blanks are one space, and
    what takes no room (zero-width characters, soft hyphens) is left out.
    """
    plain = unicodedata.normalize("NFKC", "".join(char for char in name if unicodedata.category(char) != "Cf"))
    return " ".join(unicodedata.normalize("NFKC", plain.casefold()).split())


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Zl", "Zp") or char in _DIRECTIONS


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
