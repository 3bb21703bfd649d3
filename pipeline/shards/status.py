"""How far an extraction is, from what lies in its folder: finished, unfinished or damaged."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from pyarrow import fs

from tdn_data.pipeline.errors import InputError, PipelineError, ShardError
from tdn_data.pipeline.shards.folder import NEW_FOLDER, shard_names
from tdn_data.pipeline.shards.formats import open_shard
from tdn_data.pipeline.shards.ledger import (
    DATASET_NAME,
    INDEX_NAME,
    LEDGER_NAME,
    SPLITS_NAME,
    count_by_reason,
    count_by_status,
    read_dataset_json,
    read_index,
    read_ledger,
    read_list_splits,
)
from tdn_data.pipeline.shards.marks import read_marks
from tdn_data.pipeline.shards.schema import SCHEMAS, LedgerRow, parse_shard_name, shard_name
from tdn_data.pipeline.shards.storage import Storage

_TABLES = {INDEX_NAME: read_index, LEDGER_NAME: read_ledger, SPLITS_NAME: read_list_splits}


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
    rows: dict[str, LedgerRow] = {}
    findings = []
    for name in (name for group in names.values() for name in sorted(group)):
        try:
            shard = open_shard(storage, name)
            for row in shard.ledger:
                rows.setdefault(row.video_id, row)
            shard.close()
        except PipelineError as error:
            findings.append(Fault(name, None, error.message))
    current, beside = next(iter(names)), shard_names(storage.folder(NEW_FOLDER))
    state = ModalityStatus(
        modality=modality,
        num_shards=len(names[current]),
        num_shards_total=current,
        num_videos=len(rows),
        num_rows=sum(row.num_stored for row in rows.values()),
        status=count_by_status(list(rows.values())),
        reasons=count_by_reason(list(rows.values())),
        num_shards_earlier=sum(len(group) for count, group in names.items() if count != current),
        num_shards_beside=sum(parse_shard_name(name)[0] == modality for name in beside),
    )
    return state, findings


def folder_findings(storage: Storage) -> list[Fault]:
    """Return what is wrong with dataset.json and with what it names: files, sizes, and the small files' checksums."""
    try:
        about = read_dataset_json(storage)
    except (ShardError, InputError) as error:
        return [Fault(DATASET_NAME, None, error.message, "repair")]
    findings = list(_shard_findings(about, storage.sizes()))
    for name, read in _TABLES.items():
        try:
            read(storage, about)
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
