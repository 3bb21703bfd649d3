"""DVC stage `report`: everything that was measured -> report.html."""

from __future__ import annotations

import logging

from tdn_data.models.report.page import sample_videos, write_report
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.schema import library_versions
from tdn_data.stages.cli import console
from tdn_data.stages.params import RUNS, load_params
from tdn_data.stages.results import REPORT, read_results, result_columns

logger = logging.getLogger(__name__)


def main() -> None:
    """Run the stage."""
    with console.messages():
        params = load_params()
        frames, flow = params.open_shards("rgb"), params.open_shards("flow")
        split = params.evaluate.split_of(frames.info.name)
        runs, left_out = read_results(RUNS, frames)
        for sentence in left_out:
            logger.warning(sentence)
        write_report(
            RUNS / REPORT,
            dataset=frames.info.name,
            class_names=frames.info.class_names,
            runs=runs,
            metric_names=result_columns(frames.info.name, [run.metrics for run in runs]),
            split=split,
            samples=sample_videos(frames, flow, split=split),
            facts=_facts(frames, flow),
            left_out=left_out,
        )


def _facts(frames: ShardReader, flow: ShardReader) -> dict[str, str]:
    """Return what the shards say of themselves and what draws the page, as lines for it."""
    made_of = {"frames": _words(frames.info.parameters), "flow": _words(flow.info.parameters)}
    return {"data set": frames.info.name} | made_of | {"page": _words(library_versions())}


def _words(section: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in section.items() if value is not None)


if __name__ == "__main__":
    console.run_stage(main)
