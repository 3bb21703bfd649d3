"""The command `bench`: ours against peers, in one run, on the machine at hand."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from tdn_data.benchmarks import Benchmark, Times
from tdn_data.pipeline.files import check_output_file, write_text
from tdn_data.pipeline.flow.methods import DEVICES
from tdn_data.pipeline.limits import MAX_CLIP_SIDE, MAX_SEGMENTS, MAX_THREADS, MIN_CLIP_SIDE
from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import json_option
from tdn_data.stages.cli.types import InputFile, OutputFile, Real, ShardFolder, Size, Text, Whole, Word


@click.group()
def bench() -> None:
    """Measure ours against peers in one run, and check first that both give the same.

    \b
    Examples:
      tdn-data bench flow a.png b.png
      tdn-data bench decode video.mp4 --every-seconds 3
      tdn-data bench loader video.mp4
      tdn-data bench all --device cuda --out gpu.json
    """


@bench.command()
@click.argument("paths", nargs=-1, type=InputFile("image or video"))
@click.option("--device", type=Word(*DEVICES), default="cpu", show_default=True, help="cpu, cuda or auto.")
@click.option("--preset", type=Word("opencv", "fast"), default="opencv", show_default=True, help="Of ours.")
@click.option("--size", type=Size(), default="256x340", show_default=True)
@click.option("--rounds", default=3, show_default=True, type=Whole(1, 10_000))
@json_option
def flow(paths: tuple[Path, ...], device: str, preset: str, size: tuple[int, int], rounds: int, as_json: bool) -> None:
    """Our TV-L1 against OpenCV's on image pairs and videos; without any on a rendered pair.

    \b
    Example: tdn-data bench flow a.png b.png video.mp4
    """
    from tdn_data.benchmarks import flow as benchmark

    height, width = size
    with console.messages(), console.wrong_arguments(), console.err.status("computing flow in turn"):
        result = benchmark.run(paths, height=height, width=width, device=device, preset=preset, num_rounds=rounds)
    _show(benchmark, result, "ratio", as_json)


@bench.command()
@click.argument("video", type=InputFile("video"))
@click.option("--every-seconds", default=3.0, show_default=True, type=Real(0, 1e6, above=True))
@click.option("--rounds", default=3, show_default=True, type=Whole(1, 10_000))
@json_option
def decode(video: Path, every_seconds: float, rounds: int, as_json: bool) -> None:
    """Decoding against plain PyAV and, where it is installed, torchcodec."""
    from tdn_data.benchmarks import decode as benchmark

    with console.messages(), console.wrong_arguments(), console.err.status("decoding in turn"):
        result = benchmark.run(video, every_seconds=every_seconds, num_rounds=rounds)
    _show(benchmark, result, "ratios", as_json)


@bench.command()
@click.argument("video", type=InputFile("video"))
@click.option("--copies", default=64, show_default=True, type=Whole(1, 1_000_000))
@click.option("--workers", default=2, show_default=True, type=Whole(1, MAX_THREADS))
@click.option("--rounds", default=3, show_default=True, type=Whole(1, 10_000))
@json_option
def extract(video: Path, copies: int, workers: int, rounds: int, as_json: bool) -> None:
    """A whole extraction against the bare decoding and encoding in it."""
    from tdn_data.benchmarks import extract as benchmark

    with console.messages(), console.err.status("extracting in turn"):
        result = benchmark.run(video, num_copies=copies, num_workers=workers, num_rounds=rounds)
    _show(benchmark, result, "overhead", as_json)


@bench.command()
@click.argument("video", type=InputFile("video"))
@click.option("--frames", default=3, show_default=True, type=Whole(1, MAX_SEGMENTS), help="Frames of a clip.")
@click.option("--size", default=224, show_default=True, type=Whole(MIN_CLIP_SIDE, MAX_CLIP_SIDE), help="Its side.")
@click.option("--crop", type=Text(), default="corner", show_default=True, help="As `crop` of a training.")
@click.option("--clips", default=50, show_default=True, type=Whole(1, 1_000_000), help="Clips of a round.")
@click.option("--workers", default=2, show_default=True, type=Whole(0, MAX_THREADS), help="The most loader processes.")
@click.option("--rounds", default=5, show_default=True, type=Whole(1, 10_000))
@json_option
def loader(
    video: Path, frames: int, size: int, crop: str, clips: int, workers: int, rounds: int, as_json: bool
) -> None:
    """Training clips from shards against JPEG files, decord and torchcodec.

    \b
    Example: tdn-data bench loader video.mp4
    """
    from tdn_data.benchmarks import loader as benchmark
    from tdn_data.models.memory import keep_freed_memory

    keep_freed_memory()  # as in training
    options = {"num_frames": frames, "size": size, "crop": crop, "num_clips": clips, "num_rounds": rounds}
    with console.messages(), console.wrong_arguments(), console.err.status("loading clips in turn"):
        result = benchmark.run(video, **options, num_workers=range(workers + 1))
    _show(benchmark, result, "ratios", as_json)


@bench.command()
@click.argument("names", nargs=-1, type=Text())
@click.option("--device", type=Word(*DEVICES), default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--videos", default=1, show_default=True, type=Whole(1, 10_000), help="Videos in a batch.")
@click.option("--size", default=224, show_default=True, type=Whole(32, 4096))
@click.option("--segments", type=Whole(1, MAX_SEGMENTS), help="Snippets over the video [default: each network's].")
@click.option("--threads", default=1, show_default=True, type=Whole(1, MAX_THREADS), help="Threads on a CPU.")
@click.option("--precision", type=Word("float32", "bfloat16"), default="float32", show_default=True)
@click.option("--loading", type=ShardFolder(), help="Time them on clips read from these shards of frames, too.")
@click.option("--rounds", default=5, show_default=True, type=Whole(1, 10_000))
@json_option
def networks(
    names: tuple[str, ...],
    device: str,
    videos: int,
    size: int,
    segments: int | None,
    threads: int,
    precision: str,
    loading: str | None,
    rounds: int,
    as_json: bool,
) -> None:
    """Milliseconds per video of each network (or of NAMES), beside TSN-ResNet-50's.

    A name may have options of its own behind it: NAME:OPTION=VALUE.

    \b
    Examples:
      tdn-data bench networks tsn tdn_wang --segments 16 --threads 2
      tdn-data bench networks 'tdn_wang:long_term=[]:temporal=[]' 'tdn_wang:short_term=[]' tdn_wang --videos 16
      tdn-data bench networks tdn_wang --videos 16 --size 56 --loading data/shards/demo/rgb
      tdn-data bench networks 'disentangled:branches=[motion]' 'disentangled:branches=[change]' disentangled
    """
    from tdn_data.benchmarks import networks as benchmark
    from tdn_data.benchmarks.stored_clips import StoredClips
    from tdn_data.models.memory import keep_freed_memory
    from tdn_data.pipeline.shards.reader import ShardReader

    keep_freed_memory()  # as in training and evaluation
    with console.messages(), console.wrong_arguments(), console.err.status("running the networks in turn"):
        result = benchmark.run(
            names or None,
            device=device,
            num_videos=videos,
            size=size,
            num_rounds=rounds,
            num_threads=threads,
            precision=precision,
            clips_of=None if loading is None else partial(StoredClips, ShardReader(loading)),
            **({} if segments is None else {"num_segments": segments}),
        )
    _show(benchmark, result, "ratios", as_json)


@bench.command()
@click.option("--videos", default=100_000, show_default=True, type=Whole(1, 10_000_000), help="Videos of the made set.")
@click.option("--rounds", default=3, show_default=True, type=Whole(1, 10_000))
@json_option
def browse(videos: int, rounds: int, as_json: bool) -> None:
    """What the local page costs on a large set: its start, memory, bytes and rows read, frames shown a second."""
    from tdn_data.benchmarks import browse as benchmark

    with console.messages(), console.err.status("making a set and showing it"):
        result = benchmark.run(num_videos=videos, num_rounds=rounds)
    _show(benchmark, result, "ratios", as_json)


@bench.command(name="all")
@click.option("--device", type=Word("cpu", "cuda"), default="cuda", show_default=True)
@click.option("--quick", is_flag=True, help="Every part in tiny form.")
@click.option("--out", type=OutputFile(".json"), help="Write the numbers to this file.")
@json_option
def everything(device: str, quick: bool, out: Path | None, as_json: bool) -> None:
    """All that a GPU is for, in one JSON: flow, each network at float32 and bfloat16, training steps.

    A part that fails stands in it with its error, the others still run, and the exit code is 1. `benchmarks/gpu.sh`
    does the same where torch, triton, NumPy and OpenCV are all that is installed.

    \b
    Example: tdn-data bench all --device cuda --out gpu.json
    """
    from tdn_data.benchmarks import device as benchmark
    from tdn_data.models.memory import keep_freed_memory

    keep_freed_memory()  # as in training and evaluation
    with console.messages(), console.err.status("flow, networks and training in turn"):
        benchmark.check_device(device)
        result = benchmark.run(device, quick=quick)
        if out is not None:
            write_text(check_output_file(out), console.as_json(result))
    if as_json or out is None:
        console.print_json(result)
    else:
        words = f"{console.shown(out)}: {benchmark.in_words(result)}"
        console.out.print(words, soft_wrap=True, highlight=False, markup=False)
    if benchmark.failures(result):
        raise SystemExit(1)


def _show(benchmark: Benchmark, result: Times, outcome: str, as_json: bool) -> None:
    """Print what was measured; `outcome` is the property of `result` that compares ours with the peers."""
    if as_json:
        console.print_json(asdict(result) | {outcome: getattr(result, outcome)})
    else:
        console.out.print(benchmark.format_times(result), soft_wrap=True, highlight=False, markup=False)


COMMANDS = (bench,)
