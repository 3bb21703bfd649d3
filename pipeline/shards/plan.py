"""Which video goes into which shard: pure arithmetic over the manifest.

A video's shard is its identifier's hash modulo the number of shards, and that number is a power of two:

    4 shards:   0    1    2    3
    8 shards:  0 4  1 5  2 6  3 7      shard n of 8 came out of shard n % 4 of 4

So adding, changing or removing a video touches its own shard alone, and when a data set outgrows its number of shards
each shard splits into two whose rows are copied and not computed again. A small data set has as many shards, up to
`ENOUGH_SHARDS`, as its videos fill: one video has one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tdn_data.pipeline.datasets.manifest import Manifest, VideoRecord
from tdn_data.pipeline.parameters import ExtractParameters
from tdn_data.pipeline.shards.placement import num_shards
from tdn_data.pipeline.shards.planned import PlannedVideos
from tdn_data.pipeline.shards.schema import SCHEMA_VERSION, Labelling, LedgerRow, shard_name

ROWS_VERSION = 1  # of the rows' content; a shard of another schema holds the same rows and they are copied


@dataclass(frozen=True)
class ShardPlan:
    """One shard to be: its place among `count`, its videos in order of identifier, and the digest of all that."""

    modality: str
    number: int
    count: int
    records: Sequence[VideoRecord]
    extension: str
    parameters_digest: str
    digest: str
    labelling: Labelling
    num_bytes: int = 0  # of its videos, as far as they are known

    @property
    def name(self) -> str:
        """The shard's file name."""
        return shard_name(self.modality, self.number, self.count, self.extension)


def modality_digest(parameters: ExtractParameters, modality: str) -> str:
    """Return a digest of all that decides the bytes of one modality's rows."""
    section = parameters.section(modality)
    content = {"section": section.model_dump(), "format": parameters.format, "schema": ROWS_VERSION}
    return _digest(content)


def planned_videos(manifest: Manifest, parameters: ExtractParameters) -> PlannedVideos:
    """Return a manifest's videos by the shards that they make."""
    return PlannedVideos(manifest, num_shards(_VideoIds(manifest), parameters.videos_per_shard))


def plan_shards(
    manifest: Manifest, parameters: ExtractParameters, modality: str, *, videos: PlannedVideos | None = None
) -> list[ShardPlan]:
    """Return every shard of one modality, in order of number; one that no video falls into is planned, too.

    `videos` are those of the manifest, where they are planned already.
    """
    videos = videos or planned_videos(manifest, parameters)
    digest = modality_digest(parameters, modality)
    labelling = Labelling(manifest.dataset, manifest.class_names, manifest.multi_label)
    plans = []
    for number in range(videos.count):
        records, own = videos.of(number), tuple(videos.of(number))
        whole = plan_digest(own, count=videos.count, parameters_digest=digest, labelling=labelling)
        num_bytes = sum(record.size_bytes or 0 for record in own)
        plan = ShardPlan(
            modality, number, videos.count, records, parameters.format, digest, whole, labelling, num_bytes
        )
        plans.append(plan)
    return plans


class _VideoIds(Collection[str]):
    """The identifiers of a manifest's videos, read when they are asked for."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def __len__(self) -> int:
        return len(self._manifest)

    def __iter__(self) -> Iterator[str]:
        return (record.video_id for record in self._manifest)

    def __contains__(self, video_id: object) -> bool:
        return any(one == video_id for one in self)


def plan_digest(
    records: Iterable[VideoRecord | LedgerRow], *, count: int, parameters_digest: str, labelling: Labelling
) -> str:
    """Return a digest of all that decides a shard's bytes: its videos as listed, what labels mean, the parameters."""
    videos = [(row.video_id, row.path, row.split, row.labels, row.fingerprint, row.list_splits) for row in records]
    content = {
        "schema": SCHEMA_VERSION,
        "parameters": parameters_digest,
        "count": count,
        "labelling": _labelling_digest(labelling),
        "videos": videos,
    }
    return _digest(content)


@lru_cache(maxsize=8)
def _labelling_digest(labelling: Labelling) -> str:
    return _digest(labelling)


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, default=dataclasses.asdict)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
