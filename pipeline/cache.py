"""What of an earlier extraction can stay: which shards are finished, which rows are lost, and what stops a run.

Everything here is decided before the first file is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.manifest import Manifest, VideoRecord
from pipeline.parameters import ExtractParameters, Limits
from pipeline.shards.ledger import LEDGER_NAME, read_ledger
from pipeline.shards.plan import ShardPlan, modality_digest
from pipeline.shards.schema import LedgerRow
from pipeline.storage import Storage
from pipeline.versions import differences, row_versions

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
    decodes again what is not ok; `allow_loss` lets rows go whose videos cannot be found any more.
    """

    replace: bool = False
    keep_versions: bool = False
    retry_failed: bool = False
    allow_loss: bool = False

    def __post_init__(self) -> None:
        if self.replace and self.keep_versions:
            raise InputError("--replace recreates what --keep-versions keeps; give one of them.", key="replace")


@dataclass(frozen=True)
class Found:
    """What a shard in the folder says about itself: its metadata and its videos' ledger rows."""

    about: Mapping[str, object]
    ledger: tuple[LedgerRow, ...]

    @property
    def modality(self) -> str:
        """The shard's modality."""
        return self.about["modality"]

    def other_versions(self) -> str:
        """Return what differs between the versions that made its rows and today's in words; nothing if all agree."""
        now = row_versions(self.modality)
        for row in self.ledger:
            if row.made_by != now.digest:
                return differences(self.about.get("versions", {}).get(row.made_by), now)
        return ""

    def other_parameters(self, parameters: ExtractParameters, extension: str) -> str:
        """Return what differs between the parameters that made its rows and these in words; nothing if all agree."""
        if self.about["parameters_digest"] == modality_digest(parameters, self.modality):
            return ""
        section = parameters.frames if self.modality == "rgb" else parameters.flow
        old, new = self.about["parameters"], section.model_dump()
        changes = [f"{key} {old.get(key)} -> {new.get(key)}" for key in {**new, **old} if old.get(key) != new.get(key)]
        return ", ".join(changes) or f"format {extension} -> {parameters.format}"


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
    return any(_is_tried_again(row, policy, limits, root) for row in shard.ledger)


def _is_tried_again(row: LedgerRow, policy: Policy, limits: Limits, root: Path) -> bool:
    """Return whether a video that is not ok may be now: on request, with a raised limit, or back in its place."""
    if row.status == "ok":
        return False
    if row.reason == "missing" and row.fingerprint is not None and is_there(root / row.path):
        return True
    return policy.retry_failed or _limit_was_raised(row, limits)


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


def refuse_loss_of_sources(
    plans: Iterable[ShardPlan], found: Mapping[str, Found], replaced: set[str], root: Path, policy: Policy
) -> None:
    """Raise InputError where rows would be lost: their shard is recreated, and their videos are not there any more."""
    if policy.allow_loss:
        return
    stored = stored_rows(found.values())
    wanted = [
        record
        for plan in plans
        for record in plan.records
        if (plan.modality, record.video_id) in stored
        and not is_reusable(record, stored[plan.modality, record.video_id], plan.modality in replaced, policy)
    ]
    wanted = list({record.path: record for record in wanted}.values())
    with ThreadPoolExecutor(THREADS) as pool:
        there = list(pool.map(lambda record: _holds_something(root / record.path), wanted))
    gone = [record.path for record, here in zip(wanted, there, strict=True) if not here]
    if gone:
        videos = "1 video that is stored is" if len(gone) == 1 else f"{len(gone)} videos that are stored are"
        raise InputError(
            f"{videos} not in {root} any more, or empty, e.g. {gone[0]}; their rows would be lost. Nothing was "
            "changed: bring the videos back, or give --allow-loss to let their rows go.",
            path=root,
        )


def _holds_something(path: Path) -> bool:
    """Return whether a regular file with at least one byte is there."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def refuse_loss_by_limit(out: str | os.PathLike[str], manifest: Manifest) -> None:
    """Raise InputError where a finished extraction holds rows of videos that a shortened list leaves out."""
    storage = Storage(out)
    if LEDGER_NAME not in storage.names():
        return
    listed = {record.video_id for record in manifest}
    left_out = {row.video_id for row in read_ledger(storage) if row.num_stored} - listed
    if left_out:
        raise InputError(
            f"{storage.shown} holds {len(left_out)} of the videos that --limit leaves out, e.g. {min(left_out)}; their "
            "rows would be lost. Leave --limit out, choose another folder, or give --allow-loss.",
            path=storage.shown,
        )


def is_reusable(record: VideoRecord, row: LedgerRow, replaced: bool, policy: Policy) -> bool:
    """Return whether a stored row serves a record without its video being read again."""
    same = record.fingerprint is not None and row.fingerprint == record.fingerprint
    return same and not replaced and not (policy.retry_failed and row.status != "ok")


def stored_rows(shards: Iterable[Found]) -> dict[tuple[str, str], LedgerRow]:
    """Return (modality, video) -> ledger row for the videos that have rows."""
    return {(row.modality, row.video_id): row for shard in shards for row in shard.ledger if row.num_stored}


def lost_videos(before: Mapping[tuple[str, str], LedgerRow], after: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Return the ledger rows without frames or flow of videos that had some before, their files being the same."""
    return [
        row
        for row in after
        if not row.num_stored
        and (old := before.get((row.modality, row.video_id))) is not None
        and row.fingerprint in (old.fingerprint, None)
    ]


def check_method(parameters: ExtractParameters) -> None:
    """Raise InputError where this machine lacks what the flow method needs, such as a GPU that OpenCV can use."""
    if parameters.flow is None or parameters.flow.method == "tvl1":  # ours runs everywhere
        return
    from pipeline.flow.methods import build_solver

    build_solver(parameters.flow.method, device="auto", options={})
