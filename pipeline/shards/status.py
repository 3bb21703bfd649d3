"""How far an extraction is, from what lies in its folder: finished, unfinished or damaged."""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Literal

from pyarrow import fs

from tdn_data.pipeline.errors import InputError, PipelineError, ShardError
from tdn_data.pipeline.shards.ledger import (
    DATASET_NAME,
    INDEX_NAME,
    LEDGER_NAME,
    SPLITS_NAME,
    index_rows,
    ledger_rows,
    list_split_rows,
    read_dataset_json,
)
from tdn_data.pipeline.shards.marks import read_marks
from tdn_data.pipeline.shards.schema import SCHEMAS, STATUSES, LedgerRow, parse_shard_name, shard_name
from tdn_data.pipeline.shards.shard_folder import NEW_FOLDER, READ_THREADS, shard_names
from tdn_data.pipeline.shards.shard_formats import open_shard
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.side_by_side import in_order

_TABLES = {INDEX_NAME: index_rows, LEDGER_NAME: ledger_rows, SPLITS_NAME: list_split_rows}


@dataclass(frozen=True)
class Fault:
    """Something wrong: in which file, with which video (None for the file as a whole), what, and what puts it right.

    `fix` is `repair`, which writes the small files again from the shards, or `extract`, the same as before, which does
    that and recreates the shards that are damaged or missing from their videos.
    """

    shard: str
    video_id: str | None
    what: str
    fix: Literal["repair", "extract"] = "extract"


@dataclass(frozen=True)
class ModalityStatus:
    """How far one modality is: shards there and to come, and what became of the videos in those that are there.

    While shards are renumbered, `num_shards` counts the new ones alone, and `num_shards_earlier` those of the earlier
    number that still lie beside them; each video counts once.
    """

    modality: str
    num_shards: int
    num_shards_total: int
    num_videos: int
    num_rows: int
    status: dict[str, int]
    reasons: dict[str, int]
    num_shards_earlier: int = 0
    num_shards_beside: int = 0  # made by an unfinished run, to take the place of some of them


@dataclass(frozen=True)
class Status:
    """Whether an extraction is finished, how far each modality is, and which of its files are damaged or missing."""

    location: str
    finished: bool
    modalities: tuple[ModalityStatus, ...]
    findings: tuple[Fault, ...] = ()


def extraction_status(path: str | os.PathLike[str]) -> Status:
    """Return how far an extraction is, finished or not, from the shards' own metadata.

    It is finished when dataset.json is there and every file that it names is there and has its size, the small ones
    their checksums; `verify_shards` also reads the pictures.
    """
    storage = Storage(path)
    shards = _shards_by_modality(storage)
    modalities, findings = [], []
    for modality in SCHEMAS:
        if shards[modality]:
            state, damaged = _modality_status(storage, modality, shards[modality])
            modalities.append(state)
            findings += damaged
    names = storage.names()
    if DATASET_NAME in names:
        findings += folder_findings(storage)
    findings += marked_findings(storage, but={finding.shard for finding in findings})
    return Status(storage.shown, DATASET_NAME in names and not findings, tuple(modalities), tuple(findings))


def _shards_by_modality(storage: Storage) -> dict[str, dict[int, list[str]]]:
    """Return modality -> number of shards that a name announces -> names; the number written last comes first."""
    with storage.faults("the folder"):
        infos = storage.filesystem.get_file_info(fs.FileSelector(storage.path(""), allow_not_found=True))
    found: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    files = [info for info in infos if info.type == fs.FileType.File and parse_shard_name(info.base_name)]
    for info in sorted(files, key=lambda info: (-(info.mtime_ns or 0), info.base_name)):
        modality, _, count, _ = parse_shard_name(info.base_name)
        found[modality][count].append(info.base_name)
    return found


