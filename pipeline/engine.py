"""A whole extraction: plans the shards, has every missing one made, and closes the folder.

The folder is finished when `dataset.json` is there. It is taken away before the first shard changes and comes back
last, so a reader sees a finished extraction or none. What an interrupted run leaves are whole shards; the next run
makes the others.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError, ShardError
from pipeline.extract import ShardJob, ShardResult
from pipeline.manifest import Manifest
from pipeline.parameters import ExtractParameters
from pipeline.shards.folder import (
    READ_THREADS,
    ShardContents,
    check_modalities_agree,
    gather,
    other_shards,
    read_shards,
    shard_contents,
    shard_names,
    write_folder,
)
from pipeline.shards.formats import open_shard
from pipeline.shards.ledger import DATASET_NAME, count_by_status
from pipeline.shards.plan import ShardPlan, modality_digest, plan_shards, source_numbers
from pipeline.shards.schema import LedgerRow, parse_shard_name, shard_name
from pipeline.storage import Storage, is_scratch
from pipeline.workers import run_jobs


@dataclass(frozen=True)
class Progress:
    """How far an extraction is: videos done and to do in this run, and what was found finished."""

    num_done: int
    num_total: int
    num_found: int


@dataclass(frozen=True)
class Summary:
    """What an extraction ended with: the ledger of all modalities asked for, and this run's share of the work."""

    location: str
    ledger: tuple[LedgerRow, ...]
    num_shards: int
    num_shards_made: int
    num_reused: int
    stored_bytes: int

    def failed_share(self) -> float:
        """Return the share of rows that are not ok."""
        counts = count_by_status(self.ledger)
        return (counts["partial"] + counts["failed"]) / max(len(self.ledger), 1)


