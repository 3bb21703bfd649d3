"""How stored videos are printed: a table of them, one of them frame by frame, the columns of the shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.filesize import decimal
from rich.table import Table

from tdn_data.stages.cli import console
from tdn_data.stages.cli.extraction import print_failures

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 80
WIDE = ("video", "split", "class", "status", "frames", "flow", "seconds", "size", "motion", "clipped")
NARROW = ("video", "status", "frames", "seconds", "motion")
NARROW_FLOW = ("video", "status", "flow", "seconds", "motion")  # of a folder without frames
WIDE_ENOUGH = 120  # columns of a window


def print_videos(table) -> None:
    """Print a line for each video, and how many there are beside them; a narrow window gets the chief columns alone."""
    rows = [_columns_of(one) for one in table.videos]
    narrow = NARROW if any(one.num_frames for one in table.videos) else NARROW_FLOW
    names = WIDE if console.out.width >= WIDE_ENOUGH else narrow
    grid = Table()
    for name in names:
        text = name in ("video", "class")
        grid.add_column(name, justify="left" if text else "right", no_wrap=not text, overflow="fold" if text else None)
    for row in rows:
        grid.add_row(*(row[name] for name in names))
    console.out.print(grid)
    left = table.num_videos - len(table.videos)
    more = f"; --limit {table.num_videos} shows the other {left:,}" if left else ""
    wider = "" if names is WIDE else f"; a window of {WIDE_ENOUGH} columns, or --json, shows more of each"
    console.out.print(f"{console.counted(table.num_videos, 'video')}{more}{wider}", soft_wrap=True, highlight=False)


def _columns_of(one) -> dict[str, str]:
    """Return what the table says of one video: column -> words."""
    return {
        "video": console.shown(one.video_id),
        "split": console.shown(one.split),
        "class": console.shown(", ".join(one.classes)),
        "status": console.shown(f"{one.status}: {one.reason}" if one.reason else one.status),
        "frames": str(one.num_frames),
        "flow": str(one.num_flow),
        "seconds": _number(one.seconds, ".1f"),
        "size": decimal(one.stored_bytes),
        "motion": _number(one.motion, ".2f", " px"),
        "clipped": _number(one.clipped_share, ".2%"),
    }


def print_video(details, limit: int) -> None:
    """Print what is known of one video: the ledger's words, sizes and motion over time, the first rows."""
    one = details.video
    classes = ", ".join(one.classes) or "no label"
    words = f"[bold]{console.shown(one.video_id)}[/]: {console.shown(classes)}, {console.shown(one.split)}"
    console.out.print(words, soft_wrap=True, highlight=False)
    print_failures(list(details.ledger)) if one.status != "ok" else _print_notes(details.ledger)
    for modality, rows in details.rows.items():
        height, width = details.sizes[modality]
        times = f"{rows[0].seconds:.2f} to {rows[-1].seconds:.2f} s"
        size = decimal(sum(row.num_bytes for row in rows))
        words = f"{modality}: {console.counted(len(rows), 'row')} of {height} x {width}, {times}, {size}"
        console.out.print(words, soft_wrap=True, highlight=False)
        _print_line("size", [row.num_bytes for row in rows], lambda value: decimal(round(value)))
        if modality == "flow":
            _print_line("motion", [row.motion for row in rows], lambda value: f"{value:.2f} px")
            _print_line("clipped", [row.clipped_share for row in rows], lambda value: f"{value:.2%}")
    if details.rows:
        _print_rows(details.rows, limit)


def _print_notes(ledger) -> None:
    for row in ledger:
        note = f": {row.message}" if row.message else ""
        console.out.print(console.shown(f"{row.modality}  {row.path}  {row.status}{note}"), highlight=False)


def _print_line(name: str, values: Sequence[float], shown) -> None:
    extent = f"{shown(min(values))} to {shown(max(values))}"
    console.out.print(f"  {name:8}{sparkline(values)}  {extent}", soft_wrap=True, highlight=False)


def sparkline(values: Sequence[float], most: int = MOST_BARS) -> str:
    """Return a bar for each value, from the least to the greatest; many values share bars, which show their means.

    >>> sparkline([0, 1, 2, 7])
    '▁▂▃█'
    """
    parts = np.array([part.mean() for part in np.array_split(np.asarray(values, float), min(most, len(values)))])
    extent = float(parts.max() - parts.min())
    places = (parts - parts.min()) / extent * (len(BARS) - 1) if extent > 0 else np.zeros(len(parts))
    return "".join(BARS[place] for place in places.round().astype(int))


def _print_rows(modalities, limit: int) -> None:
    """Print the first stored rows of a video, frames and flow in tables of their own."""
    for modality, rows in modalities.items():
        flow = modality == "flow"
        grid = Table(modality, *(["seconds", "size", "motion", "clipped"] if flow else ["seconds", "size"]))
        for row in rows[:limit]:
            motion = (_number(row.motion, ".2f", " px"), _number(row.clipped_share, ".2%")) if flow else ()
            grid.add_row(str(row.frame_index), f"{row.seconds:.3f}", decimal(row.num_bytes), *motion)
        console.out.print(grid)
        if len(rows) > limit:
            console.out.print(f"--limit {len(rows)} shows the other {len(rows) - limit:,}", highlight=False)


def print_columns(columns: dict[str, dict[str, str]]) -> None:
    """Print the columns of each modality's shards."""
    for modality, types in columns.items():
        grid = Table(modality, "type")
        for name, kind in types.items():
            grid.add_row(name, console.shown(kind))
        console.out.print(grid)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"
