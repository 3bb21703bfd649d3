"""What the shards of a folder say together, and the four small files made of it, by extraction and by repair alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from tdn_data.pipeline.datasets.manifest import Manifest
from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.shards.card import CARD_NAME, folder_card, is_ours
from tdn_data.pipeline.shards.formats import Shard, open_shard
from tdn_data.pipeline.shards.labels import common_labelling, labelling_of, renumbered
from tdn_data.pipeline.shards.ledger import (
    DATASET_NAME,
    INDEX_NAME,
    LEDGER_NAME,
    SPLITS_NAME,
    IndexRow,
    count_by_status,
    dataset_json,
    index_table,
    ledger_table,
    splits_table,
)
from tdn_data.pipeline.shards.schema import SCHEMAS, Labelling, LedgerRow, parse_shard_name
from tdn_data.pipeline.shards.storage import Storage

READ_THREADS = 16  # reading what shards say of themselves waits for the disk or the network
MAX_NAMES_SHOWN = 3
NEW_FOLDER = ".new"  # inside the folder: shards that will take the place of others

T = TypeVar("T")
Row = TypeVar("Row", IndexRow, LedgerRow)


@dataclass(frozen=True)
class ShardContents:
    """What one shard says: its metadata, its ledger, and where its videos lie."""

    name: str
    about: dict[str, object]
    ledger: tuple[LedgerRow, ...]
    index: tuple[IndexRow, ...]

    @property
    def labelling(self) -> Labelling:
        """What its labels mean; shards of schema 1 do not say it and raise ShardError."""
        found = labelling_of(self)
        if found is None:
            raise ShardError(f"{self.name} is of schema 1; run `tdn-data repair` to upgrade it.", key=self.name)
        return found


def shard_names(storage: Storage) -> list[str]:
    """Return the names of the shards in a folder, sorted."""
    return [name for name in storage.names() if parse_shard_name(name) is not None]


def read_shards(storage: Storage, names: Iterable[str], read: Callable[[Shard], T]) -> Iterator[tuple[str, T]]:
    """Yield each shard's name and what `read` makes of it, in order, many at once."""

    def open_and_read(name: str) -> T:
        with contextlib.closing(open_shard(storage, name)) as shard:
            return read(shard)

    names = list(names)
    with ThreadPoolExecutor(READ_THREADS) as pool:
        yield from zip(names, pool.map(open_and_read, names), strict=True)


def other_shards(storage: Storage, modalities: Iterable[str]) -> list[str]:
    """Return the names of the shards whose modality is not among `modalities`."""
    asked = set(modalities)
    return [name for name in shard_names(storage) if parse_shard_name(name)[0] not in asked]


def shard_contents(shard: Shard) -> ShardContents:
    """Return what an open shard says."""
    modality = str(shard.about["modality"])
    index = tuple(
        IndexRow(entry.video_id, modality, entry.split, entry.labels, shard.name, entry.row_group, entry.num_rows)
        for entry in shard.entries()
    )
    return ShardContents(shard.name, shard.about, tuple(shard.ledger), index)


def check_modalities_agree(others: Iterable[ShardContents], manifest: Manifest, *, where: str) -> None:
    """Raise InputError where shards that stay contradict what is about to be extracted beside them.

    `others` are the shards of modalities that are not extracted now.
    """
    others, wanted = list(others), Labelling(manifest.dataset, manifest.class_names, manifest.multi_label)
    common = common_labelling([wanted, *(shard.labelling for shard in others)], where=where)
    records = {record.video_id: record for record in manifest} if others else {}
    differing = []
    for shard in others:
        for row in (one for one in shard.ledger if one.video_id in records):
            record = records[row.video_id]
            stored = row.split, row.list_splits, renumbered(row.labels, shard.labelling, common)
            if stored != (record.split, record.list_splits, renumbered(record.labels, wanted, common)):
                differing.append(f"{row.video_id} ({row.modality})")
    if differing:
        shown = ", ".join(differing[:MAX_NAMES_SHOWN]) + (" ..." if len(differing) > MAX_NAMES_SHOWN else "")
        raise InputError(
            f"{where} holds another label or split of {len(differing)} listed videos, e.g. {shown}; extract both "
            "modalities together (--modality both), so that what is stored there follows the list.",
            path=where,
        )


@dataclass(frozen=True)
class FolderContents:
    """What all shards say together; labels are numbers of `labelling`'s classes."""

    labelling: Labelling
    index: tuple[IndexRow, ...]
    ledger: tuple[LedgerRow, ...]
    parameters: dict[str, dict[str, object]]
    producers: tuple[str, ...]
    libraries: dict[str, tuple[str, ...]]


