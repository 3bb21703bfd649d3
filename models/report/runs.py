"""The evaluated runs as the report shows them, checked against the shards that they claim to be of."""

from __future__ import annotations

import contextlib
import csv
import logging
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from tdn_data.models.evaluation.explain import EXPLAIN
from tdn_data.models.evaluation.metrics import compute_metrics
from tdn_data.models.evaluation.results import SCORES, result_columns
from tdn_data.models.evaluation.run_record import EVALUATION, TRAINING, RunRecord, read_record
from tdn_data.models.evaluation.scores import VideoScores, read_scores
from tdn_data.models.networks import build_model
from tdn_data.models.networks.cost import Cost, default_clip_shape, model_cost
from tdn_data.models.report.first_batch import FIRST_BATCH
from tdn_data.models.report.page import RunResult, sample_videos, write_report
from tdn_data.models.training.config import TrainConfig
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.schema import library_versions

logger = logging.getLogger(__name__)

MAX_EXPLANATIONS = 12  # pictures of a run that the page holds


def report_runs(out: Path, folders: Mapping[str, Path], *, shards: Sequence[ShardReader]) -> None:
    """Write the page about runs, name -> folder, that were tested on the shards' videos (one reader a modality).

    A run that is left out (see `read_results`) is named in the log and on the page.
    """
    found, left_out = read_results(folders, shards[0])
    for sentence in left_out:
        logger.warning(sentence)
    info, split = shards[0].info, next((run.split for run in found), "test")
    frames = next((reader for reader in shards if reader.modality == "rgb"), None)
    flow = next((reader for reader in shards if reader.modality == "flow"), None)
    write_report(
        out,
        dataset=info.name,
        class_names=info.class_names,
        runs=found,
        metric_names=result_columns(info.name, [run.metrics for run in found]),
        split=split,
        samples=sample_videos(frames, flow, split=split) if frames is not None else [],
        facts=_facts(shards),
        left_out=left_out,
        ledger=[row for reader in shards for row in reader.ledger()],
    )


def _facts(shards: Sequence[ShardReader]) -> dict[str, str]:
    """Return what the shards say of themselves and what draws the page, as lines for it."""
    titles = {"rgb": "frames", "flow": "flow"}
    made_of = {titles[reader.modality]: _words(reader.info.parameters) for reader in shards}
    digests = {f"digest, {titles[reader.modality]}": reader.digest() for reader in shards}
    commit = _commit()
    return {
        "data set": shards[0].info.name,
        **made_of,
        **digests,
        **({"commit": commit} if commit else {}),
        "page": _words(library_versions()),
    }


def _commit() -> str | None:
    """Return the commit of this folder with `-dirty` where something is changed; None outside of git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    with contextlib.suppress(OSError):
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return ended.stdout.strip() or None
    return None


def _words(section: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in section.items() if value is not None)


def read_results(folders: Mapping[str, Path], reader: ShardReader) -> tuple[list[RunResult], list[str]]:
    """Return the evaluated runs, name -> folder, on a data set's shards, in that order, and what was left out.

    Metrics are computed again from the scores. A folder whose record is missing, or is of another run, other classes
    or other videos than the shards', is left out with a sentence that says so; one without scores is not tested yet.
    """
    found, left_out = [], []
    for name, folder in folders.items():
        try:
            if (folder / SCORES).exists():
                found.append(_read_run(name, folder, reader))
        except InputError as error:
            left_out.append(f"{name} is left out: {error.message}")
    return found, left_out


def _read_run(name: str, folder: Path, reader: ShardReader) -> RunResult:
    """Return one run; raise InputError where it is not one of its name on these shards."""
    record = read_record(folder / EVALUATION)
    _check_record(record, name, folder, reader)
    scores = read_scores(folder / SCORES)
    _check_scores(scores, folder, reader)
    metrics = compute_metrics(scores.scores, scores.labels, multi_label=reader.info.multi_label)
    training = read_record(folder / TRAINING) if (folder / TRAINING).exists() else None
    records = ({"trained": training} if training else {}) | {"tested": record}
    cost = _cost(training, len(reader.info.class_names)) if training else None
    return RunResult(
        name,
        record.network,
        record.modality,
        metrics.as_dict(),
        metrics.per_class_ap,
        record.split,
        metrics.confusion,
        _curves(folder),
        {how: one.words(parameters=how == "tested") for how, one in records.items()},
        record.parameters,
        folder / FIRST_BATCH if (folder / FIRST_BATCH).exists() else None,
        sorted((folder / EXPLAIN).glob("*.png"))[:MAX_EXPLANATIONS],
        training.parameters if training else {},
        {how: one.seconds for how, one in records.items()},
        cost and cost.parameters,
        cost and cost.multiply_adds,
    )


def _cost(training: RunRecord, num_classes: int) -> Cost | None:
    """Return what the network of a training costs; None for a record of other parameters than today's."""
    try:
        config = TrainConfig(**training.parameters)
        options = config.model_options(training.network, training.modality)
        with torch.random.fork_rng():
            model = build_model(training.network, num_classes=num_classes, **options)
        return model_cost(model, default_clip_shape(model, size=config.size))
    except (TypeError, ValueError):
        return None


def _check_record(record: RunRecord, name: str, folder: Path, reader: ShardReader) -> None:
    """Raise InputError unless the record is of the run of that name, tested on these shards."""
    info = reader.info
    if record.name != name:
        raise InputError(f"its record is of the run {record.name}.", path=folder)
    expected = {"dataset": info.name, "class_names": tuple(info.class_names), "multi_label": info.multi_label}
    for key, value in expected.items():
        if getattr(record, key) != value:
            raise InputError(f"it was tested on shards with another {key.replace('_', ' ')}.", path=folder)


def _check_scores(scores: VideoScores, folder: Path, reader: ShardReader) -> None:
    """Raise InputError unless the scores are of the shards' videos, with their labels, and one for each class."""
    labels = {video.video_id: video.labels for video in reader.videos}
    if scores.scores.shape[1:] != (len(reader.info.class_names),) or any(
        labels.get(video_id) != own for video_id, own in zip(scores.video_ids, scores.labels, strict=True)
    ):
        raise InputError("its videos or their labels are not those of the shards; evaluate it again.", path=folder)


def _curves(folder: Path) -> dict[str, list[float]] | None:
    """Return what DVCLive logged by epoch, NaN where an epoch lacks a number; None for a run without a training."""
    curves = {}
    for path in sorted((folder / "training/plots/metrics").glob("*.tsv")):
        with path.open(newline="") as file:
            logged = {int(row["step"]): float(row[path.stem]) for row in csv.DictReader(file, delimiter="\t")}
        curves[path.stem] = [logged.get(step, float("nan")) for step in range(max(logged, default=-1) + 1)]
    return curves or None
