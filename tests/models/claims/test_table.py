"""The table, its record, and where verdicts differ."""

import json

import pytest

from tdn_data.models.claims.table import (
    as_record,
    changed_verdicts,
    cost_lines,
    lines,
    markdown_table,
    recorded_verdicts,
)
from tdn_data.models.claims.verdict import Judged
from tdn_data.models.evaluation.comparison import Interval
from tdn_data.pipeline.errors import InputError
from tests.models.claims.small import small_book

BOOK = small_book()
FOUND = Judged(
    {"longer": Interval(0.7, 0.6, 0.8), "first": Interval(0.5, 0.4, 0.6)},
    (Interval(0.2, 0.1, 0.3),),
    ("holds",),
    "holds",
)
FINDINGS = {"longer-training": FOUND, "fusion": None}


def test_table_says_the_papers_numbers_ours_and_the_verdict_and_what_was_not_run():
    rows = markdown_table(BOOK, FINDINGS).splitlines()
    assert rows[0] == "### P"
    assert rows[4] == (
        "| two epochs are at least as good as none (Table 1) | 50, 60 | "
        "longer 70.0 [60.0, 80.0]<br>first 50.0 [40.0, 60.0] | +20.0 [+10.0, +30.0] | **holds** |"
    )
    assert rows[5].endswith("| 50, 60 |  |  | **not run** |")
    assert len({row.count("|") for row in rows[2:6]}) == 1
    words = list(lines(BOOK, FINDINGS))
    assert words[0].startswith("holds      longer-training: ") and words[-1].startswith("not run    fusion: ")


def test_record_is_read_back_and_a_changed_verdict_is_named(tmp_path):
    path = tmp_path / "claims.json"
    path.write_text(json.dumps({"claims": as_record(FINDINGS)}))
    recorded = recorded_verdicts(path)
    assert recorded == {"longer-training": "holds", "fusion": "not run"}
    assert changed_verdicts(FINDINGS, recorded) == []
    assert changed_verdicts({"fusion": FOUND}, recorded) == []
    assert changed_verdicts(FINDINGS, {"longer-training": "undecided"}) == [
        "longer-training: holds now, undecided in the record"
    ]


@pytest.mark.parametrize("content", ["[]", '{"claims": {"a": {}}}', '{"claims": {"a": {"verdict": "perhaps"}}}'])
def test_a_damaged_record_is_refused(tmp_path, content):
    (tmp_path / "claims.json").write_text(content)
    with pytest.raises(InputError, match="verdict"):
        recorded_verdicts(tmp_path / "claims.json")


def test_costs_say_what_is_not_measured():
    words = "".join(cost_lines(BOOK, {"first": 30.0}))
    assert "first 30" in words
    assert "whole table: 2 trainings times 2 seeds, 1 not measured, 1 minutes of one core" in words