def _modality_status(
    storage: Storage, modality: str, names: dict[int, list[str]]
) -> tuple[ModalityStatus, list[Fault]]:
    """Return one modality's status and which of its shards cannot be read."""

    def read(name: str) -> list[LedgerRow] | Fault:
        try:
            with contextlib.closing(open_shard(storage, name)) as shard:
                return list(shard.ledger)
        except PipelineError as error:
            return Fault(name, None, error.message)

    tally, findings, seen, last = _Tally(), [], set(), 0
    of_several = len(names) > 1
    ordered = _in_families(names)
    for (family, _), found in zip(
        ordered, in_order(read, [name for _, name in ordered], num_threads=READ_THREADS), strict=True
    ):
        if family != last:
            seen, last = set(), family
        if isinstance(found, Fault):
            findings.append(found)
            continue
        tally.add(row for row in found if row.video_id not in seen)
        if of_several:
            seen.update(row.video_id for row in found)
    current, beside = next(iter(names)), shard_names(storage.folder(NEW_FOLDER))
    state = ModalityStatus(
        modality=modality,
        num_shards=len(names[current]),
        num_shards_total=current,
        num_videos=tally.num_videos,
        num_rows=tally.num_rows,
        status={status: tally.status[status] for status in STATUSES},
        reasons=dict(tally.reasons.most_common()),
        num_shards_earlier=sum(len(group) for count, group in names.items() if count != current),
        num_shards_beside=sum(parse_shard_name(name)[0] == modality for name in beside),
    )
    return state, findings


@dataclass
class _Tally:
    """Sums over ledger rows."""

    num_videos: int = 0
    num_rows: int = 0
    status: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)

    def add(self, rows: Iterable[LedgerRow]) -> None:
        """Count the ledger rows of more videos."""
        for row in rows:
            self.num_videos += 1
            self.num_rows += row.num_stored
            self.status[row.status] += 1
            self.reasons.update([row.reason] if row.reason else ())


def _in_families(names: dict[int, list[str]]) -> list[tuple[int, str]]:
    """Return (family, name) in order of family: only shards of one family can hold the same video.

    With shards of 4 and of 8 there are 4 families, since shard n of 8 came out of shard n % 4 of 4; the number of
    shards that was written last comes first in each.
    """
    base = min(names)
    found = [(parse_shard_name(name)[1] % base, name) for group in names.values() for name in sorted(group)]
    return sorted(found, key=itemgetter(0)) if len(names) > 1 else [(0, name) for _, name in found]


def folder_findings(storage: Storage) -> list[Fault]:
    """Return what is wrong with dataset.json and with what it names: files, sizes, and the small files' checksums."""
    try:
        about = read_dataset_json(storage)
    except (ShardError, InputError) as error:
        return [Fault(DATASET_NAME, None, error.message, "repair")]
    findings = list(_shard_findings(about, storage.sizes()))
    for name, read in _TABLES.items():
        try:
            deque(read(storage, about), maxlen=0)
        except (ShardError, InputError) as error:
            findings.append(Fault(name, None, error.message, "repair"))
    return findings


def marked_findings(storage: Storage, *, but: Collection[str] = ()) -> list[Fault]:
    """Return the shards that `verify` found damaged, without those whose damage is seen anyway."""
    there = sorted(read_marks(storage) & set(storage.names()) - set(but))
    return [Fault(name, None, "is damaged, as `tdn-data verify` found") for name in there]


def number_findings(names: Iterable[str]) -> list[Fault]:
    """Return the shards that are missing by what the others' names announce, and modalities of several numbers."""
    numbers: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in sorted(names):
        modality, _, count, _ = parse_shard_name(name)
        numbers[modality][count].append(name)
    findings = []
    for modality, counts in numbers.items():
        if len(counts) > 1:
            words = " and ".join(str(count) for count in sorted(counts))
            findings.append(Fault(DATASET_NAME, None, f"{modality} shards of several numbers are there: {words}"))
            continue
        ((count, there),) = counts.items()
        extension = parse_shard_name(there[0])[3]
        wanted = (shard_name(modality, number, count, extension) for number in range(count))
        findings += [Fault(name, None, "is missing") for name in wanted if name not in there]
    return findings


def _shard_findings(about: dict, sizes: dict[str, int]) -> list[Fault]:
    """Return the shards that are missing, left over or of another size than dataset.json says."""
    listed = about.get("shard_bytes", {})
    findings = [Fault(name, None, "is missing") for name in sorted(listed.keys() - sizes.keys())]
    for name in sorted(name for name in sizes if parse_shard_name(name)):
        if name not in listed:
            findings.append(Fault(name, None, "is not listed in dataset.json"))
        elif sizes[name] != listed[name]:
            findings.append(Fault(name, None, f"has {sizes[name]} bytes; dataset.json says {listed[name]}"))
    for modality in about["parameters"]:
        if not any((parse_shard_name(name) or ("",))[0] == modality for name in listed):
            findings.append(Fault(DATASET_NAME, None, f"names no shard of {modality}"))
    return findings
