"""The two formats of a shard, by the extension of its name."""

from __future__ import annotations

from pathlib import Path

from tdn_data.pipeline.errors import ShardError
from tdn_data.pipeline.shards.lmdb import LmdbShard, LmdbShardWriter
from tdn_data.pipeline.shards.parquet import ParquetShard, ParquetShardWriter
from tdn_data.pipeline.shards.schema import parse_shard_name
from tdn_data.pipeline.shards.storage import Storage

Shard = ParquetShard | LmdbShard
ShardWriter = ParquetShardWriter | LmdbShardWriter

READERS = {"parquet": ParquetShard, "lmdb": LmdbShard}
WRITERS = {"parquet": ParquetShardWriter, "lmdb": LmdbShardWriter}


def open_shard(storage: Storage, name: str) -> Shard:
    """Open a shard by its name; raise ShardError when it cannot be read."""
    parsed = parse_shard_name(name)
    if parsed is None:
        raise ShardError(f"{name} is not the name of a shard.", path=storage.shown, key=name)
    modality, _, _, extension = parsed
    return READERS[extension](storage, name, modality)


def shard_writer(path: Path, *, modality: str, extension: str) -> ShardWriter:
    """Return a writer of a new shard at a local path."""
    return WRITERS[extension](path, modality)
