"""In which shard a video lies: its identifier's hash modulo a power of two."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

ENOUGH_SHARDS = 8  # of a small data set, which keep several workers busy


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


def source_numbers(number: int, count: int, old_count: int) -> list[int]:
    """Return the old shards, of `old_count`, in which videos of shard `number` of `count` can lie.

    >>> source_numbers(5, 8, 4), source_numbers(1, 4, 8)
    ([1], [1, 5])
    """
    if old_count <= count:
        return [number % old_count]
    return list(range(number, old_count, count))
