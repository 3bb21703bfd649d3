"""Numbers as a person reads them, and JSON as programs do."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from rich.table import Table

from tdn_data.stages.cli import console
from tdn_data.stages.cli.console import counted, human_hours


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0, "0.0 s"),
        (2.83e-5, "0.1 s"),
        (0.0101, "36 s"),
        (0.02, "1.2 min"),
        (0.2, "12 min"),
        (1, "1.0 h"),
        (7.94, "7.9 h"),
    ]
    + [(9.96, "10 h"), (315, "315 h"), (999.7, "1,000 h"), (34_612, "34,600 h")],
)
def test_hours_have_a_unit_that_fits(hours: float, words: str) -> None:
    assert human_hours(hours) == words


def test_one_is_not_counted_in_the_plural():
    assert [counted(number, "video") for number in (0, 1, 2, 1000)] == [
        "0 videos",
        "1 video",
        "2 videos",
        "1,000 videos",
    ]
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]


NAME = "a\x1b[2J\x9b31m\u202e [bold]b[/] :bug:"


def written(console, *things):
    with console.capture() as capture:
        console.print(*things, soft_wrap=True)
    return capture.get()


@pytest.mark.parametrize("screen", [console.out, console.err])
def test_no_text_that_is_printed_controls_the_terminal(screen):
    table = Table("name")
    table.add_row(console.shown(NAME + "\n"))
    for text in (written(screen, console.shown(NAME)), written(screen, NAME), written(screen, table)):
        assert text.replace("\n", "").isprintable() and "\\x1b[2J\\x9b31m\\u202e" in text and ":bug:" in text
    assert written(screen, console.shown(NAME + "\n")) == "a\\x1b[2J\\x9b31m\\u202e [bold]b[/] :bug:\\n\n"


def test_a_log_line_does_not_control_the_terminal():
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s", (NAME,), None)
    rendered = console.HarmlessHandler(console=console.err).render_message(record, record.getMessage())
    assert written(console.err, rendered).strip().isprintable()


def test_an_error_is_one_line_whatever_it_names(capsys):
    with pytest.raises(SystemExit):
        console.fail(f"{NAME}\nerror: another", console.EXIT_USAGE)
    assert capsys.readouterr().err == "error: a\\x1b[2J\\x9b31m\\u202e [bold]b[/] :bug:\\nerror: another\n"


def test_what_is_no_number_is_null_in_json_so_that_every_program_reads_it():
    text = console.as_json({"a": float("nan"), "b": [np.float64("inf"), 1.5], "c": np.array([np.nan, 2])})
    strict = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert strict == {"a": None, "b": [None, 1.5], "c": [None, 2.0]}
