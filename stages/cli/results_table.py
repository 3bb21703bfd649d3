"""What the networks reached, as a table where the screen is wide enough and as lines where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.measure import Measurement
from rich.table import Column, Table

from tdn_data.models.evaluation.results import (
    Runs,
    read_folders,
    read_metrics,
    result_lines,
    table_heads,
    table_rows,
    tested_dataset,
)
from tdn_data.stages.cli import console
from tdn_data.stages.params import FUSIONS, REPORT, RUNS, load_params


def print_results(folders: Sequence[Path] = (), *, as_json: bool = False) -> None:
    """Print the metrics of all runs in `folders` (default: the pipeline's own); of several folders also the mean."""
    dataset = tested_dataset(folders or (RUNS,)) or load_params().dataset.name
    found = read_folders(folders) if folders else {str(RUNS): _own_results()}
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


def _own_results() -> Runs:
    """Return what the runs and fusions of params.yaml reached, in its order; runs that are not tested are left out."""
    params = load_params()
    found = read_metrics(RUNS) | (read_metrics(FUSIONS) if params.fusions and FUSIONS.is_dir() else {})
    own = {name: found[name] for name in (*params.runs, *params.fusions) if name in found}
    return own or found


def _table(found: Mapping[str, Runs], dataset: str) -> Table:
    """Return one row for each run and folder, one column for each metric."""
    several = len(found) > 1
    numbers = [Column(head, justify="right", min_width=5) for head in table_heads(found, dataset)]
    table = Table(Column("run", no_wrap=True), *(["folder"] if several else []), *numbers)
    for run, folder, cells in table_rows(found, dataset):
        table.add_row(console.shown(run), *([console.shown(folder)] if several else []), *cells)
    return table
