"""From a data set's own lists to a manifest: read them, fingerprint every file, and probe it on request."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tdn_data.pipeline.datasets.listing import Listing
from tdn_data.pipeline.datasets.manifest import Manifest, VideoRecord, fingerprint_file
from tdn_data.pipeline.datasets.registry import read_videos
from tdn_data.pipeline.errors import InputError, VideoError
from tdn_data.pipeline.extraction.sandbox import GuardedProcess, checked_text
from tdn_data.pipeline.limits import MAX_SIDE
from tdn_data.pipeline.parameters import Limits

PROBE_SECONDS = 30.0
MAX_PROBE_BYTES = 1 << 16
THREADS = 8  # fingerprinting waits for the disk or the network, not for the processor


def index_dataset(
    name: str,
    root: Path,
    *,
    list_split: int | None = None,
    limit: int | None = None,
    probe: bool = False,
    on_video: Callable[[int], None] | None = None,
) -> Manifest:
    """Return the manifest of the data set `name` under `root`; `list_split` is one of its several train/test splits.

    The rest as in `index_listing`. Raises InputError for a wrong data set name, root, list or label.
    """
    listing = read_videos(name, root, list_split=list_split)
    return index_listing(listing, limit=limit, probe=probe, on_video=on_video)


def index_listing(
    listing: Listing,
    *,
    limit: int | None = None,
    probe: bool = False,
    on_video: Callable[[int], None] | None = None,
) -> Manifest:
    """Return the manifest of listed videos: the first `limit`, or all.

    Every record gets size and fingerprint; with `probe` also codec, size, rate and duration, read in a process that
    a hostile file can only hang for `PROBE_SECONDS`. A file that is missing or does not open keeps its row, with its
    `problem`. Raises InputError at the first row that cannot stand.
    """
    manifest = listing.manifest().limited(limit)
    if not manifest.records:
        raise InputError(f"a limit of {limit} leaves no video; give at least 1.", key="limit")
    records = []
    for record in _fingerprinted(manifest):
        records.append(record)
        if on_video is not None and not probe:
            on_video(1)
    if probe:
        records = list(_probed(records, listing.root, on_video))
    return replace(manifest, records=tuple(records))


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


def _probed(records: list[VideoRecord], root: Path, on_video: Callable[[int], None] | None) -> Iterator[VideoRecord]:
    guarded = GuardedProcess("tdn_data.pipeline.video.probe:packed_probe", memory_bytes=Limits().memory_bytes)
    try:
        for record in records:
            yield record if record.problem else _probe(record, root, guarded)
            if on_video is not None:
                on_video(1)
    finally:
        guarded.stop()


def _probe(record: VideoRecord, root: Path, guarded: GuardedProcess) -> VideoRecord:
    try:
        path = str(root / record.path)
        return replace(record, **guarded.call(path, timeout_seconds=PROBE_SECONDS, read=_read_probe))
    except VideoError as error:
        return replace(record, problem=error.reason)


def _read_probe(content: memoryview) -> dict[str, object]:
    """Return what `packed_probe` found; raise ValueError for an answer that cannot be right."""
    found = json.loads(bytes(content[:MAX_PROBE_BYTES]))
    kinds = {"codec": str, "width": int, "height": int, "fps": float, "duration_seconds": float}
    if not isinstance(found, dict) or found.keys() != kinds.keys():
        raise ValueError("other facts than asked for")
    if any(type(found[name]) is not kind for name, kind in kinds.items()):
        raise ValueError("facts of another kind")
    numbers = [found[name] for name in kinds if name != "codec"]
    if not all(math.isfinite(number) and number >= 0 for number in numbers) or max(numbers[:2]) > MAX_SIDE:
        raise ValueError("facts out of range")
    return found | {"codec": checked_text(found["codec"])}
