"""One shard's work, from its videos to its file: ordinary functions, testable without Ray.

`extract_video` runs in a sandbox and turns one video into encoded rows; `iter_shard` runs it over a shard's
videos, takes over rows that an earlier shard already holds, and writes the file and its ledger.
"""

from __future__ import annotations

import contextlib
import importlib
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

from tdn_data.pipeline import __version__
from tdn_data.pipeline.datasets.manifest import VideoRecord
from tdn_data.pipeline.errors import InputError, PipelineError, ShardError, StorageError, VideoError
from tdn_data.pipeline.extraction import wire
from tdn_data.pipeline.extraction.cache import is_reusable, limits_that_stopped
from tdn_data.pipeline.extraction.rows.job import Extraction, VideoJob
from tdn_data.pipeline.extraction.sandbox import Sandbox
from tdn_data.pipeline.extraction.spans import SPANS_FOLDER, Span, SpanFiles
from tdn_data.pipeline.extraction.versions import RowVersions, row_versions, version_changes
from tdn_data.pipeline.files import check_video_file, file_digest
from tdn_data.pipeline.parameters import ExtractParameters, Limits
from tdn_data.pipeline.shards.parquet import StoredEntry
from tdn_data.pipeline.shards.plan import ShardPlan
from tdn_data.pipeline.shards.schema import PRODUCER, SCHEMA_VERSION, LedgerRow, VideoRows, library_versions
from tdn_data.pipeline.shards.shard_formats import Shard, open_shard, shard_writer
from tdn_data.pipeline.shards.storage import Storage


@dataclass(frozen=True)
class ShardJob:
    """One shard to make: its plan, where the videos are, where it goes, and older shards that may hold its rows."""

    plan: ShardPlan
    parameters: ExtractParameters
    dataset: str
    root: str
    storage: Storage
    sources: tuple[str, ...] = ()
    retry_failed: bool = False
    keep_versions: bool = False
    earlier: Storage | None = None  # where `sources` lie, if not in `storage`
    versions: RowVersions | None = None  # of the process that planned it; None: this process's
    check_versions: bool = False  # workers on other machines may have others
    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)  # of its long videos, by identifier


@dataclass(frozen=True)
class ShardResult:
    """A finished shard: its name, its videos' ledger rows and how many of them were taken over without decoding."""

    name: str
    ledger: tuple[LedgerRow, ...]
    num_reused: int


def extract_video(job: VideoJob) -> Extraction:
    """Decode, convert and encode one video; raise VideoError when nothing at all comes out."""
    from tdn_data.pipeline.video.frames import GivenFramesError

    if job.modality == "flow":
        from tdn_data.pipeline.extraction.rows.flow import extract_flow as extract
    else:
        from tdn_data.pipeline.extraction.rows.frames import extract_frames as extract
    try:
        return extract(job, decoding="sparse")
    except GivenFramesError:  # some rows were made of pictures that a full decode does not give
        if job.span is not None:
            raise
        return extract(job, decoding="full")


def extract_packed(job: VideoJob) -> list[bytes]:
    """Return what `extract_video` does as plain bytes, for the other side of the sandbox."""
    return wire.pack(extract_video(job))


def prepare_extraction(job: VideoJob) -> None:
    """Import and compile what a job needs, so that a video's time is spent on the video."""
    if job.modality == "flow":
        importlib.import_module("tdn_data.pipeline.extraction.rows.flow").warm_up(job.section, job.network)
    else:
        importlib.import_module("tdn_data.pipeline.extraction.rows.frames")


def extract_shard(job: ShardJob) -> ShardResult:
    """Make one shard and publish it.

    Raises StorageError when the shard cannot be written; what went wrong with a video is in the ledger instead.
    """
    *_, result = iter_shard(job)
    return result


def iter_shard(job: ShardJob) -> Iterator[tuple[str, str] | ShardResult]:
    """Make one shard as `extract_shard` does; yield each video's identifier and status, and the result at the end."""
    versions = _versions(job)
    _check_network(job)
    ledger, num_reused = [], 0
    with contextlib.closing(_EarlierRows(job)) as earlier, job.storage.publish(job.plan.name) as scratch:
        writing = partial(job.storage.faults, job.plan.name)  # anything else that fails is no fault of the output
        with writing():
            writer = shard_writer(scratch, modality=job.plan.modality, extension=job.plan.extension)
        try:
            for record in job.plan.records:
                taken = earlier.take(record)
                num_reused += taken is not None
                row, rows = taken or _make_rows(job, record)
                if rows is not None:
                    with writing():
                        writer.add(rows, video_id=record.video_id, split=record.split, labels=record.labels)
                ledger.append(row)
                yield record.video_id, row.status
        except BaseException:
            writer.abort()
            raise
        known = earlier.versions | {versions.digest: versions.as_dict()}
        with writing():
            writer.close(shard_about(job, _versions_in(ledger, known)), ledger)
            _check_written(scratch, job, ledger)
    for record in job.plan.records:
        span_files(job).delete(record, job.spans.get(record.video_id, ()))
    yield ShardResult(job.plan.name, tuple(ledger), num_reused)


