"""What `verify` found damaged, kept in the folder: `status` and `repair` say it, and `extract` recreates those shards.

A shard whose pictures are damaged opens like any other; reading all of them to find out takes as long as the disk does.
`damaged.json` is a list of such shards' names. It is gone when none of them is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tdn_data.pipeline.shards.schema import parse_shard_name
from tdn_data.pipeline.shards.storage import Storage

MARKS_NAME = "damaged.json"


def read_marks(storage: Storage) -> set[str]:
    """Return the names of the shards that are known to be damaged; a list that cannot be read names none."""
    if MARKS_NAME not in storage.names():
        return set()
    try:
        names = json.loads(storage.read_bytes(MARKS_NAME))
    except (ValueError, RecursionError):
        return set()
    return {name for name in names if isinstance(name, str) and parse_shard_name(name)} if names else set()


def write_marks(storage: Storage, names: Iterable[str]) -> None:
    """Keep the names of all shards that are known to be damaged; raise StorageError where that is not allowed."""
    wanted = sorted(set(names))
    if wanted and set(wanted) != read_marks(storage):
        storage.write_bytes(MARKS_NAME, (json.dumps(wanted, indent=2) + "\n").encode())
    if not wanted:
        storage.delete(MARKS_NAME)
