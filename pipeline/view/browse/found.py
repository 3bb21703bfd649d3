"""What lies at a path: one or two folders of shards, their small files read by columns, or the shards' own words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tdn_data.pipeline.errors import InputError, PipelineError, ShardError
from tdn_data.pipeline.shards.labels import common_labelling, labelling_of
from tdn_data.pipeline.shards.ledger import DATASET_NAME, INDEX_NAME, LEDGER_NAME, REPAIR, read_dataset_json
from tdn_data.pipeline.shards.nearby import nothing_here
from tdn_data.pipeline.shards.schema import INDEX_SCHEMA, LEDGER_SCHEMA, SCHEMAS, Labelling, parse_shard_name
from tdn_data.pipeline.shards.seal import damage
from tdn_data.pipeline.shards.shard_folder import ShardContents, shard_contents, shard_names
from tdn_data.pipeline.shards.shard_formats import open_shard
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.text import some_of

DETAILS = ("path", "message", "fingerprint", "list_splits", "made_by", "limits", "decoding")  # read for one video
LEDGER_COLUMNS = tuple(name for name in LEDGER_SCHEMA.names if name not in DETAILS)
INDEX_COLUMNS = tuple(INDEX_SCHEMA.names)
BATCH_ROWS = 1 << 14


@dataclass(frozen=True)
class Notice:
    """Something that the reader of a page should know: what was found, what was expected, which command helps."""

    words: str
    serious: bool = False


@dataclass(frozen=True)
class Folder:
    """One folder of shards: tables with columns of the index's and the ledger's schema, and what it says of itself.

    `details` holds the ledger's other columns where they are at hand; None where the ledger is read for them.
    """

    storage: Storage
    labelling: Labelling
    parameters: Mapping[str, Mapping[str, object]]
    index: pa.Table
    ledger: pa.Table
    producer: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)
    finished: bool = True
    details: pa.Table | None = None
    notices: tuple[Notice, ...] = ()

    def details_of(self, video_id: str, modality: str) -> dict[str, object]:
        """Return the ledger's other columns for one video, empty where the ledger has no row for it."""
        key = {"video_id": video_id, "modality": modality}
        batches = self.details.to_batches() if self.details is not None else self._detail_batches()
        for batch in batches:
            same = pc.and_(*(pc.equal(batch.column(name), value) for name, value in key.items()))
            row = pc.index(same, True).as_py()
            if row >= 0:
                return {name: batch.column(name)[row].as_py() for name in batch.schema.names if name not in key}
        return {}

    def fingerprints(self) -> pa.Table:
        """Return video_id, fingerprint and source_bytes of the ledger's rows.

        Raises InputError or ShardError where the ledger went or was damaged meanwhile.
        """
        if self.details is not None:
            bytes_of = self.ledger["source_bytes"]
            return self.details.select(["video_id", "fingerprint"]).append_column("source_bytes", bytes_of)
        columns = ("video_id", "modality", "shard", "fingerprint", "source_bytes")
        return read_columns(self.storage, LEDGER_NAME, LEDGER_SCHEMA, columns)

    def _detail_batches(self) -> Iterator[pa.RecordBatch]:
        with open_table(self.storage, LEDGER_NAME) as file:
            names = [name for name in ("video_id", "modality", *DETAILS) if name in file.schema_arrow.names]
            yield from file.iter_batches(batch_size=BATCH_ROWS, columns=names, use_threads=False)


def folders_at(path: str) -> list[Storage]:
    """Return the folder at a path if it holds shards, else those of its folders `rgb` and `flow` that do.

    Raises InputError that says what is there instead, StorageError for a place that cannot be read.
    """
    storage = Storage(path)
    names = storage.names()
    if DATASET_NAME in names or any(map(parse_shard_name, names)):
        return [storage]
    root, question_mark, options = path.partition("?") if "://" in path else (path, "", "")
    inner = [Storage(f"{root.rstrip('/')}/{name}{question_mark}{options}") for name in SCHEMAS]
    found = [one for one in inner if shard_names(one) or DATASET_NAME in one.names()]
    if not found:
        there = f"its files are {some_of(names)}" if names else "it has no files"
        files = "expected are files such as frames-00000-of-00016.parquet"
        way_out = f"{files}, which `tdn-data extract --out {storage.shown}` writes"
        raise nothing_here(storage, f"holds no shards ({there})", way_out)
    return found


@contextlib.contextmanager
def open_table(storage: Storage, name: str) -> Iterator[pq.ParquetFile]:
    """Open index or ledger; whatever is wrong with it becomes a ShardError that names the way out."""
    with damage(f"{storage.shown}: {name}", f"is damaged; {REPAIR}"):
        source = storage.filesystem.open_input_file(storage.path(name))
        with contextlib.closing(source), pq.ParquetFile(source, page_checksum_verification=True) as file:
            yield file