def gather(storage: Storage, names: Sequence[str]) -> FolderContents:
    """Return what the shards say together.

    Raises ShardError for a shard that cannot be read, InputError where they contradict each other or there is none.
    """
    parts: list[tuple[Labelling, ShardContents]] = []
    same: dict[Labelling, Labelling] = {}  # the classes of all shards are held once
    parameters, producers, libraries = {}, set(), {}
    for _, shard in read_shards(storage, names, shard_contents):
        labelling = shard.labelling
        parts.append((same.setdefault(labelling, labelling), replace(shard, about={})))
        parameters[str(shard.about["modality"])] = shard.about["parameters"]
        producers.add(str(shard.about.get("producer")))
        for library, version in dict(shard.about.get("libraries", {})).items():
            libraries.setdefault(library, set()).add(str(version))
    if not parts:
        raise InputError(f"{storage.shown} holds no shard; run `tdn-data extract` into it.", path=storage.shown)
    common = common_labelling(same, where=storage.shown)
    return FolderContents(
        labelling=common,
        index=tuple(_renumbered(row, own, common) for own, shard in parts for row in shard.index),
        ledger=tuple(_renumbered(row, own, common) for own, shard in parts for row in shard.ledger),
        parameters={modality: parameters[modality] for modality in SCHEMAS if modality in parameters},
        producers=tuple(sorted(producers)),
        libraries={library: tuple(sorted(versions)) for library, versions in sorted(libraries.items())},
    )


def _renumbered(row: Row, own: Labelling, common: Labelling) -> Row:
    return row if own is common else replace(row, labels=renumbered(row.labels, own, common))


def write_folder(storage: Storage, contents: FolderContents) -> list[str]:
    """Write index, ledger, splits and dataset.json; return the names of those that were not so already.

    dataset.json goes before the first change and comes last, so that a reader sees a finished extraction or none.
    """
    sizes = storage.sizes()
    wanted = small_files(contents, sizes)
    _write_card(storage, contents, sizes)
    changed = [name for name, content in wanted.items() if name not in sizes or storage.read_bytes(name) != content]
    if changed or (SPLITS_NAME not in wanted and SPLITS_NAME in sizes):
        storage.delete(DATASET_NAME)
        for name in changed:
            if name != DATASET_NAME:
                storage.write_bytes(name, wanted[name])
        if SPLITS_NAME not in wanted:
            storage.delete(SPLITS_NAME)
        storage.write_bytes(DATASET_NAME, wanted[DATASET_NAME])
    return changed


def small_files(contents: FolderContents, sizes: dict[str, int]) -> dict[str, bytes]:
    """Return name -> content of index, ledger, splits where there are several, and dataset.json, which is last.

    `sizes` has the bytes of each shard.
    """
    tables = {INDEX_NAME: index_table(contents.index), LEDGER_NAME: ledger_table(contents.ledger)}
    splits = splits_table(contents.ledger)
    if splits is not None:
        tables[SPLITS_NAME] = splits
    return {**tables, DATASET_NAME: dataset_json(_dataset_content(contents, sizes), tables)}


def _write_card(storage: Storage, contents: FolderContents, names: Iterable[str]) -> None:
    """Write the card of a folder of Parquet shards; a README.md that people wrote, or wrote on, stays."""
    kinds = {parsed[0] for name in names if (parsed := parse_shard_name(name)) and parsed[3] == "parquet"}
    codecs = {modality: str(one["codec"]) for modality, one in contents.parameters.items() if modality in kinds}
    card = folder_card(contents.labelling, codecs) if codecs else None
    before = storage.read_bytes(CARD_NAME) if CARD_NAME in storage.names() else None
    if card == before or (before is not None and not is_ours(before)):
        return
    if card is None:
        storage.delete(CARD_NAME)
    else:
        storage.write_bytes(CARD_NAME, card)


def _dataset_content(contents: FolderContents, sizes: dict[str, int]) -> dict[str, object]:
    return {
        "name": contents.labelling.dataset,
        "class_names": list(contents.labelling.class_names),
        "multi_label": contents.labelling.multi_label,
        "producer": ", ".join(contents.producers),
        "libraries": {library: ", ".join(versions) for library, versions in contents.libraries.items()},
        "parameters": contents.parameters,
        "num_videos": len({row.video_id for row in contents.ledger}),
        "status": {
            modality: count_by_status([row for row in contents.ledger if row.modality == modality])
            for modality in contents.parameters
        },
        "shard_bytes": {name: size for name, size in sizes.items() if parse_shard_name(name)},
    }
