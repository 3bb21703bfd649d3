"""What of an earlier extraction can stay: which shards are finished, which rows would be lost, and what stops a run.

Everything here is decided before a file of the folder changes: most of it before the work, and whether the videos still
give what is stored of them when the work is done, before the shards are put in place.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path

from tdn_data.pipeline.datasets.manifest import Manifest, VideoRecord
from tdn_data.pipeline.errors import InputError, PipelineError
from tdn_data.pipeline.extraction.existing import Found, StoredRows
from tdn_data.pipeline.parameters import ExtractParameters, Limits
from tdn_data.pipeline.shards.plan import ShardPlan
from tdn_data.pipeline.shards.planned import PlannedVideos
from tdn_data.pipeline.shards.schema import LedgerRow
from tdn_data.pipeline.side_by_side import in_order

LOSS_WORD = "--allow-loss (extract.allow_loss in params.yaml)"
THREADS = 16  # asking whether files are there waits for the disk or the network
STOPPED_BY = {
    "timeout": ("seconds_per_video",),
    "too_large": ("memory_bytes", "max_pixels"),
    "crashed": ("memory_bytes",),
}


@dataclass(frozen=True)
class Policy:
    """What a run may do with rows that are there already.

    `replace` shards of other parameters or versions; `keep_versions` keeps rows of other versions; `retry_failed`
    decodes again what is not ok; `allow_loss` lets rows go whose videos are unlisted, missing or broken now.
    """

    replace: bool = False
    keep_versions: bool = False
    retry_failed: bool = False
    allow_loss: bool = False

    def __post_init__(self) -> None:
        if self.replace and self.keep_versions:
            raise InputError("--replace recreates what --keep-versions keeps; give one of them.", key="replace")


def refuse_others(where: str, found: Mapping[str, Found], parameters: ExtractParameters, policy: Policy) -> None:
    """Raise InputError for shards of other parameters or versions that `policy` does not say what to do with."""
    for name, shard in found.items():
        if policy.replace or shard.modality not in parameters.modalities:
            continue
        changes = shard.other_parameters(parameters, name.rpartition(".")[2])
        if changes:
            raise InputError(
                f"{where} holds {shard.modality} shards of other parameters ({changes}); choose another folder, or "
                "give --replace to recreate them.",
                path=where,
            )
        changes = "" if policy.keep_versions else shard.other_versions()
        if changes:
            raise InputError(
                f"{where} holds {shard.modality} shards of other versions ({changes}); give --replace to recreate "
                "them, --keep-versions to keep them and make only what is missing, or choose another folder.",
                path=where,
            )


def replaced_modalities(found: Mapping[str, Found], parameters: ExtractParameters, policy: Policy) -> set[str]:
    """Return the modalities whose shards are recreated: some of them are of other parameters or versions."""
    return {
        shard.modality
        for name, shard in found.items()
        if policy.replace
        and shard.modality in parameters.modalities
        and (shard.other_parameters(parameters, name.rpartition(".")[2]) or shard.other_versions())
    }


def is_pending(plan: ShardPlan, shard: Found | None, policy: Policy, limits: Limits, root: Path) -> bool:
    """Return whether a planned shard is still to be made, `shard` being what lies there under its name."""
    if shard is None or shard.about["plan_digest"] != plan.digest:
        return True
    if not policy.keep_versions and shard.other_versions():
        return True
    return not shard.all_ok and any(
        _is_tried_again(row, limits, retry_failed=policy.retry_failed) or _came_back(row, root) for row in shard.ledger
    )


def _came_back(row: LedgerRow, root: Path) -> bool:
    """Return whether a video that was listed while it was away is in its place now."""
    return row.reason == "missing" and row.fingerprint is not None and is_there(root / row.path)


def _is_tried_again(row: LedgerRow, limits: Limits, *, retry_failed: bool) -> bool:
    """Return whether a video that is not ok is decoded again: on request, or with a raised limit."""
    return row.status != "ok" and (retry_failed or _limit_was_raised(row, limits))


def _limit_was_raised(row: LedgerRow, limits: Limits) -> bool:
    """Return whether a limit that may have stopped the video is higher now."""
    if row.limits is None:
        return False
    before = json.loads(row.limits)
    return any(getattr(limits, name) > before.get(name, float("inf")) for name in STOPPED_BY.get(row.reason, ()))


def limits_that_stopped(reason: str | None, limits: Limits) -> str | None:
    """Return, as JSON for the ledger, the limits that may have stopped a video; None where none did."""
    names = STOPPED_BY.get(reason, ())
    return json.dumps({name: getattr(limits, name) for name in names}) if names else None


def is_there(path: Path) -> bool:
    """Return whether something lies at a path; a name that no file can have is not there."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def check_sources(manifest: Manifest, root: Path) -> None:
    """Raise InputError where not one of the listed videos is in its place: the folder is gone, or it is another."""
    if manifest.records and not any(is_there(root / record.path) for record in manifest):
        raise InputError(
            f"not one of the {len(manifest)} listed videos is in {root}, e.g. {manifest.records[0].path}; connect the "
            "folder that holds them, or give it by --root. Nothing was changed.",
            path=root,
        )


