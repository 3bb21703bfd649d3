"""DVC stage `report`: everything that was measured -> report.html."""

from __future__ import annotations

from models.report import sample_videos, write_report
from pipeline.shards.schema import library_versions
from stages import edge
from stages.params import RUNS, load_params
from stages.results import REPORT, read_results, result_columns


def main() -> None:
    """Run the stage."""
    with edge.messages():
        params = load_params()
        frames, flow = params.open_shards("rgb"), params.open_shards("flow")
        split, runs = params.evaluate.split_of(frames.info.name), read_results(RUNS, frames.info)
        write_report(
            RUNS / REPORT,
            dataset=frames.info.name,
            class_names=frames.info.class_names,
            runs=runs,
            metric_names=result_columns(frames.info.name, [run.metrics for run in runs]),
            split=split,
            samples=sample_videos(frames, flow, split=split),
            facts=_facts(params),
        )


def _facts(params) -> dict[str, str]:
    """Return the parameters and library versions as lines for the page."""
    sections = params.model_dump()
    sections |= {"frames": params.extract_parameters("rgb").frames.model_dump()}
    sections |= {"flow": params.extract_parameters("flow").flow.model_dump()}
    facts = {name: _words(sections[name]) for name in ("dataset", "frames", "flow", "train", "evaluate")}
    return facts | {"libraries": _words(library_versions())}


def _words(section: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in section.items() if value is not None)


if __name__ == "__main__":
    edge.run_stage(main)
