"""One row per video, in columns: what index and ledger say of it in all its modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.labels import common_labelling
from tdn_data.pipeline.shards.parquet import StoredEntry
from tdn_data.pipeline.shards.schema import SCHEMAS, STATUSES, Labelling
from tdn_data.pipeline.view.browse.found import Folder, Notice


@dataclass(frozen=True)
class Words:
    """A column of few different texts: `codes` (N,) int32 into `names`, -1 where there is none."""

    codes: np.ndarray
    names: tuple[str, ...]

    def __getitem__(self, place: int) -> str | None:
        code = int(self.codes[place])
        return None if code < 0 else self.names[code]

    def mask(self, name: str) -> np.ndarray:
        """Return where the column is `name`, bool (N,)."""
        if name not in self.names:
            return np.zeros(len(self.codes), bool)
        return self.codes == self.names.index(name)


@dataclass(frozen=True)
class Stored:
    """Where one modality of the videos lies; `num_rows` (N,) is 0 where nothing is stored."""

    folder: Folder
    shard: Words
    row_group: np.ndarray
    num_rows: np.ndarray
    status: Words
    reason: Words
    num_expected: np.ndarray  # float64, NaN where the ledger does not say


@dataclass(frozen=True)
class Videos:
    """All videos of the folders, sorted by identifier.

    `labels` are numbers of `labelling`'s classes. `magnitude` (mean flow, pixels per step) and `clipped` (share of the
    flow beyond the bound) are NaN where they are not known; `num_bytes` counts both modalities.
    """

    ids: pa.StringArray
    split: Words
    labels: pa.ListArray
    labelling: Labelling
    status: Words  # the worse one of the modalities
    reason: Words
    magnitude: np.ndarray
    clipped: np.ndarray
    num_bytes: np.ndarray
    stored: dict[str, Stored]
    folders: tuple[Folder, ...]
    notices: tuple[Notice, ...]
    version: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, video_id: str) -> int | None:
        """Return where a video stands, None for one that is not listed."""
        found = pc.index(self.ids, pa.scalar(video_id, self.ids.type)).as_py()
        return None if found < 0 else found

    def labels_of(self, place: int) -> tuple[int, ...]:
        """Return one video's labels."""
        return tuple(self.labels[place].as_py() or ())

    def class_words(self, place: int) -> str:
        """Return one video's classes by name."""
        names = self.labelling.class_names
        return ", ".join(names[label] if label < len(names) else f"class {label}" for label in self.labels_of(place))

    def entry(self, place: int, modality: str) -> tuple[str, StoredEntry] | None:
        """Return (shard, place in it) of one modality of a video, None where nothing of it is stored."""
        stored = self.stored.get(modality)
        if stored is None or not stored.num_rows[place] or stored.shard[place] is None:
            return None
        labels, split = self.labels_of(place), self.split[place] or ""
        where = int(stored.row_group[place]), int(stored.num_rows[place])
        return stored.shard[place], StoredEntry(self.ids[place].as_py(), split, labels, *where)

    def num_rows(self, place: int) -> int:
        """Return how many rows of its first modality are stored."""
        return next((int(one.num_rows[place]) for one in self.stored.values() if one.num_rows[place]), 0)


def join_folders(folders: Sequence[Folder], version: str = "") -> Videos:
    """Return the videos of one or two folders together."""
    notices = [notice for folder in folders for notice in folder.notices]
    labelling, notice = _labelling(folders)
    parts = [(folder, modality) for folder in folders for modality in SCHEMAS if modality in folder.parameters]
    tables = [
        (
            folder,
            modality,
            _of(folder.index, modality),
            _relabelled(_of(folder.ledger, modality), folder.labelling, labelling),
        )
        for folder, modality in parts
    ]
    ids = _all_ids([table["video_id"] for _, _, index, ledger in tables for table in (index, ledger)])
    ledgers = {modality: _aligned(ledger, ids) for _, modality, _, ledger in tables}
    stored = {
        modality: _stored(folder, _aligned(index, ids), ledgers[modality]) for folder, modality, index, _ in tables
    }
    first = list(ledgers.values())
    status = _worst([one.status for one in stored.values()], len(ids))
    return Videos(
        ids=ids,
        split=_words(_coalesce([table["split"] for table in first], pa.string(), len(ids))),
        labels=_coalesce([table["labels"] for table in first], pa.list_(pa.int32()), len(ids)),
        labelling=labelling,
        status=status,
        reason=_words(_coalesce([table["reason"] for table in first], pa.string(), len(ids))),
        magnitude=_first_number([table["mean_magnitude"] for table in first], len(ids)),
        clipped=_first_number([table["clipped_share"] for table in first], len(ids)),
        num_bytes=sum(
            (_number(table["stored_bytes"], 0).astype(np.int64) for table in first), np.zeros(len(ids), np.int64)
        ),
        stored=stored,
        folders=tuple(folders),
        notices=tuple(notices + ([notice] if notice else [])),
        version=version,
    )