def _versions(job: ShardJob) -> RowVersions:
    """Return what makes the rows of a job.

    Raises PipelineError where a worker on another machine would make others than those the job was planned with.
    """
    planned = job.versions or row_versions(job.plan.modality)
    changes = version_changes(planned.as_dict(), row_versions(job.plan.modality)) if job.check_versions else ""
    if changes:
        raise PipelineError(
            f"the worker on {platform.node()} would make other rows than the machine that started it ({changes}); "
            "install the same program and libraries on both.",
            key=job.plan.name,
        )
    return planned


def _check_network(job: ShardJob) -> None:
    """Raise PipelineError where a worker does not see the very network's file whose flow is asked for."""
    network = job.parameters.network
    if network is None or job.plan.modality != "flow":
        return
    try:
        same = file_digest(network.file, what="network") == network.sha256
    except InputError:
        same = False
    if not same:
        words = f"the worker on {platform.node()} does not see the network that the extraction started with"
        raise PipelineError(f"{words}, {network.file}; put the same file there and run the command again.")


def _versions_in(ledger: list[LedgerRow], known: dict[str, object]) -> dict[str, object]:
    """Return digest -> versions for what made a shard's rows; rows taken over keep their own."""
    return {digest: known[digest] for digest in sorted({row.made_by for row in ledger} & set(known))}


def shard_about(job: ShardJob, versions: dict[str, object]) -> dict[str, object]:
    """Return what a shard says about itself: versions, parameters and digests."""
    section = job.parameters.section(job.plan.modality)
    return {
        "schema_version": SCHEMA_VERSION,
        "producer": f"{PRODUCER} {__version__}",
        "libraries": library_versions(),
        "dataset": job.plan.labelling.dataset,
        "class_names": list(job.plan.labelling.class_names),
        "multi_label": job.plan.labelling.multi_label,
        "versions": versions,
        "modality": job.plan.modality,
        "parameters": section.model_dump(),
        "parameters_digest": job.plan.parameters_digest,
        "plan_digest": job.plan.digest,
    }


def _make_rows(job: ShardJob, record: VideoRecord) -> tuple[LedgerRow, VideoRows | None]:
    """Decode one video in the sandbox; return its ledger row and its rows, None for a failed video."""
    spans, video = job.spans.get(record.video_id, ()), _video_job(job, record)
    try:
        extraction = span_files(job).read(record, spans, video) if spans else None
        if extraction is None:
            extraction = extract_in_sandbox(video, job.parameters.limits, num_spans=max(len(spans), 1))
    except VideoError as error:
        return _ledger_row(job, record, status="failed", problem=error), None
    if not len(extraction.rows):
        problem = why_no_rows(extraction)
        return _ledger_row(job, record, status="failed", problem=problem, num_expected=extraction.num_expected), None
    status = "partial" if extraction.problem else "ok"
    row = _ledger_row(job, record, status=status, problem=extraction.problem, num_expected=extraction.num_expected)
    rows = extraction.rows
    stored = {"num_stored": len(rows), "stored_bytes": rows.num_bytes(), "decoding": extraction.decoding}
    message = "; ".join(words for words in (row.message, extraction.note) if words) or None
    return replace(row, message=message, **stored, **rows.mean_statistics()), rows


def _video_job(job: ShardJob, record: VideoRecord) -> VideoJob:
    section = job.parameters.section(job.plan.modality)
    path, parameters = str(Path(job.root) / record.path), job.parameters
    return VideoJob(path, job.plan.modality, section, parameters.limits.max_pixels, network=parameters.network)


def span_files(job: ShardJob) -> SpanFiles:
    """Return where the spans of a shard's long videos lie until it is there."""
    made_by = f"{job.plan.parameters_digest} {_versions(job).digest}"
    return SpanFiles((job.earlier or job.storage).folder(SPANS_FOLDER), made_by)


def extract_span(job: ShardJob, record: VideoRecord, span: Span) -> bool:
    """Extract a span of a shard's video and store it; return whether the video can be had in spans.

    Raises StorageError when it cannot be stored.
    """
    _check_network(job)
    try:
        extraction = extract_in_sandbox(replace(_video_job(job, record), span=span), job.parameters.limits)
    except VideoError:
        return False
    span_files(job).write(record, span, extraction)
    return True


