"""Text from files: nothing in it controls a terminal, and names that look the same are known to."""

from __future__ import annotations

import unicodedata

import pytest

from tdn_data.pipeline.text import appearance, has_controls, shown_text, without_controls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b é 走 🙂", "a b é 走 🙂"),
        ("a\x1b[31m", "a\\x1b[31m"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x9b2J\0\x7f", "\\x9b2J\\x00\\x7f"),
        ("\u202egpj", "\\u202egpj"),
        ("a\u200bb\u00a0c", "a\\u200bb\\xa0c"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_does_not_print_is_escaped(text, shown):
    assert shown_text(text) == shown and shown.isprintable()


def test_a_console_keeps_its_line_breaks_and_the_letters_of_every_script():
    assert without_controls("a\n\tb\x1b[0m\r\u2028\u202e") == "a\n\tb\\x1b[0m\\r\\u2028\\u202e"
    assert without_controls("e\u0301 \U0001f468\u200d\U0001f469 \u00a0") == "e\u0301 \U0001f468\u200d\U0001f469 \u00a0"


@pytest.mark.parametrize("text", ["a\nb", "\x1b", "\0", "\x85", "\u2028", "\u202e"])
def test_controls_are_found(text):
    assert has_controls(text)
    assert not has_controls("e\u0301 \u200b\u00a0 走")


@pytest.mark.parametrize(
    "other",
    [
        unicodedata.normalize("NFD", "Café crème"),
        "café crème",
        "Café\u00a0crème",
        "Café  crème ",
        "Caf\u200bé crème",
        "Cafe\u0301 cr\u00e8\u00adme",
        "Ｃafé crème",
    ],
)
def test_names_that_look_the_same_have_one_appearance(other):
    assert other != "Café crème" and appearance(other) == appearance("Café crème")


def test_other_names_have_another_appearance():
    names = ["cafe creme", "Café crème", "run", "run 2", "走", "跑", "straße"]
    assert len({appearance(name) for name in names}) == len(names)
