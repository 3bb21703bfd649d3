"""The command `extract`, and what its options mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from tdn_data.pipeline.datasets.defaults import flow_parameters, frame_parameters
from tdn_data.pipeline.datasets.index import index_listing
from tdn_data.pipeline.datasets.manifest import Manifest, read_manifest, read_manifest_header
from tdn_data.pipeline.datasets.registry import DatasetSpec, dataset_spec, read_videos
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.extraction.cache import Policy
from tdn_data.pipeline.extraction.estimate import Estimate, estimate_extraction, estimate_manifest
from tdn_data.pipeline.flow.methods import METHODS
from tdn_data.pipeline.limits import MAX_RATE, MAX_THREADS
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters, Limits, ShardParameters
from tdn_data.stages.cli import console
from tdn_data.stages.cli.extraction import extract_manifest, print_estimate, print_summary, summary_record
from tdn_data.stages.cli.findings import print_reading
from tdn_data.stages.cli.flow import method_option
from tdn_data.stages.cli.options import field_option, json_option, list_split_option, refuse_idle
from tdn_data.stages.cli.types import DatasetName, InputFile, InputFolder, Real, Size, Text, Whole, Word


@click.command()
@click.option("--dataset", type=DatasetName(), help="A name from `tdn-data datasets`.")
@click.option(
    "--root",
    type=InputFolder(),
    help="Folder that holds the videos [default: what the manifest says].",
)
@click.option("--manifest", type=InputFile("manifest"), help="What `tdn-data index` wrote, instead of --dataset.")
@click.option("--out", type=Text(), required=True, help="Folder for the shards; running again continues there.")
@click.option("--modality", type=Word("rgb", "flow", "both"), default="rgb", show_default=True)
@field_option("--format", ShardParameters, "format")
@field_option(
    "--every-seconds", FrameParameters, "every_seconds", by_dataset=True, help="One frame per so many seconds."
)
@field_option("--fps", FrameParameters, "fps", by_dataset=True, help="Frames per second.")
@field_option(
    "--max-seconds", FrameParameters, "max_seconds", by_dataset=True, help="Use a video's first seconds only."
)
@click.option("--size", type=Size(), help="HEIGHTxWIDTH, or 'native' [default: the data set's].")
@field_option(
    "--short-side", FrameParameters, "short_side", help="Pixels of the shorter side, aspect ratio kept; not --size."
)
@field_option("--codec", FrameParameters, "codec")
@field_option("--quality", FrameParameters, "quality", help="JPEG quality.")
@method_option
@field_option(
    "--preset", FlowParameters, "preset", help="Of tvl1: exact as OpenCV, nearly so in less time, or as its CUDA class."
)
@field_option("--bound", FlowParameters, "bound", by_dataset=True, help="Flow in [-bound, bound] becomes 0 to 255.")
@click.option(
    "--flow-fps",
    type=Real(0, MAX_RATE),
    help="Rate whose neighbours give flow; 0 for native [default: the data set's].",
)
@field_option(
    "--pairs", FlowParameters, "pairs", help="A frame and the next one at the rate, or the video's own next one."
)
@list_split_option
@click.option("--limit", type=Whole(1), help="Only the first N videos of the list.")
@click.option("--workers", type=Whole(1, MAX_THREADS), help="Processes on this machine [default: all cores].")
@click.option("--ray-address", type=Text(), help="Use this Ray cluster instead of a local one.")
@field_option("--videos-per-shard", ShardParameters, "videos_per_shard")
@field_option("--timeout", Limits, "seconds_per_video", help="Seconds one video, or one span of a long one, may take.")
@field_option("--memory-limit", Limits, "memory_bytes", unit=2**30, help="GiB that decoding one video may take.")
@field_option("--max-megapixels", Limits, "max_pixels", unit=10**6, help="Larger pictures are not decoded.")
@click.option(
    "--fail-above",
    type=Real(0, 1),
    default=0.5,
    show_default=True,
    help="Share of videos that may be partial or failed before the exit code is 1.",
)
@click.option("--retry-failed", is_flag=True, help="Decode again what an earlier run could not, wholly or in part.")
@click.option("--plan", is_flag=True, help="Only estimate its time and size, measured on a few of the videos.")
@click.option("--replace", is_flag=True, help="Recreate shards of other parameters or versions in --out.")
@click.option("--keep-versions", is_flag=True, help="Keep rows that other versions of code or libraries made.")
@click.option("--allow-loss", is_flag=True, help="Let stored rows go whose videos are missing, unlisted or broken now.")
@json_option
def extract(dataset: str | None, root: Path | None, manifest: Path | None, out: str, list_split: int | None,
            limit: int | None, workers: int | None, ray_address: str | None, fail_above: float, replace: bool,
            keep_versions: bool, allow_loss: bool, retry_failed: bool, plan: bool, as_json: bool, modality: str,
            **options: object) -> None:  # fmt: skip
    """Decode videos, sample frames, compute flow, and write shards and a ledger. Running it again continues.

    \b
    Examples:
      tdn-data extract --dataset fcvid --root /data/fcvid --out shards
      tdn-data extract --dataset folder --root my_videos --out shards --modality both --size 256x256
      tdn-data extract --dataset folder --root my_videos --out shards --short-side 256
      tdn-data extract --dataset fcvid --root /data/fcvid --out shards --plan
      tdn-data extract --manifest manifest.parquet --out s3://bucket/fcvid --ray-address head:6379
    """
    with console.messages():
        _refuse_idle_options(modality, options["codec"])
        source = Source(dataset, root, manifest, list_split, limit)
        parameters = parameters_from_options(source.spec(), modality, options)
        if plan:
            with console.err.status("measuring a few videos"):
                estimate = source.estimate(parameters)
            print_estimate(estimate, as_json=as_json)
            return
        summary = extract_manifest(
            source.manifest(),
            parameters,
            out=out,
            num_workers=workers,
            ray_address=ray_address,
            policy=Policy(replace, keep_versions, retry_failed, allow_loss),
        )
    if as_json:
        console.print_json(summary_record(summary))
    else:
        print_summary(summary)
    if summary.failed_share() > fail_above:
        console.fail(
            f"{summary.failed_share():.1%} of the videos are partial or failed, more than --fail-above {fail_above:g}.",
            console.EXIT_FAILED,
        )


def _refuse_idle_options(modality: str, codec: str) -> None:
    """Refuse options that would change nothing beside the others."""
    if modality == "rgb":
        refuse_idle(("method", "preset", "bound", "flow_fps", "pairs"), "with --modality rgb, which computes no flow")
    if modality == "flow":
        refuse_idle(("every_seconds", "fps"), "with --modality flow (its rate is --flow-fps)")
    if codec != "jpeg":
        refuse_idle(("quality",), f"with --codec {codec}, which loses nothing")


@dataclass(frozen=True)
class Source:
    """What is to be extracted: a data set's own lists under a root, or a manifest that was made of them."""

    dataset: str | None
    root: Path | None
    manifest_path: Path | None
    list_split: int | None
    limit: int | None

    def __post_init__(self) -> None:
        if (self.manifest_path is None) == (self.dataset is None):
            raise InputError("give either --dataset and --root, or --manifest.", key="dataset")
        if self.manifest_path is None and self.root is None:
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
            return read_manifest(self.manifest_path, root=self.root)
        listing = read_videos(self.dataset, self.root, list_split=self.list_split)
        print_reading(listing)
        return index_listing(listing, limit=self.limit)

    def estimate(self, parameters: ExtractParameters) -> Estimate:
        """Return what the extraction will cost, without touching more than a few files."""
        if self.manifest_path is not None:
            return estimate_manifest(self.manifest_path, parameters, root=self.root)
        listing = read_videos(self.dataset, self.root, list_split=self.list_split)
        return estimate_extraction(listing.manifest().limited(self.limit).records, self.root, parameters)


def parameters_from_options(spec: DatasetSpec, modality: str, options: Mapping[str, object]) -> ExtractParameters:
    """Return the parameters that the options and the data set's own defaults make together.

    The options have the names of the fields that they set, but for `size` and `flow_fps`.
    """

    def chosen(*names: str) -> dict[str, object]:
        return {name: options[name] for name in names}

    stored = chosen("max_seconds", "size", "short_side", "codec", "quality")
    with console.checked("options"):
        frames = frame_parameters(spec, **chosen("every_seconds", "fps"), **stored)
        flow = flow_parameters(spec, fps=options["flow_fps"], **chosen("bound", "method", "preset", "pairs"), **stored)
        flow, network = (None, None) if modality == "rgb" else _with_network(flow)
        return ExtractParameters(
            frames=frames if modality != "flow" else None,
            flow=flow,
            network=network,
            limits=Limits(**chosen(*Limits.model_fields)),
            **chosen("format", "videos_per_shard"),
        )


def _with_network(flow: FlowParameters):
    """Return the parameters of flow, and the network where their method is one's file; others load no torch."""
    if flow.method in METHODS:
        return flow, None
    from tdn_data.models.evaluation.flow_solver import with_network

    return with_network(flow)


COMMANDS = (extract,)