def why_no_rows(extraction: Extraction) -> VideoError:
    """Return why nothing came out of a video that could be opened."""
    return extraction.problem or VideoError("no_frames", "the video has one frame; flow needs two.")


def extract_in_sandbox(job: VideoJob, limits: Limits, *, num_spans: int = 1) -> Extraction:
    """Run `extract_video` in the sandbox; a crash gets a second try, as it may have come from outside.

    A video, or a span of a long one, has the time that the limits give; a long one that is extracted whole, as much for
    each of its spans. What is no regular file that can be opened does not get as far as that.
    """
    check_video_file(job.path)
    process = _sandbox(limits.memory_bytes)
    seconds = limits.seconds_per_video * num_spans
    call = partial(process.call, job, timeout_seconds=seconds, read=partial(wire.unpack, job=job))
    try:
        return call()
    except VideoError as error:
        if error.reason != "crashed":
            raise
        return call()


@lru_cache(maxsize=1)
def _sandbox(memory_bytes: int) -> Sandbox:
    """Return this process's decoding child; it is kept from shard to shard."""
    return Sandbox(
        "tdn_data.pipeline.extraction.one_shard:extract_packed",
        prepare="tdn_data.pipeline.extraction.one_shard:prepare_extraction",
        memory_bytes=memory_bytes,
    )


def _ledger_row(
    job: ShardJob, record: VideoRecord, *, status: str, problem: VideoError | None, num_expected: int | None = None
) -> LedgerRow:
    return LedgerRow(
        video_id=record.video_id,
        modality=job.plan.modality,
        path=record.path,
        split=record.split,
        labels=record.labels,
        status=status,
        reason=problem.reason if problem else None,
        message=problem.sentence if problem else None,
        num_expected=num_expected,
        source_bytes=record.size_bytes,
        fingerprint=record.fingerprint,
        shard=job.plan.name,
        list_splits=record.list_splits,
        made_by=_versions(job).digest,
        limits=limits_that_stopped(problem.reason if problem else None, job.parameters.limits),
    )


class _EarlierRows:
    """Rows of this shard's videos that older shards, made with the same parameters, already hold."""

    def __init__(self, job: ShardJob) -> None:
        self._job = job
        self._today = _versions(job).digest
        self._shards: list[Shard] = []
        self._found: dict[str, tuple[Shard, StoredEntry, LedgerRow]] = {}
        self.versions: dict[str, object] = {}
        for name in job.sources:
            self._open(name)

    def _open(self, name: str) -> None:
        try:
            shard = open_shard(self._job.earlier or self._job.storage, name)
            self._shards.append(shard)
            entries = {entry.video_id: entry for entry in shard.entries()}
            same = shard.about["parameters_digest"] == self._job.plan.parameters_digest
        except ShardError:
            return  # damaged: its videos are simply decoded again
        self.versions |= shard.about.get("versions", {})
        for row in shard.ledger if same else ():
            if row.video_id in entries and (self._job.keep_versions or row.made_by == self._today):
                self._found[row.video_id] = (shard, entries[row.video_id], row)

    def take(self, record: VideoRecord) -> tuple[LedgerRow, VideoRows] | None:
        """Return the video's ledger row, with today's labels, and its rows; None when they are not there."""
        shard, entry, row = self._found.get(record.video_id, (None, None, None))
        limits = self._job.parameters.limits
        if shard is None or not is_reusable(record, row, limits, retry_failed=self._job.retry_failed):
            return None
        try:
            rows = shard.read(entry)
        except ShardError:
            return None  # damaged: decoded again
        listed = {"path": record.path, "split": record.split, "labels": record.labels}
        row = replace(row, **listed, list_splits=record.list_splits, shard=self._job.plan.name)
        return row, rows

    def close(self) -> None:
        """Release the older shards."""
        for shard in self._shards:
            shard.close()


def _check_written(scratch: Path, job: ShardJob, ledger: list[LedgerRow]) -> None:
    """Read the finished file's index back; raise StorageError unless it holds what the ledger says."""
    extension = job.plan.extension
    local = Storage(scratch.parent)
    from tdn_data.pipeline.shards.shard_formats import READERS

    shard = READERS[extension](local, scratch.name, job.plan.modality)
    stored = sum(entry.num_rows for entry in shard.entries())
    shard.close()
    expected = sum(row.num_stored for row in ledger)
    if stored != expected:
        raise StorageError(
            f"{job.plan.name} holds {stored} rows after writing; expected {expected}.", key=job.plan.name
        )
