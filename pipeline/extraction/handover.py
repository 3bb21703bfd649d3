"""Is every listed video in the ledger of every modality, once? Compared by digests of identifiers, 8 bytes a video."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from tdn_data.pipeline.datasets.manifest import Manifest
from tdn_data.pipeline.errors import ShardError
from tdn_data.pipeline.shards.gathered import GatheredRows
from tdn_data.pipeline.shards.schema import STATUSES, LedgerRow

STRAYS_SHOWN = 3
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class ModalityCounts:
    """What became of a modality's videos: how many ended so, how many were decoded whole, and rows stored."""

    num_videos: int
    status: dict[str, int]
    decoding: dict[str, int]
    num_rows: int


def count_and_compare(
    manifest: Manifest, modalities: Sequence[str], ledger: GatheredRows[LedgerRow]
) -> dict[str, ModalityCounts]:
    """Return the ledger's counts for each of `modalities`.

    Raises ShardError unless every listed video has exactly one ledger row in each of them.
    """
    counts = {modality: Counter() for modality in modalities}
    found = {modality: _Digests() for modality in modalities}
    for table in ledger.tables():
        for modality in modalities:
            rows = table.filter(pc.equal(table["modality"], modality))
            found[modality].add(rows["video_id"].to_pylist())
            for name in ("status", "decoding"):
                counts[modality].update(rows[name].to_pylist())
            counts[modality]["videos"] += len(rows)
            counts[modality]["rows"] += pc.sum(rows["num_stored"]).as_py() or 0
    listed = _Digests()
    listed.add(record.video_id for record in manifest)
    wanted = listed.sorted()
    for modality in modalities:
        if not np.array_equal(found[modality].sorted(), wanted):
            strays = _strays(manifest, (row.video_id for row in ledger if row.modality == modality))
            raise ShardError(
                f"{len(manifest)} videos are listed and {counts[modality]['videos']} are in the {modality} ledger, "
                f"e.g. {strays}."
            )
    return {modality: _counts(one) for modality, one in counts.items()}


def _counts(found: Counter) -> ModalityCounts:
    status = {status: found[status] for status in STATUSES}
    return ModalityCounts(found["videos"], status, {name: found[name] for name in ("sparse", "full")}, found["rows"])


def _strays(manifest: Manifest, found: Iterable[str]) -> list[str]:
    """Return a few videos that are listed and not found, the other way round, or found twice."""
    counts = Counter(found)
    counts.subtract(record.video_id for record in manifest)
    return sorted(video_id for video_id, count in counts.items() if count)[:STRAYS_SHOWN]


class _Digests:
    """Digests of identifiers, in pieces of an array each."""

    def __init__(self) -> None:
        self._full: list[np.ndarray] = []
        self._last = bytearray()

    def add(self, video_ids: Iterable[str]) -> None:
        """Take in the digests of more identifiers, 8 bytes each."""
        for video_id in video_ids:
            self._last += hashlib.blake2b(video_id.encode(), digest_size=8).digest()
            if len(self._last) >= PIECE_BYTES:
                self._full.append(np.frombuffer(bytes(self._last), np.uint64))
                self._last = bytearray()

    def sorted(self) -> np.ndarray:
        """Return all of them in order, uint64 (N,)."""
        found = np.concatenate([*self._full, np.frombuffer(bytes(self._last), np.uint64)])
        found.sort()
        return found
