"""The papers' claims on the built-in data: `make claims` trains what is missing and says what came out.

WHICH is `all`, `small`, or names of claims.yaml with commas between them. WHAT is `compare` (train and test what is
missing, print, and leave with 1 where a verdict differs from the recorded one), `record` (write what is there into
docs/CLAIMS.md and docs/claims.json, and train nothing), `validation` (as `compare`, on the validation clips, with no
record: for whoever changes claims.yaml) or `ceiling` (say how good a perfect TSN can be, whatever WHICH names). JOBS is
how many runs go side by side, each on one core.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from tdn_data.models.claims.book import Book
from tdn_data.models.claims.ceiling import single_frame_ceiling
from tdn_data.models.claims.schedule import costs, make_runs, missing_runs
from tdn_data.models.claims.table import (
    NOT_RUN,
    JudgedClaims,
    as_record,
    changed_verdicts,
    cost_lines,
    lines,
    markdown_table,
    recorded_verdicts,
)
from tdn_data.models.claims.trained import Place, hits_of
from tdn_data.models.claims.verdict import judge
from tdn_data.models.evaluation.run_record import hardware
from tdn_data.models.library_versions import deciding_versions
from tdn_data.pipeline.datasets.demo import CLASS_NAMES
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_text, write_json, write_text
from tdn_data.stages.cli import console
from tdn_data.stages.params import check_word, read_yaml

BOOK, FOLDER = Path("claims.yaml"), Path("data/claims")
PAGE, RECORD = Path("docs/CLAIMS.md"), Path("docs/claims.json")
MARKS = re.compile(r"(?<=<!-- recorded -->\n).*(?=<!-- end -->)", re.DOTALL)
CEILING_CLIPS = {"num_train": 2000, "num_test": 500}  # of each class
ACTIONS = ("compare", "record", "validation", "ceiling")


def main(which: str, what: str, jobs: str) -> None:
    """Run the stage."""
    with console.messages(), console.wrong_arguments():
        check_word("WHAT", what, ACTIONS)
        if not jobs.isdecimal() or not 1 <= int(jobs) <= 1024:
            raise InputError(f"JOBS is {jobs!r}; it must be a whole number from 1 to 1024.")
        if what == "ceiling":
            _say_ceiling()
            return
        with console.checked(str(BOOK)):
            book = Book.model_validate(read_yaml(BOOK))
        claims, place = book.chosen(which), Place(FOLDER, "val" if what == "validation" else "test")
        if what != "record":
            make_runs(book, claims, place, jobs=int(jobs), say=_say)
        findings = {name: _finding(book, name, place) for name in claims}
        for line in lines(book, findings):
            _say(line)
        if what == "record":
            _record(book, findings, place)
        elif what == "compare":
            _compare(findings)


def _say(words: str) -> None:
    console.out.print(words, markup=False, highlight=False, soft_wrap=True)


def _say_ceiling() -> None:
    """Say what single frames tell at best."""
    share, num_clips = single_frame_ceiling(**CEILING_CLIPS), CEILING_CLIPS["num_test"] * len(CLASS_NAMES)
    _say(
        "A network that is given the object's true place, size and angle in each frame, and averages its scores over "
        f"all frames, gets {share:.1%} of {num_clips:,} new clips right."
    )


def _finding(book: Book, name: str, place: Place):
    claim = book.claims[name]
    untried = not claim.steps or missing_runs(book, [name], place)
    return None if untried else judge(claim, hits_of(claim.names, book, place))


def _record(book: Book, findings: JudgedClaims, place: Place) -> None:
    """Write the page and the file; both hold all claims, those not run, too."""
    if len(findings) < len(book.claims):
        raise InputError("a record holds all claims; say all.")
    page = read_text(PAGE)
    seconds = costs(book, place)
    made = {"date": datetime.now(UTC).date().isoformat(), "hardware": hardware(), "libraries": deciding_versions()}
    words = f"{made['date']}, {made['hardware']}, torch {made['libraries']['torch']}.\n\n"
    table = f"{words}{markdown_table(book, findings)}\n{chr(10).join(cost_lines(book, seconds))}\n"
    write_text(PAGE, MARKS.sub(lambda _: table, page))
    write_json(RECORD, {"made": made, "seeds": book.seeds, "seconds": seconds, "claims": as_record(findings)})


def _compare(findings: JudgedClaims) -> None:
    """Leave with 1 where a verdict is another than the recorded one; name those that nothing is recorded of."""
    recorded = recorded_verdicts(RECORD)
    if others := changed_verdicts(findings, recorded):
        console.fail(f"verdicts differ from {RECORD}: {'; '.join(others)}.", console.EXIT_FAILED)
    new = [name for name, found in findings.items() if found and recorded.get(name, NOT_RUN) == NOT_RUN]
    words = f", which has none of {', '.join(new)}: WHAT=record writes them" if new else ""
    _say(f"no verdict differs from those in {RECORD}{words}")


if __name__ == "__main__":
    console.run_stage(main)
