"""What the shards of a folder say together, and the four small files made of it, by extraction and by repair alike."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from tdn_data.pipeline.datasets.manifest import Manifest
from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.shards.card import CARD_NAME, folder_card, is_ours
from tdn_data.pipeline.shards.counts import LedgerCounts
from tdn_data.pipeline.shards.gathered import GatheredRows, Row
from tdn_data.pipeline.shards.labels import common_labelling, labelling_of, renumbered
from tdn_data.pipeline.shards.ledger import (
    DATASET_NAME,
    INDEX_NAME,
    LEDGER_NAME,
    SPLITS_NAME,
    TABLE_NAMES,
    IndexRow,
    dataset_json,
    file_facts,
    write_table,
)
from tdn_data.pipeline.shards.nearby import nothing_here
from tdn_data.pipeline.shards.planned import PlannedVideos
from tdn_data.pipeline.shards.schema import (
    INDEX_SCHEMA,
    LEDGER_SCHEMA,
    SCHEMAS,
    SPLITS_SCHEMA,
    Labelling,
    LedgerRow,
    parse_shard_name,
)
from tdn_data.pipeline.shards.seal import stream_digest
from tdn_data.pipeline.shards.shard_formats import Shard, open_shard
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.side_by_side import in_order

READ_THREADS = 16  # reading what shards say of themselves waits for the disk or the network
MAX_NAMES_SHOWN = 3
NEW_FOLDER = ".new"  # inside the folder: shards that will take the place of others

T = TypeVar("T")


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

    def open_and_read(name: str) -> tuple[str, T]:
        with contextlib.closing(open_shard(storage, name)) as shard:
            return name, read(shard)

    yield from in_order(open_and_read, names, num_threads=READ_THREADS)


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


def check_modalities_agree(
    others: Callable[[], Iterable[ShardContents]], manifest: Manifest, videos: PlannedVideos, *, where: str
) -> None:
    """Raise InputError where shards that stay contradict what is about to be extracted beside them.

    `others` gives the shards of modalities that are not extracted now, each time that it is called; `videos` are the
    manifest's.
    """
    wanted = Labelling(manifest.dataset, manifest.class_names, manifest.multi_label)
    labellings = dict.fromkeys([wanted])
    for shard in others():
        labellings.setdefault(shard.labelling)
    common = common_labelling(labellings, where=where)
    differing = []
    for shard in others():
        for row in shard.ledger:
            record = videos.get(row.video_id)
            if record is None:
                continue
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
    """What all shards say together; labels are numbers of `labelling`'s classes. `close` removes temporary files.

    `index` and `ledger` may be iterated again; those that `gather` returns are sorted and hold few rows in memory.
    """

    labelling: Labelling
    index: Iterable[IndexRow]
    ledger: Iterable[LedgerRow]
    parameters: dict[str, dict[str, object]]
    producers: tuple[str, ...]
    libraries: dict[str, tuple[str, ...]]

    def close(self) -> None:
        """Remove the temporary files of a large folder's rows."""
        for rows in (self.index, self.ledger):
            if isinstance(rows, GatheredRows):
                rows.close()


def gather(storage: Storage, names: Sequence[str]) -> FolderContents:
    """Return what the shards say together.

    Raises ShardError for a shard that cannot be read, InputError where they contradict each other or there is none.
    """
    index, ledger = GatheredRows(IndexRow, INDEX_SCHEMA), GatheredRows(LedgerRow, LEDGER_SCHEMA)
    numbers: dict[Labelling, int] = {}  # the classes of all shards are held once
    parameters, producers, libraries = {}, set(), {}
    for _, shard in read_shards(storage, names, shard_contents):
        own = numbers.setdefault(shard.labelling, len(numbers))
        index.add(shard.index, own)
        ledger.add(shard.ledger, own)
        parameters[str(shard.about["modality"])] = shard.about["parameters"]
        producers.add(str(shard.about.get("producer")))
        for library, version in dict(shard.about.get("libraries", {})).items():
            libraries.setdefault(library, set()).add(str(version))
    if not numbers:
        raise nothing_here(storage, "holds no shard")
    common = common_labelling(numbers, where=storage.shown)
    for rows in (index, ledger):
        rows.renumber(tuple(numbers), common)
    return FolderContents(
        labelling=common,
        index=index,
        ledger=ledger,
        parameters={modality: parameters[modality] for modality in SCHEMAS if modality in parameters},
        producers=tuple(sorted(producers)),
        libraries={library: tuple(sorted(versions)) for library, versions in sorted(libraries.items())},
    )


