"""Plain lines where nobody watches: often enough, at each epoch, with what a waiting person asks for."""

import io
import logging
import time

import pytest
from rich.console import Console

from tdn_data.stages.cli import console, progress
from tdn_data.stages.cli.progress import Work, clock, show_progress


@pytest.fixture
def log_file():
    """A console that is no terminal, and what was printed on it."""
    file = io.StringIO()
    return Console(file=file, width=300), lambda: file.getvalue().splitlines()


def test_silent_work_still_prints_lines(log_file, monkeypatch):
    console, lines = log_file
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.01)
    with show_progress(console, "rgb", total=4, unit="videos") as update:
        update(1, note="1 failed")
        while len(lines()) < 3:
            time.sleep(0.01)
    assert lines()[1].startswith("rgb: 1 of 4 videos, ") and "1 failed" in lines()[1] and lines()[1].endswith(" left")


def test_an_epoch_prints_its_line_at_once_and_the_end_is_not_printed_twice(log_file):
    console, lines = log_file
    with show_progress(console, "tsn rgb", total=2, unit="epochs") as update:
        update(1, note="loss 0.5", say=True)
        assert len(lines()) == 1 and "tsn rgb: 1 of 2 epochs" in lines()[0] and "loss 0.5" in lines()[0]
        update(2, note="loss 0.4", say=True)
    assert len(lines()) == 2 and lines()[1].startswith("tsn rgb: 2 of 2 epochs") and "left" not in lines()[1]


def test_short_work_prints_one_line_at_its_end_and_unreported_work_none(log_file):
    console, lines = log_file
    with show_progress(console, "rendering") as update:
        update(1), update(2, 3)
    with show_progress(console, "nothing"):
        pass
    assert len(lines()) == 1 and lines()[0].startswith("rendering: 2 of 3, ")


def test_what_an_earlier_run_did_does_not_count_in_the_rate():
    work = Work("flow", total=1000, unit="videos")
    work.update(900, None, None, None)
    assert work.words() == "flow: 900 of 1,000 videos"
    work.started = time.monotonic() - 100
    work.update(910, None, None, "2 failed")
    assert work.words() == "flow: 910 of 1,000 videos, 10.0 s each, 2 failed, 15:00 left"


@pytest.mark.parametrize(("seconds", "words"), [(7, "0:07"), (750, "12:30"), (11100, "3:05:00")])
def test_times_are_read_as_on_a_clock(seconds, words):
    assert clock(seconds) == words


def test_log_lines_of_the_libraries_appear_in_every_command(capfd, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with console.messages():
        logging.getLogger("models.weights").info("downloading a file")
    assert "downloading a file" in capfd.readouterr().err
