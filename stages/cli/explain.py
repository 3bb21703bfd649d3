"""The command `explain`: which places of a video a run's score stands on, as a picture."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.limits import MAX_NAME_BYTES
from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import refuse_idle
from tdn_data.stages.cli.types import InputFolder, OutputFile, Text, Word

METHODS = ("cam", "gradcam", "occlusion", "flow")
method_option = click.option(
    "--method", type=Word(*METHODS), default="cam", show_default=True, help="What is drawn, see `explain`."
)
layer_option = click.option("--layer", type=Text(), help="The stage of gradcam, e.g. res2  [default: the last].")


@click.command()
@click.argument("run", type=Text())
@click.option("--video", "video_id", required=True, type=Text(), help="The video, by its name in the shards.")
@method_option
@layer_option
@click.option("--beside", type=Text(), help="Another run, whose pictures of the same class stand below.")
@click.option("--class", "class_name", type=Text(), help="The class  [default: what the network sees].")
@click.option("--out", type=OutputFile(".png"), help="The picture  [default: in the run's folder explain].")
@click.option("--shards", type=InputFolder(), help="Where the video lies  [default: the project's shards].")
def explain(
    run: str,
    video_id: str,
    method: str,
    layer: str | None,
    beside: str | None,
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
      tdn-data explain tsn-rgb --beside tdn-rgb --video videos/move_left/test_000
    """
    from tdn_data.models.evaluation.explain import EXPLAIN
    from tdn_data.models.evaluation.explain import explainer as explaining
    from tdn_data.models.evaluation.predict import ONE_VIEW
    from tdn_data.pipeline.images import write_png
    from tdn_data.stages.cli.evaluated import are_different_runs, run_checkpoint, run_folder, run_protocol

    refuse_idle_layer(method)
    if method == "flow":
        refuse_idle(("beside",), "with --method flow, which is of one network")
    runs = [run] if beside is None else [run, beside]
    with console.messages(), console.wrong_arguments():
        if not are_different_runs(runs):
            raise InputError(f"--beside {beside} is the run itself; name another run, or leave it out.", key="beside")
        files = [run_checkpoint(one) for one in runs]
        found = []
        for one, file in zip(runs, files, strict=True):
            reader, flow = _shards(shards, file, with_flow=method == "flow")
            options = {"config": run_protocol(one, ONE_VIEW), "method": method, "layer": layer, "flow": flow}
            options["class_name"] = class_name or (found[0].class_name if found else None)
            with console.progress("explaining", unit="squares") as update:
                found.append(explaining.explain(reader, file, video_id, on_progress=update, **options))
        if out is None:
            out = run_folder(run) / EXPLAIN / picture_name(video_id, method, layer, beside)
            out.parent.mkdir(parents=True, exist_ok=True)
        together = found[0] if beside is None else explaining.below_each_other(dict(zip(runs, found, strict=True)))
        write_png(out, together.picture)
    for one, own in zip(runs, found, strict=True):
        which = f"{one}: " if beside else ""
        words = f"{which}class {own.class_name} {own.probability:.3f}; truth {', '.join(own.truth) or 'none'}"
        console.out.print(f"{console.shown(video_id)}: {console.shown(words)}", soft_wrap=True, highlight=False)
    console.out.print(f"picture: {console.shown(out)}", soft_wrap=True, highlight=False)


def refuse_idle_layer(method: str) -> None:
    """Refuse --layer beside a method that has no layers to choose from."""
    if method != "gradcam":
        refuse_idle(("layer",), f"with --method {method}")


def picture_name(video_id: str, method: str, layer: str | None = None, beside: str | None = None) -> str:
    """Return the name of a video's picture, safe for file systems: what is no letter or digit of it is `_`."""
    other = beside and "beside_" + _plain(beside).replace("-", "_")
    end = "".join(f"-{word}" for word in (method, layer, other) if word) + ".png"
    plain = _plain(video_id).lstrip(".")
    room = MAX_NAME_BYTES - len(os.fsencode(end))
    return os.fsencode(plain)[-room:].decode(errors="ignore") + end


def _plain(word: str) -> str:
    return re.sub(r"[^\w.-]", "_", word)


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
