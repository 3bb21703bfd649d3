"""DVC stage `demo`: a built-in data set, rendered into data/NAME."""

from __future__ import annotations

from pathlib import Path

from tdn_data.pipeline.datasets.demo import render_demo
from tdn_data.stages.cli import console
from tdn_data.stages.params import check_word, load_params

OUT = Path("data")


def main(name: str) -> None:
    """Run the stage."""
    with console.messages():
        demos = load_params().demos
        check_word("demo", name, demos)
        with console.progress("rendering") as update:
            render_demo(OUT / name, **demos[name].model_dump(), on_progress=update)


if __name__ == "__main__":
    console.run_stage(main)
