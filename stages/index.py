"""DVC stage `index`: the data set's own lists and files -> manifest.parquet."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Column, Table

from tdn_data.pipeline.datasets.audit import audit_listing, findings_by_kind
from tdn_data.pipeline.datasets.index import index_listing
from tdn_data.pipeline.datasets.listing import Finding, Listing
from tdn_data.pipeline.datasets.manifest import write_manifest
from tdn_data.pipeline.datasets.registry import dataset_spec, read_videos
from tdn_data.pipeline.extraction.probing import probing
from tdn_data.pipeline.files import check_output_file
from tdn_data.stages.cli import console

SHOWN_OF_A_KIND = 5


def write_index(listing: Listing, out: Path, *, limit: int | None = None) -> dict[str, object]:
    """Probe the listed videos under a progress bar, write the manifest, return its counts.

    Raises InputError, before anything is probed, where `out` is one of the files that are read.
    """
    check_output_file(out, inputs=_files_read(listing, out))
    with console.progress("probing") as update, probing() as probe:
        manifest = index_listing(listing, limit=limit, probe=probe, on_progress=update)
    write_manifest(manifest, out)
    problems = Counter(record.problem for record in manifest if record.problem)
    return {"num_videos": len(manifest), "splits": manifest.splits(), "problems": dict(problems)}


def _files_read(listing: Listing, out: Path) -> list[Path]:
    """Return the listing's own files, and the video that `out` is if it is one."""
    lists = {row.source for row in listing.videos} | {Path(listing.classes_from)}
    video = os.path.relpath(os.path.realpath(out), os.path.realpath(listing.root))
    return [*lists, *([listing.root / video] if video in {row.path for row in listing.videos} else [])]


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


def print_if_nothing_is_there(listing: Listing, findings: Sequence[Finding]) -> None:
    """Print how the folder must look where not one of the listed files is in it."""
    num_listed = len({row.path for row in listing.videos})
    if findings_by_kind(findings).get("missing_file", 0) == num_listed:
        layout = dataset_spec(listing.dataset).layout
        words = f"not one of the {num_listed:,} listed files is there; the folder must look like this: {layout}"
        console.out.print(words, soft_wrap=True, markup=False, highlight=False)


def result_words(record: Mapping[str, object], findings: Sequence[Finding]) -> str:
    """Return what an index found in one line: its videos by split, files that do not open, and other findings."""
    counts = dict(record["problems"])
    for kind, count in findings_by_kind(findings).items():
        if kind != "missing_file":  # a file without which a row is counted as a problem of that row
            counts[kind] = count
    splits = ", ".join(f"{count:,} {split}" for split, count in record["splits"].items())
    problems = ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"
    return f"{console.counted(record['num_videos'], 'video')} ({splits}); problems: {problems}"


def main() -> None:
    """Run the stage."""
    from tdn_data.stages.params import MANIFEST, load_params  # brings torch, which `tdn-data index` does without

    with console.messages():
        section = load_params().dataset
        listing = read_videos(section.name, Path(section.root))
        record = write_index(listing, MANIFEST)
        findings = audit_listing(listing, dataset_spec(section.name))
    print_findings(findings, listing.root)
    console.out.print(f"{console.shown(MANIFEST)}: {result_words(record, findings)}", soft_wrap=True)


if __name__ == "__main__":
    console.run_stage(main)