def write_folder(storage: Storage, contents: FolderContents) -> list[str]:
    """Write index, ledger, splits and dataset.json; return the names of those that were not so already.

    dataset.json goes before the first change and comes last, so that a reader sees a finished extraction or none.
    """
    with tempfile.TemporaryDirectory(prefix="tdn-data-") as folder:
        made, sizes = Path(folder), storage.sizes()
        files = _write_small_files(made, contents, sizes)
        _write_card(storage, contents, sizes)
        changed = [name for name, facts in files.items() if not _is_stored(storage, name, facts, sizes)]
        left_over = SPLITS_NAME in sizes and SPLITS_NAME not in files
        if changed or left_over:
            storage.delete(DATASET_NAME)
            if left_over:
                storage.delete(SPLITS_NAME)
            for name in dict.fromkeys([*changed, DATASET_NAME]):
                with storage.publish(name) as scratch, storage.faults(name):
                    shutil.copyfile(made / name, scratch)
        return changed


def small_files(contents: FolderContents, sizes: dict[str, int]) -> dict[str, bytes]:
    """Return name -> content of index, ledger, splits where there are several, and dataset.json, which is last.

    `sizes` has the bytes of each shard.
    """
    with tempfile.TemporaryDirectory(prefix="tdn-data-") as folder:
        return {name: (Path(folder) / name).read_bytes() for name in _write_small_files(Path(folder), contents, sizes)}


def _write_small_files(folder: Path, contents: FolderContents, sizes: dict[str, int]) -> dict[str, dict[str, object]]:
    """Write the small files into a local folder; return what dataset.json, which is last, would say of each."""
    counts = _write_tables(folder, contents)
    files = {name: file_facts(folder / name) for name in TABLE_NAMES if (folder / name).exists()}
    (folder / DATASET_NAME).write_bytes(dataset_json(_dataset_content(contents, counts, sizes), files))
    counts.close()
    return files | {DATASET_NAME: file_facts(folder / DATASET_NAME)}


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


def _is_stored(storage: Storage, name: str, facts: Mapping[str, object], sizes: Mapping[str, int]) -> bool:
    """Return whether a file with these bytes lies in the folder."""
    if sizes.get(name) != facts["bytes"]:
        return False
    with storage.faults(name, reading=True), storage.filesystem.open_input_stream(storage.path(name)) as file:
        return stream_digest(file, sizes[name]) == facts["digest"]


def _write_tables(folder: Path, contents: FolderContents) -> LedgerCounts:
    """Write index, ledger and, where videos have list splits, splits into a local folder; return what was counted."""
    index = _gathered(contents.index, IndexRow, INDEX_SCHEMA)
    ledger = _gathered(contents.ledger, LedgerRow, LEDGER_SCHEMA)
    counts = LedgerCounts(contents.parameters)
    write_table(index.tables(), INDEX_SCHEMA, folder / INDEX_NAME)
    write_table(counts.counted(ledger.tables()), LEDGER_SCHEMA, folder / LEDGER_NAME)
    if counts.have_splits:
        write_table(counts.splits(), SPLITS_SCHEMA, folder / SPLITS_NAME)
    return counts


def _gathered(rows: Iterable[Row], kind: type[Row], schema: pa.Schema) -> GatheredRows[Row]:
    """Return rows as `gather` gives them."""
    if isinstance(rows, GatheredRows):
        return rows
    gathered = GatheredRows(kind, schema)
    gathered.add(rows)
    return gathered


def _dataset_content(contents: FolderContents, counts: LedgerCounts, sizes: dict[str, int]) -> dict[str, object]:
    return {
        "name": contents.labelling.dataset,
        "class_names": list(contents.labelling.class_names),
        "multi_label": contents.labelling.multi_label,
        "producer": ", ".join(contents.producers),
        "libraries": {library: ", ".join(versions) for library, versions in contents.libraries.items()},
        "parameters": contents.parameters,
        "num_videos": counts.num_videos(),
        "status": counts.status,
        "shard_bytes": {name: size for name, size in sizes.items() if parse_shard_name(name)},
    }
