"""Commands that make data: demo, datasets, index, extract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Column, Table

from pipeline.datasets import DATASETS, DatasetSpec, dataset_spec, read_videos
from pipeline.datasets.base import METRIC_NAMES
from pipeline.datasets.defaults import flow_parameters, frame_parameters
from pipeline.errors import InputError
from pipeline.index import index_dataset
from pipeline.manifest import Manifest, read_manifest, read_manifest_header
from pipeline.parameters import ExtractParameters, Limits
from pipeline.price import Price, price_extraction, price_manifest
from stages import edge
from stages.cli.options import Size, json_option, list_split_option
from stages.extraction import extract_manifest, print_price, print_summary, summary_record


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write the videos and lists to.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--train-per-class", default=60, show_default=True, type=click.IntRange(1))
@click.option("--test-per-class", default=25, show_default=True, type=click.IntRange(1))
@json_option
def demo(out: Path, seed: int, train_per_class: int, test_per_class: int, as_json: bool) -> None:
    """Render the built-in data set: labelled H.264 clips of eight motions.

    \b
    Example: tdn-data demo --out clips
    """
    from pipeline.datasets.demo import render_demo

    with edge.messages(), edge.progress("rendering") as update:
        num_videos = render_demo(
            out, seed=seed, train_per_class=train_per_class, test_per_class=test_per_class, on_progress=update
        )
    if as_json:
        edge.print_json({"out": str(out), "num_videos": num_videos, "seed": seed})
    else:
        edge.out.print(f"{num_videos} clips in {out}", soft_wrap=True)


@click.command()
@json_option
def datasets(as_json: bool) -> None:
    """List the data sets that can be read, and how their folders must look.

    \b
    Example: tdn-data datasets
    """
    if as_json:
        edge.print_json([_spec_record(spec) for spec in DATASETS.values()])
        return
    for spec in DATASETS.values():
        edge.out.print(f"[bold]{spec.name}[/]: {escape(spec.title)}", highlight=False)
        grid = Table.grid("", Column(overflow="fold"), padding=(0, 2))
        for heading, words in _spec_words(spec).items():
            grid.add_row(f"  {heading}", escape(words))
        edge.out.print(grid, "")


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
    return {name: value for name, value in vars(spec).items() if name != "read"}


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
@click.option("--dataset", required=True, help="A name from `tdn-data datasets`.")
@click.option("--root", type=click.Path(path_type=Path), required=True, help="Folder that holds the data set.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Manifest to write, e.g. manifest.parquet.")
@list_split_option
@click.option("--limit", type=click.IntRange(1), help="Only the first N videos of the list.")
@json_option
def index(dataset: str, root: Path, out: Path, list_split: int | None, limit: int | None, as_json: bool) -> None:
    """Read a data set's own lists, compare them with the files, probe every file and write the manifest.

    Reports missing and unlisted files, duplicates, labels out of range and unexpected counts, with line numbers. Rows
    that contradict each other or the class list stop it (exit code 2), and no manifest is written.

    \b
    Example: tdn-data index --dataset fcvid --root /data/fcvid --out manifest.parquet
    """
    from pipeline.audit import audit_listing, findings_by_kind
    from stages.index import print_findings, print_if_nothing_is_there, write_index

    with edge.messages():
        listing = read_videos(dataset, root, list_split=list_split)
        findings = audit_listing(listing, dataset_spec(dataset))
        num_fatal = sum(finding.fatal for finding in findings)
        record = {} if num_fatal else write_index(listing, out, limit=limit)
    if as_json:
        edge.print_json(record | {"findings_by_kind": findings_by_kind(findings), "findings": findings})
    else:
        print_findings(findings, root)
        print_if_nothing_is_there(listing, findings)
    if num_fatal:
        rows = "1 row" if num_fatal == 1 else f"{num_fatal} rows"
        edge.fail(f"{rows} of {dataset}'s lists cannot stand; no manifest was written.", edge.EXIT_USAGE)
    if not as_json:
        problems = ", ".join(f"{count} {reason}" for reason, count in record["problems"].items()) or "none"
        splits = ", ".join(f"{count} {split}" for split, count in record["splits"].items())
        edge.out.print(f"{out}: {record['num_videos']} videos ({splits}); problems: {problems}", soft_wrap=True)


@click.command()
@click.option("--dataset", help="A name from `tdn-data datasets`.")
@click.option("--root", type=click.Path(path_type=Path), help="Folder that holds the data set.")
@click.option(
    "--manifest", type=click.Path(path_type=Path), help="What `tdn-data index` wrote, instead of --dataset and --root."
)
@click.option("--out", required=True, help="Folder for the shards; running again continues there.")
@click.option("--modality", type=click.Choice(["rgb", "flow", "both"]), default="rgb", show_default=True)
@click.option("--format", "shard_format", type=click.Choice(["parquet", "lmdb"]), default="parquet", show_default=True)
@click.option("--every-seconds", type=float, help="One frame per so many seconds [default: the data set's].")
@click.option("--fps", type=float, help="Frames per second [default: the data set's].")
@click.option("--max-seconds", type=float, help="Use a video's first seconds only [default: the data set's].")
@click.option("--size", type=Size(), help="HEIGHTxWIDTH, or 'native' [default: the data set's].")
@click.option("--short-side", type=int, help="Pixels of the shorter side, aspect ratio kept; in place of --size.")
@click.option("--codec", type=click.Choice(["jpeg", "png", "raw"]), default="jpeg", show_default=True)
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="JPEG quality.")
@click.option("--method", default="tvl1", show_default=True, help="Optical flow method.")
@click.option("--bound", type=float, help="Flow in [-bound, bound] becomes 0 to 255 [default: the data set's].")
@click.option("--flow-fps", type=float, help="Rate whose neighbours give flow; 0 for native [default: the data set's].")
@list_split_option
@click.option("--limit", type=click.IntRange(1), help="Only the first N videos of the list.")
@click.option("--workers", type=click.IntRange(1), help="Processes on this machine [default: all cores].")
@click.option("--ray-address", help="Use this Ray cluster instead of a local one.")
@click.option("--videos-per-shard", type=click.IntRange(1), default=64, show_default=True)
@click.option("--timeout", type=float, default=600, show_default=True, help="Seconds one video may take.")
@click.option("--memory-limit", type=float, default=6, show_default=True, help="GiB that decoding one video may take.")
@click.option("--max-megapixels", type=float, default=67, show_default=True, help="Larger pictures are not decoded.")
@click.option(
    "--fail-above",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of videos that may be partial or failed before the exit code is 1.",
)
@click.option("--retry-failed", is_flag=True, help="Decode again what an earlier run could not, wholly or in part.")
@click.option("--plan", is_flag=True, help="Only say what it would cost, measured on a few of the videos.")
@click.option("--replace", is_flag=True, help="Replace shards of other parameters in --out.")
@json_option
def extract(dataset: str | None, root: Path | None, manifest: Path | None, out: str, list_split: int | None,
            limit: int | None, workers: int | None, ray_address: str | None, fail_above: float, replace: bool,
            retry_failed: bool, plan: bool, as_json: bool, **options: object) -> None:  # fmt: skip
    """Decode videos, sample frames, compute flow, and write shards and a ledger. Running it again continues.

    \b
    Examples:
      tdn-data extract --dataset fcvid --root /data/fcvid --out shards
      tdn-data extract --dataset folder --root my_videos --out shards --modality both --size 256x256
      tdn-data extract --dataset folder --root my_videos --out shards --short-side 256
      tdn-data extract --dataset fcvid --root /data/fcvid --out shards --plan
      tdn-data extract --manifest manifest.parquet --out s3://bucket/fcvid --ray-address head:6379
    """
    with edge.messages():
        source = Source(dataset, root, manifest, list_split, limit)
        parameters = parameters_from_options(source.spec(), **options)
        if plan:
            with edge.err.status("measuring a few videos"):
                price = source.price(parameters)
            print_price(price, as_json=as_json)
            return
        summary = extract_manifest(
            source.manifest(),
            parameters,
            out=out,
            num_workers=workers,
            ray_address=ray_address,
            replace=replace,
            retry_failed=retry_failed,
        )
    if as_json:
        edge.print_json(summary_record(summary))
    else:
        print_summary(summary)
    if summary.failed_share() > fail_above:
        edge.fail(
            f"{summary.failed_share():.1%} of the videos are partial or failed, more than --fail-above {fail_above:g}.",
            edge.EXIT_FAILED,
        )


@dataclass(frozen=True)
class Source:
    """What is to be extracted: a data set's own lists under a root, or a manifest that was made of them."""

    dataset: str | None
    root: Path | None
    manifest_path: Path | None
    list_split: int | None
    limit: int | None

    def __post_init__(self) -> None:
        if (self.manifest_path is None) == (self.dataset is None and self.root is None):
            raise InputError("give either --dataset and --root, or --manifest.", key="dataset")
        if self.manifest_path is None and (self.dataset is None or self.root is None):
            raise InputError("--dataset and --root belong together; give both.", key="dataset")
        if self.manifest_path is not None and not (self.list_split is None and self.limit is None):
            raise InputError(
                "--list-split and --limit are decided when a manifest is made; give them to `tdn-data index`.",
                key="manifest",
            )

    def spec(self) -> DatasetSpec:
        """Return the data set's defaults."""
        return dataset_spec(self.dataset or read_manifest_header(self.manifest_path).dataset)

    def manifest(self) -> Manifest:
        """Return all records; those of a data set's lists with today's fingerprints."""
        if self.manifest_path is not None:
            return read_manifest(self.manifest_path)
        return index_dataset(self.dataset, self.root, list_split=self.list_split, limit=self.limit)

    def price(self, parameters: ExtractParameters) -> Price:
        """Return what the extraction will cost, without touching more than a few files."""
        if self.manifest_path is not None:
            return price_manifest(self.manifest_path, parameters)
        listing = read_videos(self.dataset, self.root, list_split=self.list_split)
        return price_extraction(listing.manifest().limited(self.limit).records, self.root, parameters)


