"""The claims as a table, and as JSON: what the papers say, what came out here, and the verdict.

Recorded verdicts stand in a JSON file of the project; `changed_verdicts` says where a new one is another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tdn_data.models.claims.book import VERDICTS, Book, Claim
from tdn_data.models.claims.verdict import Judged
from tdn_data.models.evaluation.comparison import Interval
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_json

NOT_RUN = "not run"
HEADS = ("claim", "the paper's numbers", "here, with 95 % intervals", "difference", "verdict")

JudgedClaims = Mapping[str, Judged | None]  # claim -> what was found, None where its runs are not all there


def markdown_table(book: Book, findings: JudgedClaims) -> str:
    """Return a table for each paper, its claims in the order of claims.yaml."""
    papers = dict.fromkeys(book.claims[name].paper for name in findings)
    return "\n".join(part for paper in papers for part in _paper_lines(book, paper, findings))


def _paper_lines(book: Book, paper: str, findings: JudgedClaims) -> Iterator[str]:
    yield f"### {paper}\n"
    yield f"| {' | '.join(HEADS)} |"
    yield "|---" * len(HEADS) + "|"
    for name, found in findings.items():
        if book.claims[name].paper == paper:
            yield f"| {' | '.join(_cells(book.claims[name], found))} |"
    yield ""


def _cells(claim: Claim, found: Judged | None) -> tuple[str, ...]:
    first = (f"{claim.says} ({claim.place})", claim.numbers)
    if found is None:
        return (*first, claim.missing or "", "", f"**{NOT_RUN}**")
    here = "<br>".join(f"{run} {_words(number)}" for run, number in found.results.items())
    sums = "<br>".join(_words(number, sign="+") for number in found.sums)
    return (*first, here, sums, f"**{found.verdict}**")


def lines(book: Book, findings: JudgedClaims) -> Iterator[str]:
    """Yield the same as lines for a terminal."""
    for name, found in findings.items():
        claim = book.claims[name]
        verdict = NOT_RUN if found is None else found.verdict
        yield f"{verdict:9}  {name}: {claim.says}; {claim.paper}, {claim.place}: {claim.numbers}"
        if found is not None:
            yield f"{'':11}here {', '.join(f'{run} {_words(number)}' for run, number in found.results.items())}"
            yield f"{'':11}difference {', '.join(_words(number, sign='+') for number in found.sums)}"


def as_record(findings: JudgedClaims) -> dict[str, object]:
    """Return the findings as JSON holds them: for each claim its verdict and numbers, in [0, 1]."""
    return {name: _record(found) for name, found in findings.items()}


def _record(found: Judged | None) -> dict[str, object]:
    if found is None:
        return {"verdict": NOT_RUN}
    steps = zip(found.verdicts, found.sums, strict=True)
    return {
        "verdict": found.verdict,
        "steps": [{"verdict": verdict, **number._asdict()} for verdict, number in steps],
        "results": {run: number._asdict() for run, number in found.results.items()},
    }


def recorded_verdicts(path: Path) -> dict[str, str]:
    """Return the recorded verdict of each claim; raise InputError where the file is missing or holds none."""
    content = read_json(path, what="file of recorded verdicts")
    try:
        found = {name: one["verdict"] for name, one in content["claims"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} holds no recorded verdicts; record them again.", path=path) from error
    if wrong := set(found.values()) - set(VERDICTS):
        raise InputError(f"{path} has the verdict {min(wrong)!r}; it must be one of {', '.join(VERDICTS)}.", path=path)
    return found


def changed_verdicts(findings: JudgedClaims, recorded: Mapping[str, str]) -> list[str]:
    """Return a sentence for each claim whose verdict is another than the recorded one; not run is no verdict."""
    return [
        f"{name}: {found.verdict} now, {recorded.get(name, NOT_RUN)} in the record"
        for name, found in findings.items()
        if found is not None and recorded.get(name, NOT_RUN) not in (found.verdict, NOT_RUN)
    ]


def cost_lines(book: Book, seconds: Mapping[str, float]) -> Iterator[str]:
    """Yield what training costs: the runs that are measured, and the whole and the small table from their sum."""
    yield (
        "Seconds of one core that a training took, the mean of its seeds: "
        + ", ".join(f"{name} {number:.0f}" for name, number in seconds.items())
        + "."
    )
    for word in ("small", "all"):
        names = book.trainings(book.chosen(word))
        known = [seconds[name] * len(book.seeds) for name in names if name in seconds]
        left_out = f", {len(names) - len(known)} not measured" if len(known) < len(names) else ""
        yield (
            f"\nThe {'whole' if word == 'all' else 'small'} table: {len(names)} trainings times {len(book.seeds)} seeds"
            f"{left_out}, {sum(known) / 60:.0f} minutes of one core."
        )


def _words(interval: Interval, *, sign: str = "") -> str:
    value, low, high = (100 * number for number in interval)
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"