def refuse_loss_by_list(where: str, stored: StoredRows, videos: PlannedVideos, unchanged: Collection[str]) -> None:
    """Raise InputError where rows would be lost because their videos are not listed any more.

    The shards `unchanged` hold the videos that are planned for them.
    """
    left_out = {row.video_id: row.path for row in stored.rows(but=unchanged) if videos.get(row.video_id) is None}
    if left_out:
        raise InputError(
            f"{where} holds {_videos(left_out)} that the list leaves out now, e.g. {min(left_out.values())}; what is "
            "stored of them would be lost. Nothing was changed: list them again (--limit leaves videos out, too), "
            f"choose another folder, or give {LOSS_WORD}.",
            path=where,
        )


def refuse_loss_of_sources(
    plans: Iterable[ShardPlan],
    stored: StoredRows,
    replaced: set[str],
    root: Path,
    policy: Policy,
    limits: Limits,
) -> None:
    """Raise InputError where rows would be lost: their shard is recreated, and their videos are not there any more."""
    wanted = (
        record.path
        for plan in plans
        for record in plan.records
        if (row := stored.get((plan.modality, record.video_id))) is not None
        and (plan.modality in replaced or not is_reusable(record, row, limits, retry_failed=policy.retry_failed))
    )
    there = in_order(lambda path: (path, _holds_something(root / path)), wanted, num_threads=THREADS)
    gone = list(dict.fromkeys(path for path, here in there if not here))
    if gone:
        videos = "1 video that is stored is" if len(gone) == 1 else f"{len(gone)} videos that are stored are"
        raise InputError(
            f"{videos} not in {root} any more, or empty, e.g. {gone[0]}; their rows would be lost. Nothing was "
            f"changed: bring the videos back, or give {LOSS_WORD} to let their rows go.",
            path=root,
        )


def refuse_loss_of_rows(where: str, stored: StoredRows, ledger: Iterable[LedgerRow], replaced: set[str]) -> None:
    """Raise PipelineError where shards that were made, of this ledger, hold less of a video than is stored now."""
    lost = lost_videos(stored, ledger, replaced)
    if lost:
        now = lost[0]
        num_before = stored.get((now.modality, now.video_id)).num_stored
        why = f" ({now.reason}: {(now.message or '').rstrip('.')})" if now.reason else ""
        raise PipelineError(
            f"{_videos({row.video_id for row in lost})} would lose rows that are stored: e.g. {now.path} gives "
            f"{now.num_stored} of {now.modality} now, {num_before} are stored{why}. The old shards stay: bring "
            f"the whole videos back and run the command again, or give {LOSS_WORD}.",
            path=where,
        )


def _videos(videos: Sized) -> str:
    return "1 video" if len(videos) == 1 else f"{len(videos)} videos"


def _holds_something(path: Path) -> bool:
    """Return whether a regular file with at least one byte is there."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def is_reusable(record: VideoRecord, row: LedgerRow, limits: Limits, *, retry_failed: bool) -> bool:
    """Return whether a stored row serves a record without its video being read again."""
    same = record.fingerprint is not None and row.fingerprint == record.fingerprint
    return same and not _is_tried_again(row, limits, retry_failed=retry_failed)


def lost_videos(before: StoredRows, after: Iterable[LedgerRow], replaced: set[str]) -> list[LedgerRow]:
    """Return the ledger rows of videos of which less would be stored than before.

    `replaced` are the modalities whose shards are recreated: their numbers of rows cannot be compared.
    """
    return [
        row
        for row in after
        if (old := before.get((row.modality, row.video_id))) is not None
        and (_is_less(old, row) or (row.modality not in replaced and _is_cut(old, row)))
    ]


def _is_less(old: LedgerRow, new: LedgerRow) -> bool:
    """Return whether a video has no rows any more, is not whole any more, or has a smaller part than before."""
    if not new.num_stored or (old.status == "ok" and new.status != "ok"):
        return True
    if new.status == "ok" or not old.num_expected:
        return False
    return new.num_stored < old.num_stored * (new.num_expected or 0) // old.num_expected


def _is_cut(old: LedgerRow, new: LedgerRow) -> bool:
    """Return whether fewer rows come of a smaller file.

    A stream without an index (MPEG-TS) that is cut off looks whole. A longer or larger video in place of another is no
    loss.
    """
    return new.num_stored < old.num_stored and (new.source_bytes or 0) < (old.source_bytes or 0)


def check_flow_method(parameters: ExtractParameters) -> None:
    """Raise InputError where this machine lacks what the flow method needs, such as a GPU that OpenCV can use."""
    if parameters.flow is None or parameters.flow.method == "tvl1":  # ours runs everywhere
        return
    from tdn_data.pipeline.extraction.rows.flow import solver_of

    solver_of(parameters.flow, parameters.network)
