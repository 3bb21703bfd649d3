"""DVC stage `report`: everything that was measured -> report.html."""

from __future__ import annotations

from models.report import sample_videos, write_report
from pipeline.shards.reader import ShardReader
from pipeline.shards.schema import library_versions
from stages import edge
from stages.params import SHARDS, load_params
from stages.results import REPORT, read_results


def main() -> None:
    """Run the stage."""
    with edge.messages():
        params = load_params()
        frames = ShardReader(SHARDS["rgb"], modality="rgb")
        flow = ShardReader(SHARDS["flow"], modality="flow")
        write_report(
            REPORT,
            dataset=frames.info.name,
            class_names=frames.info.class_names,
            runs=read_results(frames.info),
            samples=sample_videos(frames, flow, split=params.evaluate.split),
            facts=_facts(params),
        )


def _facts(params) -> dict[str, str]:
    """Return the parameters and library versions as lines for the page."""
    sections = params.model_dump()
    facts = {name: _words(sections[name]) for name in ("dataset", "frames", "flow", "train", "evaluate")}
    return facts | {"libraries": _words(library_versions())}


def _words(section: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in section.items() if value is not None)


if __name__ == "__main__":
    main()
