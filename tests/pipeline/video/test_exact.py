"""Every picture is the one that is due: numbered pictures through every codec, container, timing and damage.

A few hundred cases here; `make exact` runs thousands (TDN_DATA_EXACT=3000). One alone, by its name in the report:

    TDN_DATA_EXACT_CASES="h264-b2-gop12:mkv:ptsdts:own:cut0.7" python -m pytest tests/pipeline/video/test_exact.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.pipeline.video.exact.cases import Case, choose, make
from tests.pipeline.video.exact.oracle import complaints

KNOWN = frozenset((Path(__file__).parent / "exact" / "known.txt").read_text().split())  # wrong until they are fixed
ONCE_WRONG = (  # which a choice of few may not hold
    "mpeg1-b0-gop12:mov:fast:own:intact",
    "h264-b2-long:mkv:cfr:own:del0.05",
    "h264-b2-long:mkv:vfr:own:del0.05",
)
NUM_CASES = int(os.environ.get("TDN_DATA_EXACT", "300"))
NAMED = os.environ.get("TDN_DATA_EXACT_CASES", "").split()
CASES = [Case.parse(name) for name in NAMED] or list(
    dict.fromkeys((*choose(NUM_CASES), *(Case.parse(name) for name in ONCE_WRONG)))
)


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet_decoders")]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_picture_is_the_one_that_is_due(case, tmp_path):
    path, stream, plan = make(case, tmp_path)
    found = complaints(path, stream, plan, seed=str(case))
    if str(case) in KNOWN:
        assert found, f"{case} is right now: take it out of exact/known.txt"
        pytest.xfail(found[0])
    assert not found, f"{case}\n" + "\n".join(found)
