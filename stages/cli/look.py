"""Commands that show what is there: inspect, status, verify."""

from __future__ import annotations

from pathlib import Path

import click
from rich.filesize import decimal
from rich.table import Table

from tdn_data.stages.cli import console
from tdn_data.stages.cli.extraction import print_failures
from tdn_data.stages.cli.options import json_option, refuse_idle
from tdn_data.stages.cli.types import OutputFile, ShardFolder, ShardPath, Text, Whole, Word


@click.command()
@click.argument("path", type=ShardPath())
@click.option("--sheet", type=OutputFile(".png"), help="Also draw labelled thumbnails into this PNG.")
@click.option("--sheet-videos", default=12, show_default=True, type=Whole(1, 1000), help="Videos on the sheet.")
@click.option("--videos", is_flag=True, help="Show a table of the videos instead.")
@click.option("--sort", type=Word("duration", "motion", "bytes", "clipped"), help="The table's order, largest first.")
@click.option("--split", type=Text(), help="Only videos of this split in the table.")
@click.option("--class", "class_name", type=Text(), help="Only videos of this class in the table.")
@click.option("--failed", is_flag=True, help="Only what failed or is partial in the table.")
@click.option("--video", type=Text(), help="Show one video instead, frame by frame.")
@click.option("--gif", type=OutputFile(".gif"), help="With --video: also write it, frames beside flow, as this file.")
@click.option("--mp4", type=OutputFile(".mp4"), help="With --video: the same as a film.")
@click.option("--limit", default=40, show_default=True, type=Whole(1), help="Rows of a table.")
@click.option("--schema", is_flag=True, help="Show the columns of the shards instead.")
@json_option
def inspect(
    path: str,
    sheet: Path | None,
    sheet_videos: int,
    videos: bool,
    video: str | None,
    gif: Path | None,
    mp4: Path | None,
    limit: int,
    schema: bool,
    as_json: bool,
    **chosen: object,
) -> None:
    """Show what a folder of shards, or one shard, holds: videos, frames, sizes, parameters, failures, and pictures.

    Motion is the mean magnitude of a video's flow in pixels a step, clipped the share of it beyond the bound.

    \b
    Examples:
      tdn-data inspect shards --sheet sheet.png
      tdn-data inspect shards --videos --sort motion
      tdn-data inspect shards --video kitchen/a --gif a.gif
    """  # fmt: skip
    if sum((videos, video is not None, schema, sheet is not None)) > 1:
        raise click.UsageError("Give one of --sheet, --videos, --video and --schema.")
    if sheet is None:
        refuse_idle(("sheet_videos",), "without --sheet")
    if not videos:
        refuse_idle(("sort", "split", "class_name", "failed"), "without --videos")
    if video is None:
        refuse_idle(("gif", "mp4"), "without --video")
    if not videos and video is None:
        refuse_idle(("limit",), "without --videos or --video")
    if videos:
        _inspect_videos(path, limit, as_json, chosen)
    elif video is not None:
        _inspect_video(path, video, limit, as_json, {"gif": gif, "mp4": mp4})
    elif schema:
        _inspect_schema(path, as_json)
    else:
        _inspect_folder(path, sheet, sheet_videos, as_json)


def _inspect_videos(path: str, limit: int, as_json: bool, chosen: dict) -> None:
    """Print the table of videos."""
    from tdn_data.pipeline.view.video_table import video_table
    from tdn_data.stages.cli.stored_videos import print_videos

    words = f"reading all videos to sort them by {chosen['sort']}" if chosen["sort"] else "reading"
    with console.messages(), console.progress(words, unit="videos") as update:
        table = video_table(path, limit=limit, on_progress=update, **chosen)
    console.print_json(table) if as_json else print_videos(table)


def _inspect_video(path: str, video_id: str, limit: int, as_json: bool, files: dict[str, Path | None]) -> None:
    """Print one video, and write it as files that play it."""
    from tdn_data.pipeline.view.video_table import video_details
    from tdn_data.stages.cli.stored_videos import print_video

    with console.messages():
        details = video_details(path, video_id)
        for kind, file in files.items():
            if file is not None:
                _write_film(path, video_id, kind, file)
    console.print_json(details) if as_json else print_video(details, limit)


