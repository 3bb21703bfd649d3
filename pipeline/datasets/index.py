"""From a data set's own lists to a manifest: read them, fingerprint every file, and probe it on request."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tdn_data.pipeline.datasets.listing import Listing
from tdn_data.pipeline.datasets.manifest import Manifest, VideoRecord, fingerprint_file, write_manifest
from tdn_data.pipeline.datasets.registry import read_videos
from tdn_data.pipeline.errors import InputError, VideoError
from tdn_data.pipeline.files import check_output_file
from tdn_data.pipeline.progress import OnProgress

THREADS = 8  # fingerprinting waits for the disk or the network, not for the processor
Probe = Callable[[str], Mapping[str, object]]


def write_index(
    listing: Listing,
    out: Path,
    *,
    limit: int | None = None,
    probe: Probe,
    on_progress: OnProgress | None = None,
) -> dict[str, object]:
    """Probe the listed videos, write the manifest to `out` and return its counts; the rest as in `index_listing`.

    Raises InputError, before anything is probed, where `out` is one of the files that are read.
    """
    check_output_file(out, inputs=_files_read(listing, out))
    manifest = index_listing(listing, limit=limit, probe=probe, on_progress=on_progress)
    write_manifest(manifest, out)
    problems = Counter(record.problem for record in manifest if record.problem)
    return {"num_videos": len(manifest), "splits": manifest.splits(), "problems": dict(problems)}


def _files_read(listing: Listing, out: Path) -> list[Path]:
    """Return the listing's own files, and the video that `out` is if it is one."""
    lists = {row.source for row in listing.videos} | {Path(listing.classes_from)}
    video = os.path.relpath(os.path.realpath(out), os.path.realpath(listing.root))
    return [*lists, *([listing.root / video] if video in {row.path for row in listing.videos} else [])]


def index_dataset(name: str, root: Path, *, list_split: int | None = None, limit: int | None = None) -> Manifest:
    """Return the manifest of the data set `name` under `root`, the first `limit` videos or all, without probing them.

    `list_split` is one of its several train/test splits. Raises InputError for a wrong data set name, root, list or
    label.
    """
    return index_listing(read_videos(name, root, list_split=list_split), limit=limit)


def index_listing(
    listing: Listing,
    *,
    limit: int | None = None,
    probe: Probe | None = None,
    on_progress: OnProgress | None = None,
) -> Manifest:
    """Return the manifest of listed videos: the first `limit`, or all.

    Every record gets size and fingerprint; with `probe` (see `extraction.probing`) also codec, size, rate and duration.
    A file that is missing or does not open keeps its row, with its `problem`. Raises InputError at the first row that
    cannot stand.
    """
    manifest = listing.manifest().limited(limit)
    if not manifest.records:
        raise InputError(f"a limit of {limit} leaves no video; give at least 1.", key="limit")
    records = _fingerprinted(manifest)
    if probe is not None:
        records = (record if record.problem else _probed(record, listing.root, probe) for record in records)
    finished = []
    for record in records:
        finished.append(record)
        if on_progress is not None:
            on_progress(len(finished), len(manifest))
    return replace(manifest, records=tuple(finished))


def _fingerprinted(manifest: Manifest) -> Iterator[VideoRecord]:
    root = Path(manifest.root)
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(lambda record: _fingerprint(record, root), manifest.records)


def _fingerprint(record: VideoRecord, root: Path) -> VideoRecord:
    try:
        size, fingerprint = fingerprint_file(root / record.path)
    except InputError as error:
        return replace(record, problem="missing" if error.key == "missing" else "unreadable")
    except OSError:
        return replace(record, problem="unreadable")
    return replace(record, size_bytes=size, fingerprint=fingerprint)


def _probed(record: VideoRecord, root: Path, probe: Probe) -> VideoRecord:
    try:
        return replace(record, **probe(str(root / record.path)))
    except VideoError as error:
        return replace(record, problem=error.reason)
