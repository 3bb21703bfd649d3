"""The command `predict`: what a trained network says of new videos."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import click

from tdn_data.pipeline.errors import InputError, VideoError
from tdn_data.pipeline.images import write_png
from tdn_data.stages.cli import console
from tdn_data.stages.cli.explain import layer_option, method_option, picture_name, refuse_idle_layer
from tdn_data.stages.cli.options import json_option, refuse_idle
from tdn_data.stages.cli.types import InputFile, Text, Whole

COLUMNS = ("video", "rank", "class", "probability", "problem", "picture", "remark")


@click.command()
@click.argument("videos", nargs=-1, required=True, type=Text())
@click.option("--run", type=Text(), help="A run of the project, or the folder of one: its network and its protocol.")
@click.option("--checkpoint", type=InputFile("checkpoint"), help="Or a network's file; each video is seen in one view.")
@click.option("--top", default=5, show_default=True, type=Whole(1, 1000), help="How many classes are shown.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the result as CSV, a row for each class.")
@click.option(
    "--explain", "with_pictures", is_flag=True, help="Draw, too, which places of each video its score stands on."
)
@method_option
@layer_option
@json_option
def predict(
    videos: tuple[str, ...],
    run: str | None,
    checkpoint: Path | None,
    top: int,
    as_csv: bool,
    with_pictures: bool,
    method: str,
    layer: str | None,
    as_json: bool,
) -> None:
    """Say what a trained network sees in VIDEOS: files, folders of them, or patterns such as 'clips/*.mp4'.

    Videos are decoded and sampled as those that it was trained on; a network that reads flow has it computed. A video
    that cannot be read has its reason in its line. The pictures of --explain, as the command `explain` draws them, are
    written to the folder explain of the run, or beside the checkpoint.

    \b
    Examples:
      tdn-data predict new.mp4 --run tdn-rgb
      tdn-data predict new.mp4 --run tdn-rgb --explain
      tdn-data predict clips --checkpoint runs/tdn-rgb/checkpoint.pt --top 1 --csv
    """
    from tdn_data.models.evaluation.explain import EXPLAIN
    from tdn_data.models.evaluation.explain.explainer import Explainer
    from tdn_data.models.evaluation.predict import ONE_VIEW, Predictor
    from tdn_data.pipeline.datasets.media_files import named_videos
    from tdn_data.stages.cli.evaluated import run_checkpoint, run_protocol

    if (run is None) == (checkpoint is None):
        raise click.UsageError("Give --run or --checkpoint, one of them.")
    if as_csv and as_json:
        raise click.UsageError("Give --csv or --json, not both.")
    if not with_pictures:
        refuse_idle(("method", "layer"), "without --explain")
    refuse_idle_layer(method)
    with console.messages(), console.wrong_arguments():
        found = named_videos(videos)
        config = ONE_VIEW if run is None else run_protocol(run, ONE_VIEW)
        file = checkpoint or run_checkpoint(run)
        predictor, draw = Predictor(file, config=config), None
        if with_pictures:
            explainer = Explainer(file, config=config, method=method, layer=layer)
            names = picture_names(found, method, layer)
            draw = partial(_draw, explainer, predictor.info, file.parent / EXPLAIN, names)
        records = []
        with console.progress("predicting", total=len(found), unit="videos") as update:
            for number, (path, video_id) in enumerate(found.items(), start=1):
                records.append(_record(predictor, path, video_id, top, draw))
                if not as_csv and not as_json:
                    console.out.print(_line(records[-1]), soft_wrap=True, highlight=False)
                update(number)
    if as_json:
        console.print_json(records)
    elif as_csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows(
            [COLUMNS, *(row for one in records for row in _rows(one))]
        )
    if not any(one["classes"] for one in records):
        raise SystemExit(console.EXIT_FAILED)


def _record(predictor, path: Path, video_id: str, top: int, draw: Callable | None) -> dict[str, object]:
    """Return a video's most probable classes, none where nothing of it could be read, and what speaks against them.

    `draw` writes the picture of a decoded video, and returns its file.
    """
    try:
        decoded = predictor.decode(path, video_id=video_id)
    except VideoError as error:
        nothing = {"classes": [], "picture": None, "remark": None}
        return {"video": str(path), "problem": f"{error.reason}: {error.sentence}", **nothing}
    prediction, remark, picture = predictor.of(decoded), None, None
    classes = [{"class": name, "probability": value} for name, value in prediction.top(top)]
    try:
        picture = None if draw is None else str(draw(decoded, path))
    except InputError as error:
        remark = f"no picture: {error.message}"
    remark = "; ".join(filter(None, (prediction.remark, remark))) or None
    about = {"problem": prediction.problem, "picture": picture, "remark": remark}
    return {"video": str(path), "classes": classes, **about}


def _draw(explainer, info, folder: Path, names: Mapping[Path, str], decoded, path: Path) -> Path:
    """Write the picture of a decoded video; return its file."""
    picture = explainer(decoded, decoded.video, info).picture
    folder.mkdir(exist_ok=True)
    write_png(folder / names[path], picture)
    return folder / names[path]


def picture_names(found: Mapping[Path, str], method: str, layer: str | None) -> dict[Path, str]:
    """Return path -> name of its picture for videos path -> identifier: of two of one name, by their paths."""
    times = Counter(found.values())
    return {
        path: picture_name(video_id if times[video_id] == 1 else str(path.with_suffix("")), method, layer)
        for path, video_id in found.items()
    }


def _line(record: dict) -> str:
    words = ", ".join(f"{one['class']} {one['probability']:.3f}" for one in record["classes"])
    problem = record["problem"] and (f"[read up to a fault: {record['problem']}]" if words else record["problem"])
    remark = record["remark"] and f"[{record['remark']}]"
    picture = record["picture"] and f"; picture: {record['picture']}"
    return console.shown(f"{record['video']}: {' '.join(filter(None, (words, problem, remark)))}{picture or ''}")


def _rows(record: dict) -> list[tuple[object, ...]]:
    """Return a row for each class that is shown, or the one row of a video that could not be read."""
    ranked = enumerate(record["classes"], start=1)
    rows = [(rank, one["class"], f"{one['probability']:.6f}") for rank, one in ranked] or [("", "", "")]
    return [(record["video"], *row, *(record[name] or "" for name in COLUMNS[4:])) for row in rows]


COMMANDS = (predict,)
