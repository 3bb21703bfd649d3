"""Numbers as a person reads them."""

from __future__ import annotations

import pytest

from stages.edge import counted, human_hours


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
