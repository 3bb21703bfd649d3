"""A whole extraction: plans the shards, has every missing one made, and closes the folder.

The folder is finished when `dataset.json` is there. It is taken away before the first shard changes and comes back
last, so a reader sees a finished extraction or none. Shards that change a finished folder, or take the place of rows,
are made beside the old ones and put in place together, once none of them loses rows. What an interrupted run leaves are
whole shards; the next run makes the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tdn_data.pipeline.datasets.manifest import Manifest
from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.extraction.cache import (
    Policy,
    check_flow_method,
    check_sources,
    is_pending,
    is_reusable,
    lost_videos,
    refuse_loss_by_list,
    refuse_loss_of_rows,
    refuse_loss_of_sources,
    refuse_others,
    replaced_modalities,
)
from tdn_data.pipeline.extraction.existing import Found, Sources, StoredRows, found_shards
from tdn_data.pipeline.extraction.handover import ModalityCounts, count_and_compare
from tdn_data.pipeline.extraction.one_shard import ShardJob, ShardResult, span_files
from tdn_data.pipeline.extraction.probing import probing
from tdn_data.pipeline.extraction.spans import SPAN_ROWS, SPANS_FOLDER, Span, spans_of, with_length
from tdn_data.pipeline.extraction.versions import row_versions
from tdn_data.pipeline.extraction.workers import Done, check_ray, run_jobs
from tdn_data.pipeline.files import is_scratch
from tdn_data.pipeline.parameters import ExtractParameters
from tdn_data.pipeline.progress import OnProgress
from tdn_data.pipeline.shards.ledger import DATASET_NAME, ledger_rows, noted_rows, read_dataset_json
from tdn_data.pipeline.shards.marks import read_marks, write_marks
from tdn_data.pipeline.shards.plan import ShardPlan, plan_shards, planned_videos
from tdn_data.pipeline.shards.planned import PlannedVideos
from tdn_data.pipeline.shards.schema import LedgerRow, parse_shard_name
from tdn_data.pipeline.shards.shard_folder import (
    NEW_FOLDER,
    ShardContents,
    check_modalities_agree,
    gather,
    other_shards,
    read_shards,
    shard_contents,
    shard_names,
    write_folder,
)
from tdn_data.pipeline.shards.storage import Storage


@dataclass(frozen=True)
class Summary:
    """What an extraction ended with: counts of the ledger of each modality asked for, and this run's share of it."""

    storage: Storage
    modalities: dict[str, ModalityCounts]
    num_shards: int
    num_shards_made: int
    num_reused: int
    stored_bytes: int

    @property
    def location(self) -> str:
        """The folder, as it may be shown."""
        return self.storage.shown

    @property
    def ledger(self) -> tuple[LedgerRow, ...]:
        """All ledger rows of the modalities asked for, read now."""
        rows = ledger_rows(self.storage, read_dataset_json(self.storage))
        return tuple(row for row in rows if row.modality in self.modalities)

    def noted(self) -> Iterator[LedgerRow]:
        """Yield those of them that are not ok or have a message, as they are read."""
        rows = noted_rows(self.storage, read_dataset_json(self.storage))
        return (row for row in rows if row.modality in self.modalities)

    def failed_share(self) -> float:
        """Return the share of rows that are not ok."""
        num_ok = sum(one.status["ok"] for one in self.modalities.values())
        num_videos = sum(one.num_videos for one in self.modalities.values())
        return (num_videos - num_ok) / max(num_videos, 1)


