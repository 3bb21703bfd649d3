"""The command `bench`: ours against peers, in one run, on the machine at hand."""

from __future__ import annotations

from pathlib import Path

import click

from stages import edge
from stages.cli.options import json_option


@click.group()
def bench() -> None:
    """Measure ours against peers in one run, and check first that both give the same.

    \b
    Examples:
      tdn-data bench flow a.png b.png
      tdn-data bench decode video.mp4 --every-seconds 3
    """


@bench.command()
@click.argument("video", type=click.Path(path_type=Path))
@click.option("--every-seconds", default=3.0, show_default=True)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@json_option
def decode(video: Path, every_seconds: float, rounds: int, as_json: bool) -> None:
    """Decoding against plain PyAV and, where it is installed, torchcodec."""
    from benchmarks import decode as benchmark

    with edge.messages(), edge.err.status("decoding in turn"):
        result = benchmark.run(video, every_seconds=every_seconds, num_rounds=rounds)
    _show(result, benchmark.format_times(result), as_json)


@bench.command()
@click.argument("video", type=click.Path(path_type=Path))
@click.option("--copies", default=64, show_default=True, type=click.IntRange(1))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@json_option
def extract(video: Path, copies: int, workers: int, rounds: int, as_json: bool) -> None:
    """A whole extraction against the bare decoding and encoding in it."""
    from benchmarks import extract as benchmark

    with edge.messages(), edge.err.status("extracting in turn"):
        result = benchmark.run(video, num_copies=copies, num_workers=workers, num_rounds=rounds)
    _show(result, benchmark.format_times(result), as_json)


def _show(result: object, words: str, as_json: bool) -> None:
    if as_json:
        edge.print_json(result)
    else:
        edge.out.print(words, soft_wrap=True, highlight=False, markup=False)


COMMANDS = (bench,)
