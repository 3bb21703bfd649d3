"""The videos at a path, kept fresh: a finished extraction is read once, one that goes on is looked at again."""

from __future__ import annotations

import threading
import time

from tdn_data.pipeline.errors import InputError, PipelineError, ShardError
from tdn_data.pipeline.shards.ledger import DATASET_NAME
from tdn_data.pipeline.shards.schema import parse_shard_name
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.view.browse.found import Folder, Gathering, Notice, folders_at, read_finished
from tdn_data.pipeline.view.browse.video_columns import Videos, join_folders

SECONDS_AT_START = 1.0  # for reading shards of an unfinished extraction; the others are read in the background
SECONDS_BETWEEN_LOOKS = 5.0


class VideoSource:
    """The videos at a path; `videos` is replaced as a whole when the folder changes.

    Raises InputError where there are no shards, ShardError where none can be read.
    """

    def __init__(self, path: str) -> None:
        self._storages = folders_at(path)
        self.location, self.shown = path, Storage(path).shown
        self._gatherings: dict[int, Gathering] = {}
        self._lock, self._looked = threading.Lock(), time.monotonic()
        self._finished: dict[int, tuple[object, Folder]] = {}
        self._changes = 0
        self.videos = self._read(SECONDS_AT_START)

    def fresh(self) -> Videos:
        """Return the videos, after a look at the folder if the last one is some seconds ago."""
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS and self._lock.acquire(blocking=False):
            try:
                self.videos = self._read(SECONDS_AT_START)
            except PipelineError:
                pass  # the folder went away or cannot be read now: what was read before stays on the pages
            finally:
                self._looked = time.monotonic()
                self._lock.release()
        return self.videos

    def _read(self, seconds: float) -> Videos:
        """Return the videos as they are now, or the same object where nothing changed."""
        folders, changed = [], False
        for number, storage in enumerate(self._storages):
            folder, is_new = self._folder(number, storage, time.monotonic() + seconds)
            folders.append(folder)
            changed |= is_new
        if not changed:
            return self.videos
        self._changes += 1
        return join_folders(folders, version=f"{int(time.time())}-{self._changes}")

    def _folder(self, number: int, storage: Storage, deadline: float) -> tuple[Folder, bool]:
        sizes = storage.sizes()
        if DATASET_NAME not in sizes and not any(map(parse_shard_name, sizes)):
            raise InputError(f"{storage.shown} holds no shards any more.", path=storage.shown)
        key = tuple(sorted(sizes.items()))
        known = self._finished.get(number)
        if known is not None and known[0] == key:
            return known[1], False
        try:
            folder = read_finished(storage)
        except (InputError, ShardError) as error:
            folder = self._gathered(number, storage, deadline, _why(storage, sizes, error))
            gathering = self._gatherings[number]
            key = key if not gathering.remaining() else None
        self._finished[number] = key, folder
        return folder, True

    def _gathered(self, number: int, storage: Storage, deadline: float, notice: Notice) -> Folder:
        """Return what the shards themselves say, as far as they can be read until `deadline`."""
        gathering = self._gatherings.setdefault(number, Gathering(storage))
        gathering.look()
        for name in gathering.remaining():
            gathering.read(name)
            if time.monotonic() > deadline:
                break
        remaining = len(gathering.remaining())
        more = (Notice(f"{remaining} shards are not read yet; the page shows more when it is loaded again."),)
        return gathering.folder((notice, *(more if remaining else ())))


def _why(storage: Storage, sizes: dict[str, int], error: PipelineError) -> Notice:
    """Return why a folder is read from its shards."""
    if DATASET_NAME not in sizes:
        return Notice(
            f"{storage.shown} is not finished: an extraction is going on there or was stopped (no {DATASET_NAME} yet). "
            "What is there is shown, and a page loaded again shows more; the same `tdn-data extract` continues it."
        )
    return Notice(f"{error.message} Until then the videos are listed from the shards themselves.", serious=True)