def read_columns(storage: Storage, name: str, schema: pa.Schema, columns: tuple[str, ...]) -> pa.Table:
    """Return some columns of index or ledger; those that an older schema does not have are null.

    Raises InputError where the file is missing, ShardError where it is damaged or another table.
    """
    if name not in storage.names():
        raise InputError(f"{storage.shown}: {name} is missing; {REPAIR}.", path=storage.shown)
    with open_table(storage, name) as file:
        there = [one for one in columns if one in file.schema_arrow.names]
        if not {"video_id", "modality", "shard"} <= set(there):
            raise ShardError(f"{storage.shown}: {name} has the columns {some_of(file.schema_arrow.names)}; {REPAIR}.")
        found = file.read(columns=there, use_threads=False)
        return pa.table(
            {
                one: found[one].cast(schema.field(one).type)
                if one in there
                else pa.nulls(len(found), schema.field(one).type)
                for one in columns
            }
        )


def read_finished(storage: Storage) -> Folder:
    """Return a finished extraction from its small files.

    Raises InputError where one is missing, ShardError where one is damaged or of a newer schema.
    """
    about = read_dataset_json(storage)
    sizes = storage.sizes()
    for name, said in about.get("files", {}).items():
        if name in (INDEX_NAME, LEDGER_NAME) and name in sizes and sizes[name] != said.get("bytes"):
            raise ShardError(f"{storage.shown}: {name} has {sizes[name]} bytes, not {said.get('bytes')}; {REPAIR}.")
    listed = about.get("shard_bytes", {})
    missing = sorted(name for name in listed if name not in sizes)
    notices = []
    if missing:
        words = f"{storage.shown}: of {len(listed)} shards {len(missing)} are missing ({some_of(missing)}); the same "
        notices.append(Notice(f"{words}`tdn-data extract` as before recreates them.", serious=True))
    cut = sorted(name for name, size in listed.items() if sizes.get(name, size) != size)
    if cut:
        words = f"{storage.shown}: {some_of(cut)} of another size than dataset.json says, so cut off or replaced; "
        notices.append(Notice(f"{words}`tdn-data verify {storage.shown}` says what is wrong.", serious=True))
    return Folder(
        storage=storage,
        labelling=Labelling(about["name"], tuple(about["class_names"]), about["multi_label"]),
        parameters=about["parameters"],
        index=read_columns(storage, INDEX_NAME, INDEX_SCHEMA, INDEX_COLUMNS),
        ledger=read_columns(storage, LEDGER_NAME, LEDGER_SCHEMA, LEDGER_COLUMNS),
        producer=str(about.get("producer", "")),
        libraries=about.get("libraries", {}),
        notices=tuple(notices),
    )


class Gathering:
    """The shards of a folder that has no usable small files, read one after the other and each only once."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._sizes: dict[str, int] = {}
        self._read: dict[str, ShardContents] = {}
        self.faults: dict[str, str] = {}

    def look(self) -> None:
        """List the folder again: shards that changed or went are forgotten."""
        before = self._sizes
        self._sizes = {name: size for name, size in self._storage.sizes().items() if parse_shard_name(name)}
        for known in (self._read, self.faults):
            for name in [name for name in known if self._sizes.get(name) != before[name]]:
                del known[name]

    def remaining(self) -> list[str]:
        """Return the names of the shards that are not read yet."""
        return [name for name in sorted(self._sizes) if name not in self._read and name not in self.faults]

    def read(self, name: str) -> None:
        """Read what one shard says of itself, or note why it cannot be read."""
        try:
            with contextlib.closing(open_shard(self._storage, name)) as shard:
                labelling = labelling_of(shard) or Labelling("", (), False)
                self._read[name] = shard_contents(shard)
                self._read[name].about["labelling"] = labelling
        except PipelineError as error:
            self.faults[name] = error.message

    def folder(self, notices: tuple[Notice, ...]) -> Folder:
        """Return what is read so far; raise ShardError where no shard can be read."""
        read = [self._read[name] for name in sorted(self._read)]
        if not read and self.faults:
            raise ShardError(next(iter(self.faults.values())), path=self._storage.shown)
        labellings = dict.fromkeys(one.about["labelling"] for one in read)
        common = common_labelling(labellings, where=self._storage.shown) if read else Labelling("", (), False)
        ledger, index = [row for one in read for row in one.ledger], [row for one in read for row in one.index]
        table = _table([asdict(row) for row in ledger], LEDGER_SCHEMA)
        about = read[0].about if read else {}
        faults = [
            Notice(f"{words} `tdn-data verify` says what puts it right.", serious=True)
            for words in self.faults.values()
        ]
        return Folder(
            storage=self._storage,
            labelling=common,
            parameters={str(one.about["modality"]): one.about["parameters"] for one in read},
            index=_table([asdict(row) for row in index], INDEX_SCHEMA),
            ledger=table.select(LEDGER_COLUMNS),
            producer=str(about.get("producer", "")),
            libraries=about.get("libraries", {}),
            finished=False,
            details=table.select(["video_id", "modality", *DETAILS]),
            notices=(*notices, *faults),
        )


def _table(rows: list[dict[str, object]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)