def run_extraction(
    manifest: Manifest,
    parameters: ExtractParameters,
    *,
    out: str | os.PathLike[str],
    num_workers: int | None = None,
    ray_address: str | None = None,
    replace: bool = False,
    retry_failed: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Extract `manifest` into `out` and return what became of every video; running it again continues.

    Without `ray_address` a Ray of its own is started with `num_workers` (default: all cores). `replace` allows the
    shards of other parameters to be replaced; without it such a folder raises InputError. `retry_failed` decodes again
    what an earlier run could not, wholly or in part.
    """
    storage = Storage(out)
    storage.create()
    with _exclusive(storage):
        check_modalities_agree(_staying_shards(storage, parameters), manifest, where=storage.shown)
        existing = _existing_shards(storage)
        plans = [plan for modality in parameters.modalities for plan in plan_shards(manifest, parameters, modality)]
        if not replace:
            _refuse_other_parameters(storage, existing, parameters)
        pending = [plan for plan in plans if _is_pending(plan, existing.get(plan.name), retry_failed)]
        if pending:
            storage.delete(DATASET_NAME)
        jobs = [_job(plan, manifest, parameters, storage, existing, retry_failed) for plan in pending]
        num_found = sum(len(plan.records) for plan in plans) - sum(len(plan.records) for plan in pending)
        results = _run(jobs, num_workers, ray_address, num_found, on_progress)
        return _close(storage, manifest, parameters, plans, results)


@dataclass(frozen=True)
class _Existing:
    """What a shard in the folder says about itself, and whether all its videos are ok."""

    about: dict[str, object]
    all_ok: bool


def _staying_shards(storage: Storage, parameters: ExtractParameters) -> Iterator[ShardContents]:
    """Yield what the shards of the modalities that are not asked for say; raise ShardError for a damaged one."""
    names = other_shards(storage, parameters.modalities)
    try:
        yield from (contents for _, contents in read_shards(storage, names, shard_contents))
    except ShardError as error:
        words = error.message.removesuffix(".")
        raise ShardError(f"{words}; extract that modality, too (--modality both).", path=storage.shown) from error


def _existing_shards(storage: Storage) -> dict[str, _Existing]:
    """Return what each readable shard in the folder says about itself."""

    def read(name: str) -> _Existing | None:
        with contextlib.suppress(ShardError), contextlib.closing(open_shard(storage, name)) as shard:
            about = {key: value for key, value in shard.about.items() if key != "class_names"}
            return _Existing(about, all(row.status == "ok" for row in shard.ledger))
        return None

    names = shard_names(storage)
    with ThreadPoolExecutor(READ_THREADS) as pool:
        found = zip(names, pool.map(read, names), strict=True)
        return {name: existing for name, existing in found if existing is not None}


def _is_pending(plan: ShardPlan, existing: _Existing | None, retry_failed: bool) -> bool:
    if existing is None or existing.about["plan_digest"] != plan.digest:
        return True
    return retry_failed and not existing.all_ok


def _refuse_other_parameters(storage: Storage, existing: dict[str, _Existing], parameters: ExtractParameters) -> None:
    for name, about in ((name, shard.about) for name, shard in existing.items()):
        modality = about["modality"]
        if modality not in parameters.modalities or about["parameters_digest"] == modality_digest(parameters, modality):
            continue
        section = parameters.frames if modality == "rgb" else parameters.flow
        old, new = about["parameters"], section.model_dump()
        changes = [
            f"{key} {old.get(key)} -> {new.get(key)}" for key in {**new, **old} if old.get(key) != new.get(key)
        ] or [f"format {name.rpartition('.')[2]} -> {parameters.format}"]
        raise InputError(
            f"{storage.shown} holds {modality} shards of other parameters ({', '.join(changes)}); choose another "
            "folder, or give --replace to make them anew.",
            path=storage.shown,
        )


def _job(
    plan: ShardPlan,
    manifest: Manifest,
    parameters: ExtractParameters,
    storage: Storage,
    existing: dict[str, _Existing],
    retry_failed: bool,
) -> ShardJob:
    """Return the work for one shard, with the existing shards in which rows of its videos can lie."""
    counts = {parsed[2] for parsed in map(parse_shard_name, existing) if parsed and parsed[0] == plan.modality}
    candidates = [
        shard_name(plan.modality, number, count, plan.extension)
        for count in sorted(counts)
        for number in source_numbers(plan.number, plan.count, count)
    ]
    sources = tuple(name for name in candidates if name in existing)
    return ShardJob(
        plan, parameters, manifest.dataset, str(Path(manifest.root).absolute()), storage, sources, retry_failed
    )


def _run(
    jobs: list[ShardJob],
    num_workers: int | None,
    ray_address: str | None,
    num_found: int,
    on_progress: Callable[[Progress], None] | None,
) -> list[ShardResult]:
    num_total = sum(len(job.plan.records) for job in jobs)

    def report(num_done: int) -> None:
        if on_progress is not None:
            on_progress(Progress(num_done, num_total, num_found))

    return run_jobs(jobs, num_workers=num_workers, ray_address=ray_address, on_done=report)


@contextlib.contextmanager
def _exclusive(storage: Storage) -> Iterator[None]:
    """Hold the folder's own lock; raise InputError when another extraction runs into it.

    Object stores have no lock: there two runs do the same work twice and end with the same bytes.
    """
    if not storage.is_local:
        yield
        return
    descriptor = os.open(storage.local_root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise InputError(
            f"another extraction is writing into {storage.shown}; wait for it or choose another folder.",
            path=storage.shown,
        ) from error
    finally:
        os.close(descriptor)


def _close(
    storage: Storage,
    manifest: Manifest,
    parameters: ExtractParameters,
    plans: list[ShardPlan],
    results: list[ShardResult],
) -> Summary:
    """Remove what is outdated, gather index and ledger from the shards, check the counts, write dataset.json last."""
    wanted = {plan.name for plan in plans}
    for name in storage.names():
        parsed = parse_shard_name(name)
        outdated = parsed is not None and parsed[0] in parameters.modalities and name not in wanted
        if outdated or is_scratch(name):
            storage.delete(name)
    gathered = gather(storage, shard_names(storage))
    _check_handover(manifest, parameters, gathered.ledger)
    write_folder(storage, gathered)
    sizes = storage.sizes()
    asked = tuple(row for row in gathered.ledger if row.modality in parameters.modalities)
    return Summary(
        location=storage.shown,
        ledger=asked,
        num_shards=len(wanted),
        num_shards_made=len(results),
        num_reused=sum(result.num_reused for result in results),
        stored_bytes=sum(sizes[name] for name in wanted),
    )


def _check_handover(manifest: Manifest, parameters: ExtractParameters, ledger: Sequence[LedgerRow]) -> None:
    """Raise ShardError unless every listed video has exactly one ledger row in each modality asked for."""
    listed = {record.video_id for record in manifest}
    for modality in parameters.modalities:
        found = [row.video_id for row in ledger if row.modality == modality]
        if len(found) != len(listed) or set(found) != listed:
            strays = sorted(listed.symmetric_difference(found))[:3]
            raise ShardError(
                f"{len(listed)} videos are listed and {len(found)} are in the {modality} ledger, e.g. {strays}."
            )
