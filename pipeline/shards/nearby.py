"""What to say of a folder that holds no shards: where, just below it, some lie, or which command makes them."""

from __future__ import annotations

from contextlib import suppress

from tdn_data.pipeline.errors import InputError, StorageError
from tdn_data.pipeline.shards.schema import parse_shard_name
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.text import some_of

LEVELS = 2  # below the folder: `dvc repro` writes DATA_SET/rgb and DATA_SET/flow
MOST_FOLDERS = 50  # that are looked into; in an object store each takes a request


def nothing_here(storage: Storage, words: str, way_out: str = "run `tdn-data extract` into it") -> InputError:
    """Return the error for a folder without shards.

    Args:
        storage: The folder.
        words: What it lacks, e.g. "holds no shard".
        way_out: What to do where no folder below it holds shards, either.

    Returns:
        An InputError; its message names the folders below that hold shards, or the way out.
    """
    folders = shards_below(storage)
    if not folders:
        return InputError(f"{storage.shown} {words}; {way_out}.", path=storage.shown)
    shown = some_of([f"{storage.shown.rstrip('/')}/{name}" for name in folders])
    one = "name that folder" if len(folders) == 1 else "name one of them"
    return InputError(f"{storage.shown} {words}, but there are shards in {shown}; {one}.", path=storage.shown)


def shards_below(storage: Storage) -> list[str]:
    """Return the folders below, as names relative to this one, that hold shards; `LEVELS` deep, the first few.

    What may not be read is passed over: it is not what was asked for.
    """
    found, level = [], [""]
    for _ in range(LEVELS):
        level = [f"{above}{name}" for above in level for name in _folders(storage, above)][:MOST_FOLDERS]
        found += [name for name in level if _holds_shards(storage.folder(name))]
        level = [f"{name}/" for name in level if name not in found]
    return sorted(found)


def _folders(storage: Storage, name: str) -> list[str]:
    inner = storage.folder(name.rstrip("/")) if name else storage
    with suppress(StorageError):
        return [folder for folder in inner.folders() if not folder.startswith(".")]
    return []


def _holds_shards(storage: Storage) -> bool:
    with suppress(StorageError):
        return any(map(parse_shard_name, storage.names()))
    return False
