"""DVC stage `demo`: the built-in data set, rendered."""

from __future__ import annotations

from pathlib import Path

from pipeline.datasets.demo import render_demo
from stages import edge
from stages.params import load_params

OUT = Path("data/demo")


def main() -> None:
    """Run the stage."""
    with edge.messages():
        section = load_params().demo
        with edge.progress("rendering") as update:
            render_demo(OUT, **section.model_dump(), on_progress=update)


if __name__ == "__main__":
    edge.run_stage(main)
