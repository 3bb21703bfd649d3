"""The command `export-model`: a trained network for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import json_option
from tdn_data.stages.cli.types import OutputFile, Text


@click.command("export-model")
@click.argument("run", type=Text())
@click.option("--onnx", type=OutputFile(".onnx"), help="Write it for ONNX Runtime and others.")
@click.option("--torch", "program", type=OutputFile(".pt2"), help="Write it as a program of torch.export.")
@click.option("--flow", is_flag=True, help="As the network from two images to their flow, which `flow --method` takes.")
@json_option
def export_model(run: str, onnx: Path | None, program: Path | None, flow: bool, as_json: bool) -> None:
    """Write the network of a trained RUN, or of a folder with its checkpoint, as one file for other programs.

    It takes clips as they are decoded, levels from 0 to 255: what is subtracted and divided by is inside, and so are,
    as metadata, the classes and the sampling. With --flow it takes RGB images from 0 to 1, (batch, 6, height, width),
    the later one's channels behind the earlier's, and gives flow (batch, 2, h, w) in pixels.

    \b
    Examples:
      tdn-data export-model tdn-rgb --onnx tdn-rgb.onnx
      tdn-data export-model tdn-rgb --torch tdn-rgb.pt2
      tdn-data export-model actionflownet_2f --flow --onnx flow.onnx
    """
    from tdn_data.models.evaluation import network_export
    from tdn_data.stages.cli.evaluated import run_checkpoint

    if onnx is None and program is None:
        raise click.UsageError("Give --onnx FILE, --torch FILE or both.")
    with console.messages(), console.err.status("exporting"):
        about = network_export.export_model(run_checkpoint(run), onnx=onnx, program=program, flow=flow)
    if as_json:
        console.print_json(about)
        return
    size = " x ".join(map(str, about["input"]))
    given, found = ("float32", "flow") if flow else ("uint8", console.counted(len(about["class_names"]), "score"))
    words = f"{about['network']}: {given} {size} to {found}"
    written = ", ".join(str(path) for path in (onnx, program) if path is not None)
    console.out.print(f"{words}; {console.shown(written)}", soft_wrap=True, highlight=False)


COMMANDS = (export_model,)
