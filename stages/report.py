"""DVC stage `report`: everything that was measured -> report.html."""

from __future__ import annotations

from tdn_data.models.report.reported_runs import report_runs
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.stages.cli import console
from tdn_data.stages.params import FUSIONS, REPORT, RUNS, Params, load_params


def main() -> None:
    """Run the stage."""
    with console.messages():
        params = load_params()
        folders = {name: RUNS / name for name in params.runs} | {name: FUSIONS / name for name in params.fusions}
        shards, not_here = _shards(params)
        report_runs(REPORT, folders, dataset=params.dataset.name, shards=shards, not_here=not_here)


def _shards(params: Params) -> tuple[list[ShardReader], list[str]]:
    """Return the shards that can be opened, and a sentence about each modality whose shards cannot."""
    shards, not_here = [], []
    for modality in params.stored():
        try:
            shards.append(params.open_shards(modality))
        except InputError as error:
            not_here.append(error.message)
    return shards, not_here


if __name__ == "__main__":
    console.run_stage(main)
