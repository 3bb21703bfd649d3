"""DVC stage `report`: everything that was measured -> report.html."""

from __future__ import annotations

from tdn_data.models.report.runs import report_runs
from tdn_data.stages.cli import console
from tdn_data.stages.params import REPORT, RUNS, load_params


def main() -> None:
    """Run the stage."""
    with console.messages():
        params = load_params()
        frames, flow = params.open_shards("rgb"), params.open_shards("flow")
        split = params.evaluate.split_of(frames.info.name)
        report_runs(REPORT, RUNS, frames=frames, flow=flow, split=split)


if __name__ == "__main__":
    console.run_stage(main)
