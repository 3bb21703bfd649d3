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
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from tdn_data.pipeline.datasets.manifest import Manifest, VideoRecord
from tdn_data.pipeline.parameters import ExtractParameters
from tdn_data.pipeline.shards.schema import SCHEMA_VERSION, Labelling, LedgerRow, shard_name

ROWS_VERSION = 1  # of the rows' content; a shard of another schema holds the same rows and they are copied
ENOUGH_SHARDS = 8  # of a small data set, which keep several workers busy


@dataclass(frozen=True)
class ShardPlan:
    """One shard to be: its place among `count`, its videos in order of identifier, and the digest of all that."""

    modality: str
    number: int
    count: int
    records: tuple[VideoRecord, ...]
    extension: str
    parameters_digest: str
    digest: str
    labelling: Labelling

    @property
    def name(self) -> str:
        """The shard's file name."""
        return shard_name(self.modality, self.number, self.count, self.extension)


def num_shards(video_ids: Collection[str], videos_per_shard: int) -> int:
    """Return the power of two that is the number of shards of these videos.

    It is the smallest that leaves at most `videos_per_shard` on average; where that is less than `ENOUGH_SHARDS`, the
    largest from there up to `ENOUGH_SHARDS` that leaves no shard empty.
    """
    needed = 1
    while needed * videos_per_shard < len(video_ids):
        needed *= 2
    count = ENOUGH_SHARDS
    while count > needed and len({shard_number(video_id, count) for video_id in video_ids}) < count:
        count //= 2
    return max(count, needed)


def shard_number(video_id: str, count: int) -> int:
    """Return the shard of a video among `count`."""
    digest = hashlib.blake2b(video_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % count


def modality_digest(parameters: ExtractParameters, modality: str) -> str:
    """Return a digest of all that decides the bytes of one modality's rows."""
    section = parameters.section(modality)
    content = {"section": section.model_dump(), "format": parameters.format, "schema": ROWS_VERSION}
    return _digest(content)


def plan_shards(manifest: Manifest, parameters: ExtractParameters, modality: str) -> list[ShardPlan]:
    """Return every shard of one modality, in order of number; a shard that no video falls into is planned, too."""
    count = num_shards([record.video_id for record in manifest], parameters.videos_per_shard)
    groups: list[list[VideoRecord]] = [[] for _ in range(count)]
    for record in manifest:
        groups[shard_number(record.video_id, count)].append(record)
    digest = modality_digest(parameters, modality)
    labelling = Labelling(manifest.dataset, manifest.class_names, manifest.multi_label)
    plans = []
    for number, group in enumerate(groups):
        records = tuple(sorted(group, key=lambda record: record.video_id))
        whole = plan_digest(records, count=count, parameters_digest=digest, labelling=labelling)
        plans.append(ShardPlan(modality, number, count, records, parameters.format, digest, whole, labelling))
    return plans


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


def source_numbers(number: int, count: int, old_count: int) -> list[int]:
    """Return the old shards, of `old_count`, in which videos of shard `number` of `count` can lie.

    >>> source_numbers(5, 8, 4), source_numbers(1, 4, 8)
    ([1], [1, 5])
    """
    if old_count <= count:
        return [number % old_count]
    return list(range(number, old_count, count))


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, default=dataclasses.asdict)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
