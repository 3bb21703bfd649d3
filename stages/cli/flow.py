"""The command `flow`: optical flow between two image files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tdn_data.pipeline.flow.methods import DEVICES, METHODS
from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import json_option, refuse_idle
from tdn_data.stages.cli.types import InputFile, OutputFile, Text, Word


@click.command()
@click.argument("first", type=InputFile("image"))
@click.argument("second", type=InputFile("image"))
@click.option("--out", type=OutputFile(".flo", ".png"), required=True, help="f.flo for numbers, f.png for colours.")
@click.option("--truth", type=InputFile(".flo file"), help="A .flo file to compare with.")
@click.option("--method", type=Word(*METHODS), default="tvl1", show_default=True)
@click.option("--device", type=Word(*DEVICES), default="auto", show_default=True, help="For tvl1.")
@click.option("--preset", type=Text(), help="opencv or opencv-cuda for tvl1, ultrafast, fast or medium for dis.")
@json_option
def flow(
    first: Path,
    second: Path,
    out: Path,
    truth: Path | None,
    method: str,
    device: str,
    preset: str | None,
    as_json: bool,
) -> None:
    """Compute the optical flow from image FIRST to image SECOND.

    \b
    Examples:
      tdn-data flow a.png b.png --out flow.png
      tdn-data flow a.png b.png --out flow.flo --truth truth.flo --method farneback
    """
    from tdn_data.pipeline.flow import flow_between_files

    if method not in ("tvl1", "dis"):
        refuse_idle(("preset",), f"with --method {method}")

    options = {} if preset is None else {"preset": preset}
    with console.messages(), console.wrong_arguments():
        report = flow_between_files(first, second, output=out, truth=truth, method=method, device=device, **options)
    if as_json:
        console.print_json({name: value for name, value in vars(report).items() if name != "flow"})
        return
    height, width = report.flow.shape[:2]
    magnitudes = f"mean {report.mean_magnitude:.3f} px, largest {report.max_magnitude:.2f} px"
    console.out.print(
        f"{report.method}: {width} x {height}, {magnitudes}; {console.shown(report.output)}",
        soft_wrap=True,
        highlight=False,
    )
    if report.error is not None:
        words = ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in asdict(report.error).items())
        console.out.print(f"against {console.shown(truth)}: {words}", soft_wrap=True, highlight=False)


def _number(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


COMMANDS = (flow,)