def _write_film(path: str, video_id: str, kind: str, file: Path) -> None:
    """Write one video's frames beside its flow."""
    from tdn_data.pipeline.export.source import open_source
    from tdn_data.pipeline.export.videos import save_gif, save_movie
    from tdn_data.pipeline.files import replacing

    source = open_source(path, modalities=None, video_ids=[video_id])
    with replacing(file) as scratch:
        (save_gif if kind == "gif" else save_movie)(source, video_id, scratch)


def _inspect_schema(path: str, as_json: bool) -> None:
    """Print the columns."""
    from tdn_data.pipeline.view.video_table import stored_columns
    from tdn_data.stages.cli.stored_videos import print_columns

    with console.messages():
        columns = stored_columns(path)
    console.print_json(columns) if as_json else print_columns(columns)


def _inspect_folder(path: str, sheet: Path | None, sheet_videos: int, as_json: bool) -> None:
    """Print the summary, and draw the sheet."""
    from tdn_data.pipeline.images import write_png
    from tdn_data.pipeline.view.inspect import contact_sheet, inspect_shards

    with console.messages():
        inspection = inspect_shards(path)
        if sheet is not None:
            write_png(sheet, contact_sheet(path, num_videos=sheet_videos))
    if as_json:
        console.print_json(inspection)
        return
    labels = "several labels a video" if inspection.multi_label else "one label a video"
    classes = console.counted(inspection.num_classes, "class", "classes")
    console.out.print(f"[bold]{console.shown(inspection.dataset)}[/]: {classes}, {labels}", highlight=False)
    for number, splits in inspection.list_splits.items():
        console.out.print(f"list split {number}: {_split_words(splits)}", highlight=False)
    console.out.print(_modality_table(inspection.modalities))
    if inspection.failures:
        print_failures(list(inspection.failures))
    if sheet is not None:
        console.out.print(f"sheet: {console.shown(sheet)}", soft_wrap=True)


def _modality_table(modalities) -> Table:
    """Return one column of facts per modality."""
    table = Table("", *(one.modality for one in modalities))
    table.add_row("shards", *(f"{one.num_shards}, {decimal(one.shard_bytes)}" for one in modalities))
    table.add_row("videos stored", *(str(one.num_videos) for one in modalities))
    table.add_row("rows", *(str(one.num_rows) for one in modalities))
    table.add_row("splits", *(_split_words(one.splits) for one in modalities))
    table.add_row("status", *(", ".join(f"{n} {status}" for status, n in one.status.items()) for one in modalities))
    table.add_row("parameters", *(_parameter_words(one.parameters) for one in modalities))
    if any(one.mean_magnitude is not None for one in modalities):
        table.add_row("mean flow", *(_flow_words(one) for one in modalities))
    return table


def _split_words(splits: dict[str, int]) -> str:
    return console.shown(", ".join(f"{count} {split}" for split, count in splits.items()))


def _parameter_words(parameters: dict[str, object]) -> str:
    return "\n".join(console.shown(f"{key} {value}") for key, value in parameters.items() if value is not None)


def _flow_words(one) -> str:
    if one.mean_magnitude is None:
        return ""
    return f"{one.mean_magnitude:.2f} px, {one.clipped_share:.2%} clipped"


@click.command()
@click.argument("path", type=ShardFolder())
@json_option
def status(path: str, as_json: bool) -> None:
    """Show how far an extraction is, finished or not, and failures by reason.

    \b
    Example: tdn-data status shards
    """
    from tdn_data.pipeline.shards.nearby import nothing_here
    from tdn_data.pipeline.shards.status import extraction_status
    from tdn_data.pipeline.shards.storage import Storage

    with console.messages():
        state = extraction_status(path)
        if not state.modalities and not state.findings:
            raise nothing_here(Storage(path), "holds no shard")
    if as_json:
        console.print_json(state)
    else:
        _print_status(state)
    if state.findings:
        raise SystemExit(console.EXIT_FAILED)