def parameters_from_options(
    spec: DatasetSpec,
    *,
    modality: str,
    shard_format: str,
    every_seconds: float | None,
    fps: float | None,
    max_seconds: float | None,
    size: tuple[int, int] | str | None,
    short_side: int | None,
    codec: str,
    quality: int,
    method: str,
    bound: float | None,
    flow_fps: float | None,
    videos_per_shard: int,
    timeout: float,
    memory_limit: float,
    max_megapixels: float,
) -> ExtractParameters:
    """Return the parameters that the options and the data set's own defaults make together."""
    common = {"max_seconds": max_seconds, "size": size, "short_side": short_side, "codec": codec, "quality": quality}
    with edge.checked("options"):
        frames = frame_parameters(spec, every_seconds=every_seconds, fps=fps, **common)
        flow = flow_parameters(spec, fps=flow_fps, bound=bound, method=method, **common)
        return ExtractParameters(
            frames=frames if modality != "flow" else None,
            flow=flow if modality != "rgb" else None,
            format=shard_format,
            videos_per_shard=videos_per_shard,
            limits=Limits(
                seconds_per_video=timeout,
                memory_bytes=round(memory_limit * 2**30),
                max_pixels=round(max_megapixels * 1e6),
            ),
        )


COMMANDS = (demo, datasets, index, extract)
