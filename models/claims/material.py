"""The claims' data sets: a variant of the built-in set rendered, indexed and extracted, once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tdn_data.models.claims.book import ClaimData, short_digest
from tdn_data.pipeline.datasets.demo import render_demo
from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import PipelineError
from tdn_data.pipeline.extraction.engine import run_extraction
from tdn_data.pipeline.parameters import ExtractParameters
from tdn_data.pipeline.shards.ledger import DATASET_NAME, count_by_status
from tdn_data.pipeline.shards.reader import ShardReader


def shard_folder(folder: Path, data: ClaimData, modality: str) -> Path:
    """Return where the shards of one modality lie below the claims' folder: everything that decides them names it."""
    section = getattr(data, modality).model_dump()
    return _videos(folder, data).with_name(f"{modality}-{short_digest([data.demo.model_dump(), section])}")


def make_data(folder: Path, data: ClaimData, modality: str, *, num_workers: int, say: Callable[[str], None]) -> None:
    """Render a data set and extract a modality of it unless they are there; `say` is called with what begins.

    Raises PipelineError where a clip could not be stored.
    """
    shards = shard_folder(folder, data, modality)
    if (shards / DATASET_NAME).exists():
        return
    videos = _videos(folder, data)
    if not videos.exists():
        say(f"rendering {videos}")
        unfinished = videos.with_name(f"{videos.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        render_demo(unfinished, num_workers=num_workers, **data.demo.model_dump())
        unfinished.rename(videos)
    say(f"extracting {shards}")
    parameters = ExtractParameters(**{"frames" if modality == "rgb" else "flow": getattr(data, modality)})
    summary = run_extraction(index_dataset("demo", videos), parameters, out=shards, num_workers=num_workers)
    if summary.failed_share():
        raise PipelineError(f"{shards}: not every rendered clip could be stored ({count_by_status(summary.ledger)}).")


def open_data(folder: Path, data: ClaimData, modality: str) -> ShardReader:
    """Open the shards of one modality."""
    return ShardReader(shard_folder(folder, data, modality), modality=modality)


def _videos(folder: Path, data: ClaimData) -> Path:
    return folder / "sets" / f"videos-{short_digest(data.demo.model_dump())}"