def _print_status(state) -> None:
    """Print whether an extraction is finished, a line for each modality, and what is wrong."""
    words = "finished" if state.finished else "unfinished: run the same `tdn-data extract` again to continue"
    if state.findings:
        words = f"damaged. {_way_out(state)}"
    elif state.finished and (beside := sum(one.num_shards_beside for one in state.modalities)):
        new = console.counted(beside, "shard")
        words += f", but not the last run, which made {new} until now: the same `tdn-data extract` continues it"
    console.out.print(f"{console.shown(state.location)}: {words}", soft_wrap=True, highlight=False)
    for one in state.modalities:
        status = ", ".join(f"{count} {name}" for name, count in one.status.items())
        reasons = ", ".join(f"{count} {name}" for name, count in one.reasons.items())
        status += f"; of these {reasons}" if reasons else ""
        shards = f"{one.num_shards} of {console.counted(one.num_shards_total, 'shard')}"
        if one.num_shards_earlier:
            shards += f" ({one.num_shards_earlier} of an earlier number beside them)"
        videos, rows = console.counted(one.num_videos, "video"), console.counted(one.num_rows, "row")
        words = f"{one.modality}: {shards}, {videos} ({status}), {rows}"
        console.out.print(words, soft_wrap=True, highlight=False)
    _print_findings(state.findings)


def _way_out(found) -> str:
    """Return the command that puts right what was found wrong in a folder."""
    shards = sorted({finding.shard for finding in found.findings if finding.fix == "extract"})
    if not shards:
        return f"Run `tdn-data repair {console.shown(found.location)}`: it writes what is named again from the shards."
    if not getattr(found, "noted", True):
        return (
            f"{console.shown(found.location)} cannot be written, so the next extraction does not know what is damaged: "
            "make it writable, verify it again, and run the same `tdn-data extract` as before."
        )
    return "Run the same `tdn-data extract` as before: it puts right what is named and makes no other shard."


def _print_findings(findings) -> None:
    """Print what is wrong, a line each."""
    for finding in findings:
        where = " ".join(part for part in (finding.shard, finding.video_id) if part)
        what = finding.what.removeprefix(
            f"{where} "
        )  # which begins with the shard's name where the shard itself says it
        console.out.print(f"[bold]{console.shown(where)}[/]: {console.shown(what)}", soft_wrap=True, highlight=False)


@click.command()
@click.argument("path", type=ShardFolder())
@json_option
def verify(path: str, as_json: bool) -> None:
    """Read every shard again and name what is wrong: checksums, counts, images, times.

    Shards that are damaged are noted in the folder: the next `extract` into it recreates them, and no others.

    \b
    Example: tdn-data verify shards
    """
    from tdn_data.pipeline.shards.verify import verify_shards

    with console.messages(), console.progress("verifying") as update:
        verification = verify_shards(path, on_progress=update)
    if as_json:
        console.print_json(verification)
    else:
        _print_findings(verification.findings)
        counts = (verification.num_shards, "shard"), (verification.num_videos, "ledger row")
        seen = ", ".join(console.counted(*one) for one in (*counts, (verification.num_images, "image")))
        console.out.print(f"{seen} read; {len(verification.findings) or 'nothing'} wrong", highlight=False)
        if verification.findings:
            console.out.print(_way_out(verification), soft_wrap=True, highlight=False)
    if verification.findings:
        raise SystemExit(console.EXIT_FAILED)


@click.command()
@click.argument("path", type=ShardFolder())
@json_option
def repair(path: str, as_json: bool) -> None:
    """Write the index, ledger, splits and dataset.json of a folder again from its shards; nothing is decoded.

    Shards of an older schema are upgraded. A shard that is missing or known to be damaged is named: the same `extract`
    recreates it.

    \b
    Example: tdn-data repair shards
    """
    from tdn_data.pipeline.shards.repair import repair_folder

    with console.messages(), console.progress("upgrading") as update:
        repair = repair_folder(path, on_progress=update)
    if as_json:
        console.print_json(repair)
    else:
        _print_findings(repair.findings)
        made = [f"{console.counted(len(repair.upgraded), 'shard')} upgraded"] if repair.upgraded else []
        made += [f"{', '.join(repair.written)} written"] if repair.written else []
        nothing = "nothing to repair (pictures are not read here; `tdn-data verify` reads them)"
        words = (
            _way_out(repair) if repair.findings else f"{console.shown(repair.location)}: {', '.join(made) or nothing}"
        )
        console.out.print(words, soft_wrap=True, highlight=False)
    if repair.findings:
        raise SystemExit(console.EXIT_FAILED)


COMMANDS = (inspect, status, verify, repair)
