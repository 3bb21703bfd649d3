"""What an index found, in words: findings by kind, how the folder must look, and one line at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Column, Table

from tdn_data.pipeline.datasets.audit import findings_by_kind
from tdn_data.pipeline.datasets.listing import Finding, Listing
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.stages.cli import console

SHOWN_OF_A_KIND = 5


def print_findings(findings: Sequence[Finding], root: Path) -> None:
    """Print findings as a table, those that stop the index first, and the counts by kind.

    Of each kind the first `SHOWN_OF_A_KIND`: thousands of missing files must not hide the one that no list names.
    A message begins with its list, which is named relative to `root`.
    """
    if not findings:
        return
    counts = findings_by_kind(findings)
    table = Table("finding", Column("what", overflow="fold"))
    for kind in counts:
        of_kind = [finding for finding in findings if finding.kind == kind]
        for finding in of_kind[:SHOWN_OF_A_KIND]:
            table.add_row(kind, console.shown(finding.message.removeprefix(f"{root}/")))
        if len(of_kind) > SHOWN_OF_A_KIND:
            table.add_row("", f"and {len(of_kind) - SHOWN_OF_A_KIND:,} more {kind}")
    console.out.print(table)
    words = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    more = " (--json has all)" if max(counts.values()) > SHOWN_OF_A_KIND else ""
    console.out.print(f"findings: {words}{more}", soft_wrap=True)


def print_reading(listing: Listing) -> None:
    """Print which files were taken as what, to the error stream, where no list says it."""
    if listing.read_as:
        console.err.print(console.shown(f"{listing.root}: {listing.read_as}"), soft_wrap=True, highlight=False)


def print_if_nothing_is_there(listing: Listing, findings: Sequence[Finding]) -> None:
    """Print how the folder must look where not one of the listed files is in it."""
    num_listed = len({row.path for row in listing.videos})
    if findings_by_kind(findings).get("missing_file", 0) == num_listed:
        layout = dataset_spec(listing.dataset).layout
        words = f"not one of the {num_listed:,} listed files is there; the folder must look like this: {layout}"
        console.out.print(words, soft_wrap=True, markup=False, highlight=False)


def index_words(record: Mapping[str, object], findings: Sequence[Finding]) -> str:
    """Return what an index found in one line: its videos by split, files that do not open, and other findings."""
    counts = dict(record["problems"])
    for kind, count in findings_by_kind(findings).items():
        if kind != "missing_file":  # a file without which a row is counted as a problem of that row
            counts[kind] = count
    splits = ", ".join(f"{count:,} {split}" for split, count in record["splits"].items())
    problems = ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"
    return f"{console.counted(record['num_videos'], 'video')} ({splits}); problems: {problems}"
