"""The command line: `tdn-data`. Each command parses, calls one function of the library and prints."""

from __future__ import annotations

import click

from tdn_data.pipeline import __version__
from tdn_data.stages.cli.group import Commands

MODULES = {  # command -> the module that holds it
    "bench": "bench",
    "browse": "browse",
    "compare": "compare",
    "datasets": "data",
    "demo": "data",
    "doctor": "doctor",
    "evaluate": "runs",
    "explain": "explain",
    "export": "export_data",
    "export-model": "export",
    "extract": "extract",
    "flow": "flow",
    "flow-error": "flow",
    "fuse": "fuse",
    "index": "data",
    "inspect": "look",
    "mistakes": "compare",
    "models": "networks",
    "predict": "predict",
    "repair": "look",
    "results": "networks",
    "retrieve": "retrieve",
    "status": "look",
    "train": "runs",
    "verify": "look",
}


@click.group(
    cls=Commands, modules=MODULES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="tdn-data")
def main() -> None:
    """From videos to training data for action recognition: frames, optical flow, shards.

    \b
    Try it:
      tdn-data demo --out clips
      tdn-data extract --dataset demo --root clips --out shards --modality both
      tdn-data inspect shards --sheet sheet.png
    """
