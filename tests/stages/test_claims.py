"""The stage of the claims: what it is asked for, what it records, and when it leaves with 1."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from tdn_data.models.claims.trained import Place, SeededRun
from tdn_data.models.evaluation.scores import VideoScores, write_scores
from tdn_data.stages import claims
from tests.models.claims.small import CLAIM, SMALL, small_book

UNTRIED = {"untried": CLAIM | {"missing": "nobody has tried it"}}
REASONS = {"fusion": "shown no more", "segments": "takes an hour"}  # as long as they are not run


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project's folder with the small book, a page, and scores of `first` and `longer` as if they had been tested."""
    monkeypatch.chdir(tmp_path)
    waiting = {name: SMALL["claims"][name] | {"missing": words} for name, words in REASONS.items()}
    Path("claims.yaml").write_text(yaml.safe_dump(SMALL | {"claims": SMALL["claims"] | waiting | UNTRIED}))
    Path("docs").mkdir()
    Path("docs/CLAIMS.md").write_text("before\n<!-- recorded -->\nold\n<!-- end -->\nafter\n")
    return tmp_path


def score_run(name: str, share: float) -> None:
    """Write scores of 40 videos, of which a run hits a share."""
    labels, hit = np.arange(40) % 2, np.arange(40) < 40 * share
    scores = np.eye(2, dtype=np.float32)[np.where(hit, labels, 1 - labels)]
    videos = VideoScores(tuple(map(str, range(40))), tuple((int(label),) for label in labels), scores)
    book = small_book()
    for seed in book.seeds:
        write_scores(SeededRun(name, seed).scores(book, Place(claims.FOLDER, "test")), videos)


def leaves(capsys, *words: str) -> tuple[int, str]:
    """Run the stage; return its exit code and all that it printed."""
    code = 0
    try:
        claims.main(*words)
    except SystemExit as error:
        code = error.code
    printed = capsys.readouterr()
    return code, " ".join((printed.out + printed.err).split())


def test_record_and_compare_follow_the_scores(project, capsys):
    score_run("first", 0.5)
    score_run("longer", 0.9)
    code, printed = leaves(capsys, "all", "record", "1")
    assert code == 0 and "holds longer-training: two epochs are at least as good as none; P, Table 1: 50, 60" in printed
    page = Path("docs/CLAIMS.md").read_text()
    assert page.startswith("before\n<!-- recorded -->\n") and page.endswith("<!-- end -->\nafter\n")
    assert "\nold\n" not in page and "longer 90.0 [80.0, 97.5]" in page and "nobody has tried it" in page
    assert "takes an hour" in page and "shown no more" not in page
    verdicts = {
        name: one["verdict"] for name, one in json.loads(Path("docs/claims.json").read_text())["claims"].items()
    }
    assert verdicts == {"longer-training": "holds", "fusion": "holds", "segments": "not run", "untried": "not run"}
    code, printed = leaves(capsys, "small", "compare", "1")
    assert code == 0 and printed.endswith("no verdict differs from those in docs/claims.json")
    score_run("longer", 0.1)
    code, printed = leaves(capsys, "small", "compare", "1")
    assert code == 1 and "longer-training: fails now, holds in the record" in printed


def test_a_verdict_that_nothing_is_recorded_of_is_named(project, capsys):
    assert leaves(capsys, "all", "record", "1")[0] == 0
    score_run("first", 0.5)
    score_run("longer", 0.9)
    code, printed = leaves(capsys, "small", "compare", "1")
    assert code == 0 and printed.endswith("which has none of longer-training: WHAT=record writes them")


def test_ceiling_says_how_many_clips_single_frames_tell_and_reads_no_book(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claims, "CEILING_CLIPS", {"num_train": 30, "num_test": 30})
    code, printed = leaves(capsys, "all", "ceiling", "1")
    share = re.fullmatch(r"A network .* all frames, gets (.+)% of 240 new clips right\.", printed)
    assert code == 0 and 20 < float(share[1]) < 60


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nothing", "compare", "1"), "no claim is called 'nothing'; say all, small, or any of"),
        (("all", "guess", "1"), "WHAT is 'guess'; it must be one of compare, record, validation, ceiling"),
        (("all", "compare", "0"), "JOBS is '0'; it must be a whole number from 1 to 1024"),
        (("small", "record", "1"), "a record holds all claims; say all"),
    ],
)
def test_wrong_words_are_refused_with_a_sentence(project, capsys, words, sentence):
    code, printed = leaves(capsys, *words)
    assert code == 2 and sentence in printed


def test_a_wrong_book_is_refused_with_its_key(project, capsys):
    Path("claims.yaml").write_text(yaml.safe_dump(SMALL | {"seeds": [0]}))
    code, printed = leaves(capsys, "all", "compare", "1")
    assert code == 2 and "claims.yaml: seeds" in printed
