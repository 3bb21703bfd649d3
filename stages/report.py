"""DVC stage `report`: everything that was measured -> report.html."""

from __future__ import annotations

from tdn_data.models.report.runs import report_runs
from tdn_data.stages.cli import console
from tdn_data.stages.params import FUSIONS, REPORT, RUNS, load_params


def main() -> None:
    """Run the stage."""
    with console.messages():
        params = load_params()
        folders = {name: RUNS / name for name in params.runs} | {name: FUSIONS / name for name in params.fusions}
        report_runs(REPORT, folders, shards=[params.open_shards(modality) for modality in params.stored()])


if __name__ == "__main__":
    console.run_stage(main)