def run_extraction(
    manifest: Manifest,
    parameters: ExtractParameters,
    *,
    out: str | os.PathLike[str],
    num_workers: int | None = None,
    ray_address: str | None = None,
    replace: bool = False,
    keep_versions: bool = False,
    retry_failed: bool = False,
    allow_loss: bool = False,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Extract `manifest` into `out` and return what became of every video; running it again continues.

    A finished folder stays usable until all that changes it is there.

    Args:
        manifest: the videos, as `index_dataset` gives them.
        parameters: how they are stored.
        out: a folder, or its address.
        num_workers: processes of a Ray of its own; None for one on each core.
        ray_address: a Ray cluster to use in its place, HOST:PORT.
        replace: recreates shards in `out` of other parameters or versions.
        keep_versions: keeps rows in `out` that other versions made; not with `replace`.
        retry_failed: decodes again what is failed or partial in `out`.
        allow_loss: lets stored rows go whose videos are unlisted, missing or broken now.
        on_progress: called as videos get done, with how many are, those that were found finished among them, of how
            many. A video counts once, when all its modalities are done: with two, half of what is done counts.

    Returns:
        what the extraction ended with: counts of each modality's ledger, and this run's share of it.

    Raises:
        InputError: what can be known before work begins is wrong.
        PipelineError: less of a video would be stored than before; nothing is changed then.

    >>> import os, tempfile
    >>> import numpy as np
    >>> from tdn_data.pipeline.datasets.index import index_dataset
    >>> from tdn_data.pipeline.parameters import FrameParameters
    >>> from tdn_data.pipeline.shards.reader import ShardReader
    >>> from tdn_data.pipeline.video import write_video
    >>> small = ExtractParameters(frames=FrameParameters(height=32, width=48, every_seconds=1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     os.makedirs(f"{folder}/videos/train/run")
    ...     write_video(f"{folder}/videos/train/run/a.mp4", np.zeros((10, 32, 48, 3), np.uint8), fps=5)
    ...     manifest = index_dataset("folder", f"{folder}/videos")
    ...     summary = run_extraction(manifest, small, out=f"{folder}/shards", num_workers=1)
    ...     reader = ShardReader(f"{folder}/shards", modality="rgb")
    ...     reader.read(reader.videos[0].video_id).data.shape
    (2, 32, 48, 3)
    """
    policy = Policy(replace, keep_versions, retry_failed, allow_loss)
    root, storage = Path(manifest.root).absolute(), Storage(out)
    check_flow_method(parameters)
    check_ray()
    if ray_address is None or root.is_dir():  # the machine that starts a cluster's work need not see the videos
        check_sources(manifest, root)
    storage.create()
    with _exclusive(storage):
        videos = planned_videos(manifest, parameters)
        staying = partial(_staying_shards, storage, parameters)
        check_modalities_agree(staying, manifest, videos, where=storage.shown)
        run = _plan_run(storage, manifest, videos, parameters, policy, root)
        jobs = [dataclasses.replace(job, check_versions=ray_address is not None) for job in run.jobs]
        num_planned = sum(len(plan.records) for plan in run.plans)
        num_found = num_planned - sum(len(job.plan.records) for job in jobs)
        report = _report(on_progress, num_found, num_planned, len(parameters.modalities))
        results = run_jobs(jobs, num_workers=num_workers, ray_address=ray_address, on_done=report)
        _put_in_place(storage, run, results, policy)
        return _close(storage, manifest, parameters, run.plans, results)


@dataclass(frozen=True)
class _Run:
    """What a run is going to do: all shards to be, the work for those to make, and what was there before."""

    plans: list[ShardPlan]
    jobs: list[ShardJob]
    stored: StoredRows
    replaced: set[str]  # modalities whose shards are recreated
    new: Storage  # where shards are made that change a folder which is finished, or take the place of rows
    made: dict[str, Found]  # those of them that an interrupted run made there


def _staying_shards(storage: Storage, parameters: ExtractParameters) -> Iterator[ShardContents]:
    """Yield what the shards of the modalities that are not asked for say; raise ShardError for a damaged one."""
    names = other_shards(storage, parameters.modalities)
    try:
        yield from (contents for _, contents in read_shards(storage, names, shard_contents))
    except ShardError as error:
        words = error.message.removesuffix(".")
        raise ShardError(f"{words}; extract that modality, too (--modality both).", path=storage.shown) from error


def _unchanged(plans: Sequence[ShardPlan], found: Mapping[str, Found]) -> set[str]:
    """Return the shards that hold what is planned for them."""
    return {plan.name for plan in plans if plan.name in found and found[plan.name].about["plan_digest"] == plan.digest}


def _plan_run(
    storage: Storage,
    manifest: Manifest,
    videos: PlannedVideos,
    parameters: ExtractParameters,
    policy: Policy,
    root: Path,
) -> _Run:
    """Decide what is to be made, and where; raise InputError where that would mix, replace or lose rows unasked."""
    found = found_shards(storage)
    refuse_others(storage.shown, found, parameters, policy)
    replaced = replaced_modalities(found, parameters, policy)
    stored = StoredRows(storage, found, parameters.modalities, videos.count)
    plans = [
        plan
        for modality in parameters.modalities
        for plan in plan_shards(manifest, parameters, modality, videos=videos)
    ]
    if not policy.allow_loss:
        refuse_loss_by_list(storage.shown, stored, videos, _unchanged(plans, found))
    damaged = read_marks(storage)
    pending = [
        plan
        for plan in plans
        if plan.name in damaged or is_pending(plan, found.get(plan.name), policy, parameters.limits, root)
    ]
    new = storage.folder(NEW_FOLDER)
    ready = found_shards(new)
    made = {
        plan.name: shard
        for plan in pending
        if (shard := ready.get(plan.name)) is not None
        if not is_pending(plan, shard, policy, parameters.limits, root)
        if policy.allow_loss or not lost_videos(stored, shard.ledger, replaced)
    }
    finished, sources = DATASET_NAME in storage.names(), Sources(found)
    jobs = [
        ShardJob(
            plan,
            parameters,
            manifest.dataset,
            str(root),
            new if finished or _holds_rows(plan, stored) else storage,
            tuple(sources.of(plan.modality, plan.number, plan.count, extension=plan.extension)),
            retry_failed=policy.retry_failed,
            keep_versions=policy.keep_versions,
            earlier=storage,
            versions=row_versions(plan.modality),
        )
        for plan in pending
        if plan.name not in made
    ]
    if not policy.allow_loss:
        refuse_loss_of_sources((job.plan for job in jobs), stored, replaced, root, policy, parameters.limits)
    if any(job.storage is new for job in jobs):
        new.create()
    return _Run(plans, _in_spans(jobs, stored, replaced), stored, replaced, new, made)


def _in_spans(jobs: list[ShardJob], stored: StoredRows, replaced: set[str]) -> list[ShardJob]:
    """Return the jobs with the spans of their long videos, but for videos whose rows are there already."""
    with probing() as probe:
        return [dataclasses.replace(job, spans=_spans(job, stored, replaced, probe)) for job in jobs]


def _spans(job: ShardJob, stored: StoredRows, replaced: set[str], probe: Callable) -> dict[str, tuple[Span, ...]]:
    modality, limits, found = job.plan.modality, job.parameters.limits, {}
    for record in job.plan.records:
        row = stored.get((modality, record.video_id)) if modality not in replaced else None
        if row is not None and is_reusable(record, row, limits, retry_failed=job.retry_failed):
            continue
        record = with_length(record, os.path.join(job.root, record.path), probe)
        spans = spans_of(record, job.parameters.section(modality), span_rows=SPAN_ROWS[modality])
        if spans:
            found[record.video_id] = spans
    if found:
        span_files(job).storage.create()
    return found


def _holds_rows(plan: ShardPlan, stored: StoredRows) -> bool:
    """Return whether rows of a planned shard's videos are stored already."""
    return any(stored.get((plan.modality, record.video_id)) is not None for record in plan.records)


def _report(
    on_progress: OnProgress | None, num_found: int, num_planned: int, num_modalities: int
) -> Callable[[Done], None]:
    """Return what tells `on_progress` of videos, of which each modality has its own; `num_found` were there before."""

    def report(done: Done) -> None:
        if on_progress is None:
            return
        words = [f"{len(done.failed)} failed"] if done.failed else []
        if done.num_spans < done.num_spans_to_do:
            words.append(f"{done.num_spans} of {done.num_spans_to_do} spans of long videos")
        on_progress((num_found + done.num_videos) // num_modalities, num_planned // num_modalities, ", ".join(words))

    return report


def _put_in_place(storage: Storage, run: _Run, results: list[ShardResult], policy: Policy) -> None:
    """Let the shards that were made beside the old ones take their places, now that all are there.

    Raises PipelineError, and leaves the old ones, where less of a video would be stored than before.
    """
    beside = {job.plan.name for job in run.jobs if job.storage is run.new}
    names = sorted(beside | run.made.keys())
    if not policy.allow_loss:
        there = sorted(beside & {result.name for result in results} | run.made.keys())
        made = read_shards(run.new, there, lambda shard: list(shard.ledger))
        refuse_loss_of_rows(storage.shown, run.stored, (row for _, ledger in made for row in ledger), run.replaced)
    if names:
        storage.delete(DATASET_NAME)
    for name in names:
        storage.adopt(run.new, name)
    run.new.delete_folder()


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
    with contextlib.closing(gather(storage, shard_names(storage))) as gathered:
        counts = count_and_compare(manifest, parameters.modalities, gathered.ledger)
        write_folder(storage, gathered)
    storage.folder(SPANS_FOLDER).delete_folder()
    write_marks(storage, read_marks(storage) & set(other_shards(storage, parameters.modalities)))
    sizes = storage.sizes()
    return Summary(
        storage=storage,
        modalities=counts,
        num_shards=len(wanted),
        num_shards_made=len(results),
        num_reused=sum(result.num_reused for result in results),
        stored_bytes=sum(sizes[name] for name in wanted),
    )
