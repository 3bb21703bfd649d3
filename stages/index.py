"""DVC stage `index`: the data set's own lists and files -> manifest.parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from pipeline.audit import findings_by_kind
from pipeline.datasets import read_videos
from pipeline.datasets.listing import Finding, Listing
from pipeline.index import index_listing
from pipeline.manifest import write_manifest
from stages import edge

FINDINGS_SHOWN = 20


def write_index(listing: Listing, out: Path, *, limit: int | None = None) -> dict[str, object]:
    """Probe the listed videos under a progress bar, write the manifest, return its counts."""
    with edge.progress("probing") as update:
        done = 0

        def on_video(count: int) -> None:
            nonlocal done
            done += count
            update(done)

        manifest = index_listing(listing, limit=limit, probe=True, on_video=on_video)
        update(done, len(manifest))
    write_manifest(manifest, out)
    problems = Counter(record.problem for record in manifest if record.problem)
    return {"num_videos": len(manifest), "splits": manifest.splits(), "problems": dict(problems)}


def print_findings(findings: Sequence[Finding]) -> None:
    """Print the first `FINDINGS_SHOWN` findings as a table, those that stop the index first, and the counts by kind."""
    if not findings:
        return
    table = Table("finding", "what")
    for finding in sorted(findings, key=lambda finding: not finding.fatal)[:FINDINGS_SHOWN]:
        table.add_row(finding.kind, escape(finding.message))
    edge.out.print(table)
    words = ", ".join(f"{count:,} {kind}" for kind, count in findings_by_kind(findings).items())
    more = f" ({FINDINGS_SHOWN} shown; --json has all)" if len(findings) > FINDINGS_SHOWN else ""
    edge.out.print(f"findings: {words}{more}", soft_wrap=True)


def main() -> None:
    """Run the stage."""
    from stages.params import MANIFEST, load_params  # brings torch, which `tdn-data index` does without

    with edge.messages():
        section = load_params().dataset
        write_index(read_videos(section.name, Path(section.root)), MANIFEST)


if __name__ == "__main__":
    main()
