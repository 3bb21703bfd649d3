"""The command `explain`: which places of a video a run's score stands on, as a picture."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import click

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.limits import MAX_NAME_BYTES
from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import refuse_idle
from tdn_data.stages.cli.types import InputFolder, OutputFile, Text, Word

METHODS = ("cam", "gradcam", "occlusion", "flow")


@click.command()
@click.argument("run", type=Text())
@click.option("--video", "video_id", required=True, type=Text(), help="The video, by its name in the shards.")
@click.option("--method", type=Word(*METHODS), default="cam", show_default=True, help="What is drawn.")
@click.option("--layer", type=Text(), help="The stage of gradcam, e.g. res2  [default: the last].")
@click.option("--class", "class_name", type=Text(), help="The class  [default: what the network sees].")
@click.option("--out", type=OutputFile(".png"), help="The picture  [default: in the run's folder explain].")
@click.option("--shards", type=InputFolder(), help="Where the video lies  [default: the project's shards].")
def explain(
    run: str,
    video_id: str,
    method: str,
    layer: str | None,
    class_name: str | None,
    out: Path | None,
    shards: Path | None,
) -> None:
    """Draw which places of a video the score of RUN stands on.

    cam applies the classifier at each place of the last map (TSN, TDN and others that average over places), gradcam
    weights the maps of any stage of any network by their gradients, occlusion moves a black square over the clip, and
    flow shows the flow that a network learned beside the stored one.

    \b
    Examples:
      tdn-data explain tdn-rgb --video videos/move_left/test_000
      tdn-data explain tdn-rgb --video videos/move_left/test_000 --method gradcam --layer res2 --out res2.png
    """
    from tdn_data.models.evaluation.explain import EXPLAIN
    from tdn_data.models.evaluation.explain import video as explaining
    from tdn_data.models.evaluation.predict import ONE_VIEW
    from tdn_data.pipeline.images import write_png
    from tdn_data.stages.cli.evaluated import run_checkpoint, run_folder, run_protocol

    if method != "gradcam":
        refuse_idle(("layer",), f"with --method {method}")
    with console.messages(), console.wrong_arguments():
        checkpoint = run_checkpoint(run)
        temporal = {"num_clips": 1, "num_crops": 1, "temporal": "random", "spatial": "fixed"}
        options = {"config": replace(run_protocol(run, ONE_VIEW), **temporal), "method": method, "layer": layer}
        options |= {"class_name": class_name}
        reader, flow = _shards(shards, checkpoint, with_flow=method == "flow")
        with console.progress("explaining", unit="squares") as update:
            found = explaining.explain(reader, checkpoint, video_id, flow=flow, on_progress=update, **options)
        if out is None:
            out = run_folder(run) / EXPLAIN / picture_name(video_id, method, layer)
            out.parent.mkdir(parents=True, exist_ok=True)
        write_png(out, found.picture)
    words = f"{video_id}: class {found.class_name} {found.probability:.3f}; truth {', '.join(found.truth) or 'none'}"
    console.out.print(f"{console.shown(words)}; picture: {console.shown(out)}", soft_wrap=True, highlight=False)


def picture_name(video_id: str, method: str, layer: str | None = None) -> str:
    """Return the name of a video's picture, safe for file systems: what is no letter or digit of it is `_`."""
    end = "".join(f"-{word}" for word in (method, layer) if word) + ".png"
    plain = re.sub(r"[^\w.-]", "_", video_id).lstrip(".")
    room = MAX_NAME_BYTES - len(os.fsencode(end))
    return os.fsencode(plain)[-room:].decode(errors="ignore") + end


def _shards(folder: Path | None, checkpoint: Path, *, with_flow: bool):
    """Return the shards of the checkpoint's modality, and those of flow where they are wanted and there are some."""
    from tdn_data.models.evaluation.evaluate import check_checkpoint
    from tdn_data.models.weights.checkpoint import read_checkpoint
    from tdn_data.pipeline.shards.reader import ShardReader
    from tdn_data.stages.params import load_params

    modality = check_checkpoint(read_checkpoint(checkpoint), checkpoint).modality
    if folder is None:
        params = load_params()
        has_flow = "flow" in params.stored()
        return params.open_shards(modality), params.open_shards("flow") if with_flow and has_flow else None
    flow = None
    if with_flow:
        try:
            flow = ShardReader(folder, modality="flow")
        except InputError:
            flow = None
    return ShardReader(folder, modality=modality), flow


COMMANDS = (explain,)
