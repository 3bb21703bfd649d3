"""The commands `compare` (two runs on the same videos) and `mistakes` (what one of them gets wrong)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich import box
from rich.table import Column, Table

from tdn_data.pipeline.errors import InputError
from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import json_option, refuse_idle
from tdn_data.stages.cli.types import InputFolder, OutputFile, Text, Whole, Word

WIDE_ENOUGH = 100  # columns of a window
WIDEST = "+12.3 [-12.3, +100.0]"  # of the numbers with their intervals


@click.command()
@click.argument("first", type=Text())
@click.argument("second", type=Text())
@click.option("--by", type=Word("accuracy", "AP"), help="How classes are compared  [default: accuracy, if defined].")
@click.option("--class", "class_name", type=Text(), help="Show this class alone.")
@click.option("--count", default=5, show_default=True, type=Whole(1, 1000), help="Classes that gain, and that lose.")
@click.option("--resamples", default=1000, show_default=True, type=Whole(100, 100_000), help="Of the bootstrap.")
@click.option("--out", type=OutputFile(".png"), help="Draw the classes that gain and lose most.")
@json_option
def compare(
    first: str,
    second: str,
    by: str | None,
    class_name: str | None,
    count: int,
    resamples: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare two evaluated runs or fusions, FIRST with SECOND, on the same videos, with 95 % intervals.

    They are of a bootstrap over videos, and those of differences are paired: one that leaves out 0 is hardly chance.

    \b
    Examples:
      tdn-data compare tsn-rgb tdn-rgb
      tdn-data compare tsn-rgb tdn-rgb --by AP --out compare.png
    """
    from tdn_data.models.evaluation.comparison import compare_runs, write_comparison
    from tdn_data.models.evaluation.run_record import check_same_test
    from tdn_data.stages.cli.evaluated import run_scores

    with console.messages():
        (one, record), (other, its_record) = run_scores(first), run_scores(second)
        check_same_test(record, its_record, (first, second))
        _check_class(class_name, record.class_names)
        facts = {"class_names": record.class_names, "multi_label": record.multi_label}
        found = compare_runs((first, second), one, other, measure=by, num_resamples=resamples, **facts)
        found = found if class_name is None else found.of_class(class_name)
        if out is not None:
            write_comparison(out, found, count=count)
    if as_json:
        console.print_json(_as_dict(found))
        return
    classes = found.extremes(count) if class_name is None else found.classes
    _print_compared(console.counted(found.num_videos, "video"), found.metrics, (first, second))
    _print_compared(f"class, {found.measure}", classes, (first, second))
    if out is not None:
        console.out.print(f"picture: {console.shown(out)}", soft_wrap=True, highlight=False)


def _as_dict(comparison) -> dict:
    """Return a comparison as plain values, intervals by name."""
    plain = asdict(comparison)
    for one in (*plain["metrics"], *plain["classes"]):
        one |= {key: one[key]._asdict() for key in ("first", "second", "difference")}
    return plain


def _print_compared(title: str, rows, runs: tuple[str, str]) -> None:
    """Print numbers of two runs; a narrow window has room for the interval of the difference alone."""
    wide = console.out.width >= WIDE_ENOUGH
    widths = (len(WIDEST) if wide else 0, len(WIDEST) if wide else 0, len(WIDEST))
    heads = [
        Column(console.shown(head), justify="right", no_wrap=True, min_width=width)
        for head, width in zip((*runs, "difference"), widths, strict=True)
    ]
    table = Table(Column(title, overflow="fold"), *heads, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for one in rows:
        both = [_words(number) if wide else f"{100 * number.value:.1f}" for number in (one.first, one.second)]
        table.add_row(console.shown(one.name), *both, _words(one.difference, sign="+"))
    if table.row_count:
        console.out.print(table)
    else:
        console.out.print(f"{title}: no class differs", highlight=False)


def _words(interval, sign: str = "") -> str:
    value, low, high = (100 * number for number in interval)
    return f"{value:{sign}.1f} \\[{low:{sign}.1f}, {high:{sign}.1f}]"


@click.command()
@click.argument("run", type=Text())
@click.option("--class", "class_name", type=Text(), help="Of this class alone.")
@click.option("--count", default=20, show_default=True, type=Whole(1, 10_000), help="How many are shown.")
@click.option("--out", type=OutputFile(".png"), help="Draw frames of them.")
@click.option("--shards", type=InputFolder(), help="Where their frames lie  [default: the project's shards].")
@json_option
def mistakes(
    run: str, class_name: str | None, count: int, out: Path | None, shards: Path | None, as_json: bool
) -> None:
    """List the videos that an evaluated RUN gets wrong, the most certain first: truth, guess, probabilities.

    \b
    Examples:
      tdn-data mistakes tdn-rgb
      tdn-data mistakes tdn-rgb --class move_left --out mistakes.png
    """
    from tdn_data.models.evaluation.mistakes import mistakes_of, mistakes_sheet
    from tdn_data.pipeline.images import write_png
    from tdn_data.stages.cli.evaluated import run_scores

    if out is None:
        refuse_idle(("shards",), "without --out")
    with console.messages():
        scores, record = run_scores(run)
        _check_class(class_name, record.class_names)
        found = mistakes_of(scores, record.class_names, multi_label=record.multi_label, of_class=class_name)
        if out is not None and found:
            write_png(out, mistakes_sheet(_frames(shards, record.modality), found[:count]))
    if as_json:
        console.print_json(found[:count])
        return
    for one in found[:count]:
        console.out.print(console.shown(one.words()), soft_wrap=True, highlight=False)
    words = f"{len(found):,} of {console.counted(len(scores.video_ids), 'video')} wrong"
    picture = f"; picture: {console.shown(out)}" if out is not None and found else ""
    console.out.print(f"{words}{picture}", soft_wrap=True, highlight=False)


def _check_class(name: str | None, known: tuple[str, ...]) -> None:
    """Raise InputError that lists the classes for a name that none has."""
    from tdn_data.pipeline.text import some_of

    if name is not None and name not in known:
        raise InputError(f"no class is called {name!r}; the classes are {some_of(list(known))}.", key=name)


def _frames(folder: Path | None, modality: str):
    """Return the shards that pictures are taken from: frames where there are any, else flow."""
    from tdn_data.pipeline.shards.reader import ShardReader
    from tdn_data.stages.params import load_params

    if folder is not None:
        try:
            return ShardReader(folder, modality="rgb")
        except InputError:
            return ShardReader(folder, modality="flow")
    params = load_params()
    return params.open_shards("rgb" if "rgb" in params.stored() else modality)


COMMANDS = (compare, mistakes)
