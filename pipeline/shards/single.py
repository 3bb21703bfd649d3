"""One shard, read as if it were a folder: what the small files of a folder say is gathered from it alone, in memory."""

from __future__ import annotations

import os

import pyarrow as pa

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.schema import parse_shard_name
from tdn_data.pipeline.shards.shard_folder import gather, small_files
from tdn_data.pipeline.shards.storage import Storage


class ShardFile(Storage):
    """A shard's folder in which nothing else is seen, and its small files, which are nowhere stored.

    Raises InputError where the shard is missing, ShardError where it is damaged or of schema 1 (`repair` upgrades it).
    """

    def __init__(self, location: str, name: str) -> None:
        super().__init__(location)
        self._name = name
        self._sizes = {key: size for key, size in super().sizes().items() if key == name}
        if not self._sizes:
            raise InputError(f"{super().shown}/{name} is missing.", path=name, key="missing")
        self._files = small_files(gather(self, [name]), self._sizes)

    @property
    def shown(self) -> str:
        """The shard's location as it may be shown."""
        return f"{super().shown}/{self._name}"

    def sizes(self) -> dict[str, int]:
        """Return name -> bytes for the shard and its small files."""
        return self._sizes | {name: len(content) for name, content in self.__dict__.get("_files", {}).items()}

    def open_file(self, name: str) -> pa.NativeFile:
        """Open a small file, or the shard."""
        return pa.BufferReader(self._files[name]) if name in self._files else super().open_file(name)

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a small file, or of the shard."""
        return self._files[name] if name in self._files else super().read_bytes(name)


def storage_at(path: str | os.PathLike[str]) -> Storage:
    """Return the storage of a path or address: a folder of shards, or one of them if that is what it names."""
    if not isinstance(path, (str, os.PathLike)) or os.path.isdir(path):
        return Storage(path)
    location, question, options = os.fspath(path).partition("?") if "://" in os.fspath(path) else (path, "", "")
    folder, _, name = str(os.fspath(location)).rpartition("/")
    if parse_shard_name(name) is None:
        return Storage(path)
    return ShardFile(f"{folder or '.'}{question}{options}", name)
