"""What the networks reached, as a table where the screen is wide enough and as lines where it is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.measure import Measurement
from rich.table import Column, Table

from tdn_data.models.evaluation.class_results import classes_of_runs
from tdn_data.models.evaluation.results import (
    Runs,
    percent,
    read_folders,
    read_tested,
    result_lines,
    table_heads,
    table_rows,
    tested_dataset,
)
from tdn_data.pipeline.errors import InputError
from tdn_data.stages.cli import console
from tdn_data.stages.params import FUSIONS, REPORT, RUNS, load_params


def print_results(folders: Sequence[Path] = (), *, as_json: bool = False) -> None:
    """Print the metrics of all runs in `folders` (default: the pipeline's own); of several folders also the mean."""
    if folders:
        dataset, found = tested_dataset(folders) or load_params().dataset.name, read_folders(folders)
    else:
        dataset, own = _own_results()
        found = {str(RUNS): own}
    if as_json:
        console.print_json(found)
        return
    _print(_table(found, dataset), result_lines(found, dataset))
    if not folders and REPORT.is_file():
        console.out.print(f"report: {REPORT}", highlight=False)


def print_classes(folders: Sequence[Path], measure: str, *, as_json: bool = False) -> None:
    """Print `accuracy` or `AP` of each class, a column for each run; of several folders their mean."""
    if folders:
        *_, shared = read_folders(folders).values()  # the mean stands last: what is in all folders
        runs = {name: [folder / name for folder in folders] for name in shared}
    else:
        own, tested = _own_folders(), _own_results()[1]
        runs = {name: [own[name]] for name in tested}
    if not runs:
        raise InputError("no run is in all of these folders; give folders of the same runs, or one.", key="folders")
    found = classes_of_runs(runs, measure)
    if as_json:
        console.print_json(found)
        return
    table = Table(f"class, {measure}", *(Column(console.shown(run), justify="right", min_width=5) for run in found))
    lines = []
    for name in next(iter(found.values()), ()):
        cells = {run: percent(classes[name]) for run, classes in found.items()}
        table.add_row(console.shown(name), *cells.values())
        lines.append(f"{name}: " + ", ".join(f"{run} {cell or '-'}" for run, cell in cells.items()))
    _print(table, lines)
    if len(folders) > 1:
        console.out.print(f"{measure} in percent, the mean of {len(folders)} folders", highlight=False)


def _print(table: Table, lines: Iterable[str]) -> None:
    """Print the table where the window is wide enough, else the same in lines."""
    unbounded = console.out.options.update(max_width=10_000)
    if Measurement.get(console.out, unbounded, table).minimum <= console.out.width:
        console.out.print(table)
        return
    for line in lines:
        console.out.print(console.shown(line), highlight=False, soft_wrap=True)


def _own_folders() -> dict[str, Path]:
    """Return the folders of the runs and fusions of params.yaml, by name."""
    params = load_params()
    return {name: RUNS / name for name in params.runs} | {name: FUSIONS / name for name in params.fusions}


def _own_results() -> tuple[str, Runs]:
    """Return the data set of params.yaml and what its runs and fusions reached on it, in its order."""
    params = load_params()
    found, left_out = read_tested(_own_folders(), params.dataset.name)
    for sentence in left_out:
        console.err.print(console.shown(sentence), soft_wrap=True, highlight=False)
    if not found:
        raise InputError(f"no run of params.yaml is tested on {params.dataset.name} yet; `dvc repro` does it.")
    return params.dataset.name, found


def _table(found: Mapping[str, Runs], dataset: str) -> Table:
    """Return one row for each run and folder, one column for each metric."""
    several = len(found) > 1
    numbers = [Column(head, justify="right", min_width=5) for head in table_heads(found, dataset)]
    table = Table(Column("run", no_wrap=True), *(["folder"] if several else []), *numbers)
    for run, folder, cells in table_rows(found, dataset):
        table.add_row(console.shown(run), *([console.shown(folder)] if several else []), *cells)
    return table
