"""Numbers as a person reads them."""

from __future__ import annotations

import pytest

from stages.edge import human_hours


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
