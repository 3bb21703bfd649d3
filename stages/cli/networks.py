"""The commands `models` (the networks by name, with their papers and costs) and `results` (what they reached)."""

from __future__ import annotations

import inspect
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from tdn_data.pipeline.limits import MAX_CLASSES, MAX_SEGMENTS
from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import json_option
from tdn_data.stages.cli.types import InputFolder, Text, Whole, Word


@click.command()
@click.argument("names", nargs=-1, type=Text())
@click.option("--classes", default=174, show_default=True, type=Whole(1, MAX_CLASSES), help="Number of classes.")
@click.option("--segments", type=Whole(1, MAX_SEGMENTS), help="Snippets over the video [default: the network's].")
@click.option("--backbone", type=Text(), help="E.g. resnet101 [default: the network's].")
@click.option("--size", default=224, show_default=True, type=Whole(32, 4096), help="Side of the frames in pixels.")
@json_option
def models(
    names: tuple[str, ...], classes: int, segments: int | None, backbone: str | None, size: int, as_json: bool
) -> None:
    """List the networks: paper, input, parameters, multiply-adds per video. NAMES chooses some of them.

    Published ImageNet weights of the backbones are downloaded on first use: load_weights(network, "imagenet") in
    Python, `init: [imagenet]` of a run in params.yaml.

    \b
    Examples:
      tdn-data models
      tdn-data models tsn tdn_wang --segments 16
    """
    from tdn_data.models import MODELS

    options = {key: value for key, value in (("num_segments", segments), ("backbone", backbone)) if value is not None}
    with console.messages(), console.wrong_arguments(), console.err.status("counting"):
        records = [_record(name, classes, size, options) for name in names or MODELS]
    if as_json:
        console.print_json(records)
        return
    table = Table("network", "clip (S, K, C, H, W)", "parameters", "multiply-adds")
    papers: dict[str, list[str]] = {}
    for record in records:
        clip = " x ".join(map(str, record["clip_shape"][1:]))
        costs = (f"{record['parameters'] / 1e6:.1f} M", f"{record['multiply_adds'] / 1e9:.1f} G")
        table.add_row(record["name"], clip, *costs)
        papers.setdefault(record["paper"], []).append(record["name"])
    console.out.print(table)
    for paper, named in papers.items():
        console.out.print(f"[bold]{', '.join(named)}[/]: {escape(paper)}", highlight=False)


def _record(name: str, num_classes: int, size: int, options: dict[str, object]) -> dict[str, object]:
    """Return one network's facts; the paper is what the network's own file opens with."""
    import torch

    from tdn_data.models import MODELS, build_model
    from tdn_data.models.networks.cost import default_clip_shape, model_cost

    with torch.device("meta"):  # shapes without values: a million classes would take gigabytes
        model = build_model(name, num_classes=num_classes, **options)
    shape = default_clip_shape(model, size=size)
    cost = model_cost(model, shape)
    opening = inspect.getmodule(MODELS[name]).__doc__.split("\n\n")[0]
    return {
        "name": name,
        "paper": " ".join(opening.split()),
        "clip_shape": shape,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
    }


@click.command()
@click.argument("folders", nargs=-1, type=InputFolder())
@click.option("--by-class", type=Word("accuracy", "AP"), help="Of each class this in place of the metrics.")
@json_option
def results(folders: tuple[Path, ...], by_class: str | None, as_json: bool) -> None:
    """Show what the pipeline's networks reached, from the project's folder.

    Of several FOLDERS with results also the mean: over the three splits of HMDB51 and UCF101, or over seeds; by class
    the mean alone.

    \b
    Examples:
      tdn-data results
      tdn-data results runs-split1 runs-split2 runs-split3
      tdn-data results runs-split1 runs-split2 runs-split3 --by-class AP
    """
    from tdn_data.stages.cli.results_table import print_classes, print_results  # brings torch

    with console.messages():
        if by_class is None:
            print_results(folders, as_json=as_json)
        else:
            print_classes(folders, by_class, as_json=as_json)


COMMANDS = (models, results)
