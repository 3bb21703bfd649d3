"""Commands that know data sets: demo, datasets, index."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Column, Table

from tdn_data.pipeline.datasets.base import METRIC_NAMES
from tdn_data.pipeline.datasets.from_folders import write_list
from tdn_data.pipeline.datasets.registry import DATASETS, DatasetSpec, dataset_spec, read_videos
from tdn_data.pipeline.parameters import DemoParameters
from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import field_option, json_option, list_split_option, refuse_idle
from tdn_data.stages.cli.types import DatasetName, InputFolder, OutputFile, OutputFolder, Real, Whole


@click.command()
@click.option("--out", type=OutputFolder(), required=True, help="Folder to write the videos and lists to.")
@field_option("--seed", DemoParameters, "seed", help="Same seed, same bytes.")
@field_option("--train-per-class", DemoParameters, "train_per_class")
@field_option("--val-per-class", DemoParameters, "val_per_class")
@field_option("--test-per-class", DemoParameters, "test_per_class")
@field_option("--noise", DemoParameters, "noise", help="Of the sensor, in grey levels; more is harder.")
@field_option("--size", DemoParameters, "size", help="Pixels along each side of a clip.")
@field_option("--object-size", DemoParameters, "object_size", help="Object and speed as in a clip of that size.")
@json_option
def demo(out: Path, as_json: bool, **parameters: float) -> None:
    """Render the built-in data set: labelled H.264 clips of eight motions.

    \b
    Example: tdn-data demo --out clips
    """
    from tdn_data.pipeline.datasets.demo import render_demo

    with console.messages(), console.checked("options"), console.progress("rendering") as update:
        num_videos = render_demo(out, on_progress=update, **parameters)
    if as_json:
        console.print_json({"out": str(out), "num_videos": num_videos, "seed": parameters["seed"]})
    else:
        console.out.print(f"{console.counted(num_videos, 'clip')} in {console.shown(out)}", soft_wrap=True)


@click.command()
@json_option
def datasets(as_json: bool) -> None:
    """List the data sets that can be read, and how their folders must look.

    \b
    Example: tdn-data datasets
    """
    from tdn_data.models.retrieval.image_sets import IMAGE_SETS  # brings torch

    specs = (*DATASETS.values(), *IMAGE_SETS.values())
    if as_json:
        console.print_json([_spec_record(spec) for spec in specs])
        return
    for spec in specs:
        console.out.print(f"[bold]{spec.name}[/]: {escape(spec.title)}", highlight=False)
        grid = Table.grid("", Column(overflow="fold"), padding=(0, 2))
        for heading, words in _spec_words(spec).items():
            grid.add_row(f"  {heading}", escape(words))
        console.out.print(grid, "")


def _spec_words(spec: DatasetSpec) -> dict[str, str]:
    words = {"get it from": spec.source, "folder": spec.layout, "for": spec.used_by}
    if spec.kind in ("videos", "frame folders"):
        words["frames"] = _sampling_words(spec)
    if spec.num_list_splits != 1:
        words["splits"] = f"{spec.num_list_splits or 'numbered'}; one extraction serves all of them"
    metrics = ", ".join(METRIC_NAMES[name] for name in spec.metrics)
    where = "over the queries" if spec.kind == "retrieval" else f"on {spec.test_split}"
    return words | {"metric": f"{metrics} {where}"}


def _spec_record(spec: DatasetSpec) -> dict[str, object]:
    """Return what a data set says of itself, without the functions that read it."""
    return {name: value for name, value in vars(spec).items() if name not in ("read", "find_list_splits")}


def _sampling_words(spec: DatasetSpec) -> str:
    if spec.frame_every_seconds is not None:
        rate = f"one per {spec.frame_every_seconds:g} s"
    else:
        rate = "every frame" if spec.frame_fps is None else f"{spec.frame_fps:g} per s"
    rate += f", first {spec.max_seconds:g} s" if spec.max_seconds is not None else ""
    rate += f", shorter videos repeated to {spec.repeat_to} frames" if spec.repeat_to is not None else ""
    if spec.short_side is not None:
        return f"{rate}, shorter side {spec.short_side}"
    return rate if spec.size is None else f"{rate}, {spec.size[0]}x{spec.size[1]}"


@click.command()
@click.option("--dataset", type=DatasetName(), required=True, help="A name from `tdn-data datasets`.")
@click.option("--root", type=InputFolder(), required=True, help="Folder that holds the data set.")
@click.option("--out", type=OutputFile(), required=True, help="Manifest to write, e.g. manifest.parquet.")
@list_split_option
@click.option("--limit", type=Whole(1), help="Only the first N videos of the list.")
@click.option("--from-folders", is_flag=True, help="First make ROOT/videos.csv of ROOT/<class>/<video>, for `folder`.")
@click.option("--val", default=0.0, type=Real(0, 0.99), help="With --from-folders: share of each class to validate on.")
@click.option("--test", default=0.2, type=Real(0, 0.99), show_default=True, help="... and share of it to test on.")
@json_option
def index(dataset: str, root: Path, out: Path, list_split: int | None, limit: int | None, from_folders: bool,
          val: float, test: float, as_json: bool) -> None:  # fmt: skip
    """Read a data set's own lists, compare them with the files, probe every file and write the manifest.

    Reports missing and unlisted files, duplicates, labels out of range and unexpected counts, with line numbers. Rows
    that contradict each other or the class list stop it (exit code 2), and no manifest is written.

    --from-folders never writes over a list that is there. A hash of its path decides each video's split: the same
    folder gives the same list, and videos that are added leave the others where they are.

    \b
    Examples:
      tdn-data index --dataset fcvid --root /data/fcvid --out manifest.parquet
      tdn-data index --dataset folder --root clips --from-folders --val 0.1 --test 0.2 --out manifest.parquet
    """
    from tdn_data.pipeline.datasets.audit import audit_listing, findings_by_kind
    from tdn_data.pipeline.datasets.index import write_index
    from tdn_data.pipeline.datasets.manifest import read_manifest
    from tdn_data.pipeline.datasets.same_content import same_content_findings
    from tdn_data.pipeline.extraction.probing import probing
    from tdn_data.stages.cli.findings import index_words, print_findings, print_if_nothing_is_there, print_reading

    if not from_folders:
        refuse_idle(("val", "test"), "without --from-folders")
    elif dataset != "folder":
        refuse_idle(("from_folders",), f"with --dataset {dataset}, which has lists of its own")
    with console.messages():
        if from_folders:
            write_list(root, val=val, test=test)
        listing = read_videos(dataset, root, list_split=list_split)
        print_reading(listing)
        findings = audit_listing(listing, dataset_spec(dataset))
        num_fatal = sum(finding.fatal for finding in findings)
        record = {}
        if not num_fatal:
            with console.progress("probing") as update, probing() as probe:
                record = write_index(listing, out, limit=limit, probe=probe, on_progress=update)
            findings = (*findings, *same_content_findings(read_manifest(out, root=root)))
    if as_json:
        console.print_json(record | {"findings_by_kind": findings_by_kind(findings), "findings": findings})
    else:
        print_findings(findings, root)
        print_if_nothing_is_there(listing, findings)
    if num_fatal:
        console.fail(
            f"{console.counted(num_fatal, 'row')} of {dataset}'s lists cannot stand; no manifest was written.",
            console.EXIT_USAGE,
        )
    if not as_json:
        console.out.print(
            f"{console.shown(out)}: {console.shown(index_words(record, findings))}", soft_wrap=True, highlight=False
        )


COMMANDS = (demo, datasets, index)
