"""DVC stage `demo`: the built-in data set, rendered."""

from __future__ import annotations

from pathlib import Path

from tdn_data.pipeline.datasets.demo import render_demo
from tdn_data.stages.cli import console
from tdn_data.stages.params import load_params

OUT = Path("data/demo")


def main() -> None:
    """Run the stage."""
    with console.messages():
        section = load_params().demo
        with console.progress("rendering") as update:
            render_demo(OUT, **section.model_dump(), on_progress=update)


if __name__ == "__main__":
    console.run_stage(main)
