"""Extraction as the command and the DVC stages run it: a progress bar, then one summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import islice

from rich.filesize import decimal

from tdn_data.pipeline.datasets.manifest import Manifest
from tdn_data.pipeline.extraction.cache import Policy
from tdn_data.pipeline.extraction.engine import Summary, run_extraction
from tdn_data.pipeline.extraction.estimate import Estimate
from tdn_data.pipeline.parameters import ExtractParameters
from tdn_data.pipeline.shards.schema import LedgerRow
from tdn_data.stages.cli import console

ROWS_SHOWN = 20
CORE_COUNTS = (2, 16, 256)
CONTINUE = Policy()


def extract_manifest(
    manifest: Manifest,
    parameters: ExtractParameters,
    *,
    out: str,
    num_workers: int | None = None,
    ray_address: str | None = None,
    policy: Policy = CONTINUE,
) -> Summary:
    """Extract a manifest and show how far it is, from what an earlier run had finished."""
    total = len(manifest)
    with console.progress(" + ".join(parameters.modalities), total=total, unit="videos") as update:
        summary = run_extraction(
            manifest,
            parameters,
            out=out,
            num_workers=num_workers,
            ray_address=ray_address,
            **asdict(policy),
            on_progress=update,
        )
        update(total)
    return summary


def print_estimate(estimate: Estimate, *, as_json: bool) -> None:
    """Print what the whole extraction will cost."""
    if as_json:
        console.print_json(estimate)
        return
    for one in estimate.modalities:
        size, time = decimal(one.stored_bytes), console.human_hours(one.core_hours)
        sample = f"measured on {console.counted(one.num_sampled, 'video')}, {one.num_failed} of which could not be read"
        if one.core_hours_range is not None:
            time += f" ({' to '.join(map(console.human_hours, one.core_hours_range))})"
        words = f"{one.modality}: {console.counted(one.num_rows, 'row')}, {size}, {time} of one core; {sample}"
        console.out.print(words, soft_wrap=True, highlight=False)
    times = ", ".join(f"{console.human_hours(estimate.hours_on(cores))} on {cores} cores" for cores in CORE_COUNTS)
    shards = f"{console.counted(estimate.num_shards, 'shard')} a modality"
    if estimate.most_in_shard is not None:
        shards += f" with at most {console.counted(estimate.most_in_shard, 'video')}"
    videos = console.counted(estimate.num_videos, "video")
    console.out.print(f"{videos}, {shards}: {times}; scaled by {estimate.scaled_by}", soft_wrap=True, highlight=False)


def summary_record(summary: Summary) -> dict[str, object]:
    """Return the summary as plain data: counts, and the ledger rows that are not ok."""
    return {
        "location": summary.location,
        "status": _summed(one.status for one in summary.modalities.values()),
        "decoding": _summed(one.decoding for one in summary.modalities.values()),
        "num_rows": sum(one.num_rows for one in summary.modalities.values()),
        "num_shards": summary.num_shards,
        "num_shards_made": summary.num_shards_made,
        "stored_bytes": summary.stored_bytes,
        "not_ok": [asdict(row) for row in summary.noted() if row.status != "ok"],
        "notes": {row.path: row.message for row in summary.noted() if row.status == "ok"},
    }


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of counts of the same names."""
    total: dict[str, int] = {}
    for one in counts:
        total |= {name: total.get(name, 0) + count for name, count in one.items()}
    return total


def print_summary(summary: Summary) -> None:
    """Print the rows that are not ok or have a note, then one line that says how it ended."""
    print_failures(summary.noted())
    kinds = []
    for modality, one in summary.modalities.items():
        counts = ", ".join(f"{count} {status}" for status, count in one.status.items())
        num_full = one.decoding["full"]
        whole = f", {num_full} of them decoded whole" if num_full else ""
        videos, stored = console.counted(one.num_videos, "video"), console.counted(one.num_rows, "row")
        kinds.append(f"{modality}: {videos} ({counts}){whole}, {stored}")
    size, made = (
        decimal(summary.stored_bytes),
        f"{summary.num_shards_made} of {console.counted(summary.num_shards, 'shard')} new",
    )
    where = console.shown(summary.location)
    console.out.print(f"{'; '.join(kinds)}; {size}, {made}; {where}", soft_wrap=True, highlight=False)


def print_failures(rows: Iterable[LedgerRow]) -> None:
    """Print ledger rows, a line each, the first `ROWS_SHOWN` of them."""
    rows = iter(rows)
    for row in islice(rows, ROWS_SHOWN):
        due = f" of {row.num_expected}" if row.num_expected != row.num_stored else ""  # not where nothing says how many
        stored = f", {row.num_stored}{due} stored" if row.num_stored else ""
        kind = f"  {row.reason}{stored}" if row.reason else ""
        words = f"{row.modality}  {row.path}{kind}: {row.message}"
        console.out.print(f"[bold]{row.status:7}[/] {console.shown(words)}", soft_wrap=True, highlight=False)
    num_more = sum(1 for _ in rows)
    if num_more:
        console.out.print(f"and {num_more} more; ledger.parquet has them all.")