def _labelling(folders: Sequence[Folder]) -> tuple[Labelling, Notice | None]:
    known = [folder.labelling for folder in folders if folder.labelling.dataset]
    if not known:
        return Labelling("", (), False), None
    try:
        return common_labelling(known, where=" and ".join(folder.storage.shown for folder in folders)), None
    except InputError as error:
        return known[0], Notice(f"{error.message} Labels are shown as the first folder numbers them.", serious=True)


def _of(table: pa.Table, modality: str) -> pa.Table:
    return table.filter(pc.equal(table["modality"], modality))


def _relabelled(table: pa.Table, own: Labelling, common: Labelling) -> pa.Table:
    """Return a ledger with labels as numbers of the common classes."""
    if own.class_names == common.class_names or not set(own.class_names) <= set(common.class_names):
        return table
    places = {name: number for number, name in enumerate(common.class_names)}
    renumbered = np.array([places[name] for name in own.class_names], np.int32)
    column = table["labels"].combine_chunks()
    values = pa.array(renumbered[column.flatten().to_numpy(zero_copy_only=False)], pa.int32())
    labels = pa.ListArray.from_arrays(_offsets(column), values)
    return table.set_column(table.schema.get_field_index("labels"), "labels", labels)


def _offsets(column: pa.ListArray) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _all_ids(columns: Sequence[pa.ChunkedArray]) -> pa.StringArray:
    chunks = [chunk for column in columns for chunk in column.chunks]
    every = pa.chunked_array(chunks, pa.string()).unique()
    return every.take(pc.sort_indices(every))


def _aligned(table: pa.Table, ids: pa.StringArray) -> pa.Table:
    """Return a row of the table for each identifier, of nulls where it has none."""
    places = pc.index_in(ids, value_set=table["video_id"].combine_chunks())
    return table.combine_chunks().take(places)


def _stored(folder: Folder, index: pa.Table, ledger: pa.Table) -> Stored:
    return Stored(
        folder=folder,
        shard=_words(index["shard"]),
        row_group=_number(index["row_group"], 0).astype(np.int64),
        num_rows=_number(index["num_rows"], 0).astype(np.int64),
        status=_words(ledger["status"]),
        reason=_words(ledger["reason"]),
        num_expected=_number(ledger["num_expected"], np.nan),
    )


def _words(column: pa.ChunkedArray | pa.Array) -> Words:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    encoded = column.dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int32)
    return Words(codes, tuple(encoded.dictionary.to_pylist()))


def _number(column: pa.ChunkedArray, missing: float) -> np.ndarray:
    return pc.fill_null(column.cast(pa.float64()), missing).to_numpy()


def _first_number(columns: Sequence[pa.ChunkedArray], count: int) -> np.ndarray:
    found = np.full(count, np.nan)
    for column in columns:
        found = np.where(np.isnan(found), _number(column, np.nan), found)
    return found


def _coalesce(columns: Sequence[pa.ChunkedArray], kind: pa.DataType, count: int) -> pa.Array:
    """Return of several columns the first value that is none of them null."""
    found = pa.nulls(count, kind)
    for column in columns:
        found = pc.if_else(pc.is_valid(found), found, column.combine_chunks()) if found.null_count else found
    return found


def _worst(columns: Sequence[Words], count: int) -> Words:
    """Return the worse status of the modalities."""
    rank = np.full(count, -1, np.int32)
    for column in columns:
        ranks = np.array([*(STATUSES.index(name) for name in column.names), -1], np.int32)
        rank = np.maximum(rank, ranks[column.codes])
    return Words(rank, STATUSES)
