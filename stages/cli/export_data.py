"""The command `export`: stored frames and flow in other people's formats."""

from __future__ import annotations

from pathlib import Path

import click
from rich.filesize import decimal

from tdn_data.stages.cli import console
from tdn_data.stages.cli.extraction import print_failures
from tdn_data.stages.cli.options import json_option
from tdn_data.stages.cli.types import OutputFolder, ShardPath, Text, Word

FORMATS = ("images", "mp4", "npy", "flo", "gif", "webdataset", "rawframes", "imagefolder", "hf")
MODALITIES = {"rgb": ["rgb"], "flow": ["flow"], "both": ["rgb", "flow"]}


@click.command()
@click.argument("path", type=ShardPath())
@click.option("--to", required=True, type=Word(*FORMATS), help="What to write.")
@click.option("--out", required=True, type=OutputFolder(), help="A new or empty folder.")
@click.option("--video", "videos", multiple=True, type=Text(), help="Only this video; may be given again.")
@click.option("--modality", type=Word(*MODALITIES), help="Frames, flow or both  [default: what is stored]")
@json_option
def export(path: str, to: str, out: Path, videos: tuple[str, ...], modality: str | None, as_json: bool) -> None:
    """Write stored frames and flow in other people's formats; JPEG data are copied as they are.

    \b
    For single videos:
      images       one folder a video: img_00001.jpg, flow_x_00001.jpg, flow_y_00001.jpg
      mp4, gif     frames, flow as colour, or both side by side
      npy          arrays: frames (N, H, W, 3), flow (N, H, W, 2) in pixels a step, times in seconds
      flo          Middlebury .flo files
    \b
    For a whole set:
      rawframes    images, and the lists `path num_frames label` that TSN and mmaction2 read
      imagefolder  split/class/video_00001.jpg, for sets of one label a video
      webdataset   tar files, one sample a video
      hf           a folder that Hugging Face's datasets.load_dataset opens, with a card
    \b
    Examples:
      tdn-data export shards --to mp4 --video kitchen/a --out movies
      tdn-data export shards --to rawframes --out rawframes
    """
    from tdn_data.pipeline.export.export import export_shards

    with console.messages(), console.progress(f"export to {to}", unit="videos") as update:
        exported = export_shards(
            path, out, to=to, modalities=MODALITIES.get(modality), video_ids=videos, on_progress=update
        )
    if as_json:
        console.print_json(exported)
        return
    if exported.not_ok:
        print_failures(list(exported.not_ok))
    for name, status in exported.status.items():
        counts = ", ".join(f"{count} {word}" for word, count in status.items())
        console.out.print(f"{name}: {counts}", highlight=False)
    counts = f"{console.counted(exported.num_videos, 'video')}, {console.counted(exported.num_files, 'file')}"
    words = f"{counts}, {decimal(exported.num_bytes)}: {console.shown(exported.location)}"
    console.out.print(words, soft_wrap=True, highlight=False)


COMMANDS = (export,)
