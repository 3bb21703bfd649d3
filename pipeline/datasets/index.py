"""From a data set's own lists to a manifest: read them, fingerprint every file, and probe it on request.

Many files are read at once: the disk or the network is waited for, and the probing processes work side by side. What
was probed is kept beside the manifest until that is written, so that a run that was interrupted goes on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from tdn_data.pipeline.datasets.listing import Listing
from tdn_data.pipeline.datasets.manifest import Manifest, VideoRecord, fingerprint_file, write_manifest
from tdn_data.pipeline.datasets.probed import Probed, probed_so_far
from tdn_data.pipeline.datasets.registry import read_videos
from tdn_data.pipeline.errors import InputError, VideoError
from tdn_data.pipeline.files import check_output_file
from tdn_data.pipeline.progress import OnProgress, reported
from tdn_data.pipeline.side_by_side import in_order

THREADS = 32  # they wait for the disk, the network and the probing processes
Probe = Callable[[str], Mapping[str, object]]  # called from many threads at once


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
    with probed_so_far(out) as probed:
        manifest = index_listing(listing, limit=limit, probe=probe, probed=probed, on_progress=on_progress)
        write_manifest(manifest, out)
    problems = Counter(record.problem for record in manifest if record.problem)
    return {"num_videos": len(manifest), "splits": manifest.splits(), "problems": dict(problems)}


def _files_read(listing: Listing, out: Path) -> list[Path]:
    """Return the listing's own files, and the video that `out` is if it is one."""
    lists = {row.source for row in listing.videos if row.line} | {Path(listing.classes_from)}
    video = os.path.relpath(os.path.realpath(out), os.path.realpath(listing.root))
    return [*lists, *([listing.root / video] if video in {row.path for row in listing.videos} else [])]


def index_dataset(name: str, root: Path, *, list_split: int | None = None, limit: int | None = None) -> Manifest:
    """Return the manifest of the data set `name` under `root`, the first `limit` videos or all, without probing them.

    Args:
        name: one of `tdn-data datasets`.
        root: the folder that holds its lists and videos.
        list_split: one of its several train/test splits, from 1; None for the first.
        limit: how many videos at most; None for all.

    Returns:
        a record for each listed video, with its split, labels and the size of its file.

    Raises:
        InputError: no data set of that name, or a root, list, label or limit that is wrong.
    """
    return index_listing(read_videos(name, root, list_split=list_split), limit=limit)


def index_listing(
    listing: Listing,
    *,
    limit: int | None = None,
    probe: Probe | None = None,
    probed: Probed | None = None,
    on_progress: OnProgress | None = None,
) -> Manifest:
    """Return the manifest of listed videos: the first `limit`, or all.

    Every record gets size and fingerprint; with `probe` (see `extraction.probing`) also codec, size, rate and duration,
    from `probed` where they are known from an earlier run.
    A file that is missing or does not open keeps its row, with its `problem`. Raises InputError at the first row that
    cannot stand.
    """
    manifest = listing.manifest().limited(limit)
    if not manifest.records:
        raise InputError(f"a limit of {limit} leaves no video; give at least 1.", key="limit")
    read = partial(_read, root=Path(manifest.root), probe=probe, probed=probed)
    finished = []
    for record in reported(in_order(read, manifest.records, num_threads=THREADS), len(manifest), on_progress):
        finished.append(record)
        if probe is not None and probed is not None:
            probed.keep(record)
    return replace(manifest, records=tuple(finished))


def _read(record: VideoRecord, *, root: Path, probe: Probe | None, probed: Probed | None) -> VideoRecord:
    """Return a record with what its file says."""
    record = _fingerprint(record, root)
    if probe is None or record.problem:
        return record
    known = probed.facts(record) if probed is not None else None
    return replace(record, **known) if known is not None else _probed(record, root, probe)


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
