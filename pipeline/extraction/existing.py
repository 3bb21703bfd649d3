"""What lies in a folder of shards before a run: a few facts of each shard, and the ledger rows of a shard's videos.

No more than some shards' ledger rows are in memory: they are read again when they are asked for, which is done shard by
shard.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.extraction.versions import row_versions, version_changes
from tdn_data.pipeline.parameters import ExtractParameters
from tdn_data.pipeline.shards.ledger import ledger_rows, read_dataset_json
from tdn_data.pipeline.shards.placement import shard_number, source_numbers
from tdn_data.pipeline.shards.plan import modality_digest
from tdn_data.pipeline.shards.schema import LedgerRow, parse_shard_name, shard_name
from tdn_data.pipeline.shards.shard_folder import READ_THREADS, shard_names
from tdn_data.pipeline.shards.shard_formats import Shard, open_shard
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.side_by_side import in_order

SHARDS_KEPT = 8  # whose ledger rows are in memory
_ABOUT = ("modality", "parameters", "parameters_digest", "plan_digest", "versions")


@dataclass(frozen=True)
class Found:
    """What a shard in a folder says about itself: its metadata, and what its videos' ledger rows have in common.

    `made_by` are the digests of the versions that made its rows; `all_ok` says that each of its videos is.
    """

    storage: Storage
    name: str
    about: Mapping[str, object]
    made_by: tuple[str | None, ...]
    all_ok: bool

    @property
    def ledger(self) -> list[LedgerRow]:
        """The ledger rows of its videos, read now."""
        with contextlib.closing(open_shard(self.storage, self.name)) as shard:
            return list(shard.ledger)

    @property
    def modality(self) -> str:
        """What the shard holds: `rgb` or `flow`."""
        return self.about["modality"]

    def other_versions(self) -> str:
        """Return what differs between the versions that made its rows and today's in words; nothing if all agree."""
        now = row_versions(self.modality)
        for made_by in self.made_by:
            if made_by != now.digest:
                return version_changes(self.about.get("versions", {}).get(made_by), now)
        return ""

    def other_parameters(self, parameters: ExtractParameters, extension: str) -> str:
        """Return what differs between the parameters that made its rows and these in words; nothing if all agree."""
        if self.about["parameters_digest"] == modality_digest(parameters, self.modality):
            return ""
        section = parameters.section(self.modality)
        old, new = self.about["parameters"], section.model_dump()
        changes = [f"{key} {old.get(key)} -> {new.get(key)}" for key in {**new, **old} if old.get(key) != new.get(key)]
        return ", ".join(changes) or f"format {extension} -> {parameters.format}"


def found_shards(storage: Storage) -> dict[str, Found]:
    """Return what each readable shard in the folder says about itself."""
    same: dict[str, object] = {}  # parameters and versions, of which most shards have the same, are held once

    def read(name: str) -> Found | None:
        with contextlib.suppress(ShardError), contextlib.closing(open_shard(storage, name)) as shard:
            return _found(storage, shard, same)
        return None

    found = in_order(read, shard_names(storage), num_threads=READ_THREADS)
    return {shard.name: shard for shard in found if shard is not None}


def _found(storage: Storage, shard: Shard, same: dict[str, object]) -> Found:
    about = {name: shard.about[name] for name in _ABOUT if name in shard.about}
    for name in ("parameters", "versions"):
        if name in about:
            about[name] = same.setdefault(json.dumps(about[name], sort_keys=True), about[name])
    made_by = tuple(dict.fromkeys(row.made_by for row in shard.ledger))
    made_by = same.setdefault(json.dumps(made_by), made_by)
    return Found(storage, shard.name, about, made_by, all(row.status == "ok" for row in shard.ledger))


class Sources:
    """The shards that were found, by the videos that can lie in them."""

    def __init__(self, found: Mapping[str, Found]) -> None:
        self._found = found
        self._kinds: dict[str, set[tuple[int, str]]] = {}  # modality -> number of shards, extension
        for modality, _, count, extension in filter(None, map(parse_shard_name, found)):
            self._kinds.setdefault(modality, set()).add((count, extension))

    def of(self, modality: str, number: int, count: int, *, extension: str | None = None) -> list[str]:
        """Return the shards in which videos of shard `number` of `count` can lie, of one extension or of any."""
        names = (
            shard_name(modality, one, old_count, kind)
            for old_count, kind in sorted(self._kinds.get(modality, ()))
            if extension in (None, kind)
            for one in source_numbers(number, count, old_count)
        )
        return [name for name in names if name in self._found]


class StoredRows:
    """The ledger rows of the videos that have rows, by modality and video; quick where a shard's are asked together.

    What shards held that cannot be read any more, or are gone, is known from the folder's own ledger. `count` is the
    number of shards planned.
    """

    def __init__(self, storage: Storage, found: Mapping[str, Found], modalities: Iterable[str], count: int) -> None:
        self._found, self._modalities, self._count = found, set(modalities), count
        self._sources = Sources(found)
        self._lost = {(row.modality, row.video_id): row for row in _rows_of_lost_shards(storage, found)}
        self._lost = {key: row for key, row in self._lost.items() if row.num_stored and key[0] in self._modalities}
        self._of_shard = lru_cache(SHARDS_KEPT)(self._read)

    def get(self, key: tuple[str, str]) -> LedgerRow | None:
        """Return the row of a (modality, video), None where nothing of it is stored."""
        modality, video_id = key
        rows = self._of_shard(modality, shard_number(video_id, self._count))
        return rows.get(video_id) or self._lost.get(key)

    def rows(self, *, but: Collection[str] = ()) -> Iterator[LedgerRow]:
        """Yield all rows, without those in the shards `but`; a video may come twice while shards are renumbered."""
        for name in sorted(self._found):
            if name not in but and self._found[name].modality in self._modalities:
                yield from (row for row in self._found[name].ledger if row.num_stored)
        yield from self._lost.values()

    def _read(self, modality: str, number: int) -> dict[str, LedgerRow]:
        if modality not in self._modalities:
            return {}
        names = self._sources.of(modality, number, self._count)
        rows = (row for name in sorted(names) for row in self._found[name].ledger if row.num_stored)
        return {row.video_id: row for row in rows}


def _rows_of_lost_shards(storage: Storage, found: Mapping[str, Found]) -> Iterator[LedgerRow]:
    with contextlib.suppress(InputError, ShardError):  # no ledger, or a damaged one: the shards say what they hold
        yield from (row for row in ledger_rows(storage, read_dataset_json(storage)) if row.shard not in found)
