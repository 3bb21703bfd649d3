"""What the networks reached, as a table where the screen is wide enough and as lines where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.measure import Measurement
from rich.table import Column, Table

from tdn_data.models.evaluation.results import (
    Runs,
    read_folders,
    result_lines,
    table_heads,
    table_rows,
    tested_dataset,
)
from tdn_data.stages.cli import console
from tdn_data.stages.params import REPORT, RUNS, load_params


def print_results(folders: Sequence[Path] = (), *, as_json: bool = False) -> None:
    """Print the metrics of all runs in `folders` (default: the pipeline's own); of several folders also the mean."""
    dataset = tested_dataset(folders or (RUNS,)) or load_params().dataset.name
    found = read_folders(folders or (RUNS,))
    if as_json:
        console.print_json(found)
        return
    table = _table(found, dataset)
    unbounded = console.out.options.update(max_width=10_000)
    if Measurement.get(console.out, unbounded, table).minimum <= console.out.width:
        console.out.print(table)
    else:
        for line in result_lines(found, dataset):
            console.out.print(console.shown(line), highlight=False, soft_wrap=True)
    if not folders:
        console.out.print(f"report: {REPORT}", highlight=False)


def _table(found: Mapping[str, Runs], dataset: str) -> Table:
    """Return one row for each network and folder, one column for each modality and metric."""
    several = len(found) > 1
    numbers = [Column(head, justify="right", min_width=5) for head in table_heads(found, dataset)]
    table = Table(Column("network", no_wrap=True), *(["runs"] if several else []), *numbers)
    for network, folder, cells in table_rows(found, dataset):
        table.add_row(console.shown(network), *([console.shown(folder)] if several else []), *cells)
    return table
