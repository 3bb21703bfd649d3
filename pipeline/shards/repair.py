"""Making the small files of a folder again from its shards, and shards of an older schema new: nothing is decoded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tdn_data.pipeline.errors import InputError, PipelineError, ShardError
from tdn_data.pipeline.progress import OnProgress, reported
from tdn_data.pipeline.shards.ledger import read_dataset_json, read_list_splits
from tdn_data.pipeline.shards.nearby import nothing_here
from tdn_data.pipeline.shards.plan import plan_digest
from tdn_data.pipeline.shards.schema import SCHEMA_VERSION, Labelling, LedgerRow, parse_shard_name
from tdn_data.pipeline.shards.shard_folder import gather, shard_contents, shard_names, write_folder
from tdn_data.pipeline.shards.shard_formats import Shard, open_shard, shard_writer
from tdn_data.pipeline.shards.status import Fault, marked_findings, number_findings
from tdn_data.pipeline.shards.storage import Storage


@dataclass(frozen=True)
class Repair:
    """What was recreated: shards of an older schema, and small files; and the shards that must be extracted again."""

    location: str
    upgraded: tuple[str, ...]
    written: tuple[str, ...]
    findings: tuple[Fault, ...]


def repair_folder(path: str | os.PathLike[str], *, on_progress: OnProgress | None = None) -> Repair:
    """Upgrade shards of older schemas and write index, ledger, splits and dataset.json again from the shards.

    Where a shard is damaged or missing, nothing is changed and the findings name it: the same `tdn-data extract`
    recreates it alone. `on_progress` counts the shards that are upgraded. Raises InputError where there is no shard and
    where an older folder does not say its classes.
    """
    storage = Storage(path)
    names = shard_names(storage)
    if not names:
        raise nothing_here(storage, "holds no shard")
    findings, old = _unreadable(storage, names)
    findings += [*number_findings(names), *marked_findings(storage, but={finding.shard for finding in findings})]
    if findings:
        return Repair(storage.shown, (), (), tuple(findings))
    labelling, splits = _said_by_folder(storage) if old else (None, {})
    for name in reported(old, len(old), on_progress):
        _upgrade(storage, name, labelling, splits)
    written = write_folder(storage, gather(storage, names))
    return Repair(storage.shown, tuple(old), tuple(written), ())


def _unreadable(storage: Storage, names: list[str]) -> tuple[list[Fault], list[str]]:
    """Return the shards that cannot be opened, and those of an older schema."""
    findings, old = [], []
    for name in names:
        try:
            with contextlib.closing(open_shard(storage, name)) as shard:
                shard_contents(shard)
                if shard.about["schema_version"] < SCHEMA_VERSION:
                    old.append(name)
        except PipelineError as error:
            findings.append(Fault(name, None, error.message))
    return findings, old


def _said_by_folder(storage: Storage) -> tuple[Labelling, dict[str, tuple[str | None, ...]]]:
    """Return what an older folder says of its classes, and each video's split in every list: its shards do not."""
    try:
        about = read_dataset_json(storage)
        splits = read_list_splits(storage, about)
    except ShardError as error:
        raise InputError(
            f"{error.message} Shards of schema 1 do not say their classes; run the same `tdn-data extract` again, "
            "which takes the classes from the list and decodes nothing.",
            path=storage.shown,
        ) from error
    videos = {video_id for split in splits.values() for video_id in split}
    numbers = range(1, max(splits, default=0) + 1)
    listed = {video_id: tuple(splits.get(number, {}).get(video_id) for number in numbers) for video_id in videos}
    return Labelling(about["name"], tuple(about["class_names"]), about["multi_label"]), listed


def _upgrade(storage: Storage, name: str, labelling: Labelling, splits: Mapping[str, tuple[str | None, ...]]) -> None:
    """Write one shard of an older schema again as one of this schema, its rows and versions as they are."""
    opened = contextlib.closing(open_shard(storage, name))
    with opened as shard, storage.publish(name) as scratch, storage.faults(name):
        modality, _, _, extension = parse_shard_name(name)
        writer = shard_writer(scratch, modality=modality, extension=extension)
        try:
            for entry in shard.entries():
                writer.add(shard.read(entry), video_id=entry.video_id, split=entry.split, labels=entry.labels)
        except BaseException:
            writer.abort()
            raise
        ledger = [replace(row, list_splits=splits.get(row.video_id, ())) for row in shard.ledger]
        writer.close(_upgraded_about(shard, name, ledger, labelling), ledger)


def _upgraded_about(shard: Shard, name: str, ledger: list[LedgerRow], labelling: Labelling) -> dict[str, object]:
    """Return what an upgraded shard says of itself: that it is of this schema, and what its labels mean."""
    _, _, count, _ = parse_shard_name(name)
    digest = str(shard.about["parameters_digest"])
    return {
        **shard.about,
        "schema_version": SCHEMA_VERSION,
        "dataset": labelling.dataset,
        "class_names": list(labelling.class_names),
        "multi_label": labelling.multi_label,
        "plan_digest": plan_digest(ledger, count=count, parameters_digest=digest, labelling=labelling),
    }
