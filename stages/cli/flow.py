"""The commands `flow` (optical flow between two image files) and `flow-error` (how good a method's flow is)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tdn_data.pipeline.datasets.flow_pairs import SINTEL_PASSES
from tdn_data.pipeline.flow.methods import DEVICES, METHODS
from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import json_option, refuse_idle
from tdn_data.stages.cli.types import (
    DatasetName,
    FlowMethod,
    InputFile,
    InputFolder,
    OutputFile,
    ShardFolder,
    Text,
    Whole,
    Word,
)

method_option = click.option(
    "--method",
    type=FlowMethod(*METHODS),
    default="tvl1",
    show_default=True,
    help=f"{', '.join(METHODS)}, the checkpoint of a network that gives the flow of two frames, or onnx:FILE.",
)


@click.command()
@click.argument("first", type=InputFile("image"))
@click.argument("second", type=InputFile("image"))
@click.option("--out", type=OutputFile(".flo", ".png"), required=True, help="f.flo for numbers, f.png for colours.")
@click.option("--truth", type=InputFile(".flo file"), help="A .flo file to compare with.")
@method_option
@click.option("--device", type=Word(*DEVICES), default="auto", show_default=True, help="For tvl1.")
@click.option("--preset", type=Text(), help="opencv, fast or opencv-cuda for tvl1, ultrafast, fast or medium for dis.")
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
      tdn-data flow a.png b.png --out flow.png --method runs/actionflownet_2f/checkpoint.pt
    """
    from tdn_data.pipeline.flow import flow_between_files

    if method not in ("tvl1", "dis"):
        refuse_idle(("preset",), f"with --method {method}")

    options = {} if preset is None else {"preset": preset}
    with console.messages(), console.wrong_arguments():
        handed_in = {} if method in METHODS else {"solver": _network(method)}
        options |= {"method": method, "device": device, **handed_in}
        report = flow_between_files(first, second, output=out, truth=truth, **options)
    if as_json:
        console.print_json({name: value for name, value in vars(report).items() if name != "flow"})
        return
    height, width = report.flow.shape[:2]
    magnitudes = f"mean {report.mean_magnitude:.3f} px, largest {report.max_magnitude:.2f} px"
    console.out.print(
        f"{console.shown(report.method)}: {width} x {height}, {magnitudes}; {console.shown(report.output)}",
        soft_wrap=True,
        highlight=False,
    )
    if report.error is not None:
        words = ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in asdict(report.error).items())
        console.out.print(f"against {console.shown(truth)}: {words}", soft_wrap=True, highlight=False)


def _number(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _network(method: str):
    """Return the solver of a network's file, which the pipeline is handed: it imports no network itself."""
    from tdn_data.models.evaluation.flow_solver import solver_named

    return solver_named(method)


@click.command("flow-error")
@method_option
@click.option("--device", type=Word(*DEVICES), default="auto", show_default=True, help="For tvl1.")
@click.option("--dataset", type=DatasetName("flow pairs"), help="sintel or flying-chairs.")
@click.option("--root", type=InputFolder(), help="The folder that holds it.")
@click.option("--pass", "render_pass", type=Word(*SINTEL_PASSES), help="Of sintel's pictures  [default: clean].")
@click.option("--frames", type=ShardFolder(), help="Or shards of frames,")
@click.option("--flow", "flow_folder", type=ShardFolder(), help="and shards of their flow  [default: the same folder].")
@click.option("--split", type=Text(), help="Which is measured  [default: the data set's own].")
@click.option("--limit", type=Whole(1), help="The first so many pairs, or videos of shards, alone.")
@json_option
def flow_error(
    method: str,
    device: str,
    dataset: str | None,
    root: Path | None,
    render_pass: str | None,
    frames: str | None,
    flow_folder: str | None,
    split: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Measure the end-point error of a method or a trained network, where the flow is known or stored.

    \b
    Examples:
      tdn-data flow-error --dataset sintel --root /data/sintel --pass final --method runs/actionflownet_2f/checkpoint.pt
      tdn-data flow-error --frames shards --method farneback
    """
    from tdn_data.models.evaluation import flow_error as errors
    from tdn_data.models.evaluation.flow_solver import solver_named
    from tdn_data.pipeline.datasets.registry import dataset_spec
    from tdn_data.pipeline.shards.reader import ShardReader

    if (dataset is None) == (frames is None) or (dataset is None) != (root is None):
        raise click.UsageError("Give --dataset and --root, or --frames.")
    if dataset is not None:
        refuse_idle(("flow_folder",), "with --dataset")
    if dataset != "sintel":
        refuse_idle(("render_pass",), "without --dataset sintel")
    with console.messages(), console.wrong_arguments():
        solver = solver_named(method, device=device)
        with console.progress("measuring", unit="pairs" if dataset else "videos") as update:
            options = {"limit": limit, "on_progress": update}
            if dataset is not None:
                spec = dataset_spec(dataset)
                known = spec.read(root) if render_pass is None else spec.read(root, render_pass=render_pass)
                pairs = errors.known_pairs(known, split or spec.test_split, **options)
            else:
                readers = ShardReader(frames), ShardReader(flow_folder or frames, modality="flow")
                pairs = errors.stored_pairs(*readers, split or dataset_spec(readers[0].info.name).test_split, **options)
            found = errors.flow_error(pairs, solver)
    if as_json:
        console.print_json(found)
        return
    console.out.print(
        f"{console.shown(method)}: end-point error {found.epe:.3f} px over {console.counted(found.num_pairs, 'pair')}, "
        f"{found.share_above_1px:.1%} of the pixels above 1 px; of no motion {found.still:.3f} px",
        soft_wrap=True,
        highlight=False,
    )


COMMANDS = (flow, flow_error)
