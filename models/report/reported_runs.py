"""The evaluated runs as the report shows them, checked against the shards that they claim to be of."""

from __future__ import annotations

import contextlib
import csv
import logging
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from tdn_data.models.evaluation.explain import EXPLAIN
from tdn_data.models.evaluation.metrics import compute_metrics
from tdn_data.models.evaluation.mistakes import mistakes_of
from tdn_data.models.evaluation.results import SCORES, result_columns
from tdn_data.models.evaluation.run_record import EVALUATION, TRAINING, RunRecord, read_record
from tdn_data.models.evaluation.scores import VideoScores, read_scores
from tdn_data.models.networks import build_model
from tdn_data.models.networks.cost import Cost, default_clip_shape, model_cost
from tdn_data.models.report.first_batch import FIRST_BATCH
from tdn_data.models.report.page import MAX_MISTAKES, RunResult, write_report
from tdn_data.models.report.pictures import mistake_strips, sample_videos
from tdn_data.models.training.config import TrainConfig
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import DatasetInfo, ShardReader, StoredVideo
from tdn_data.pipeline.shards.schema import library_versions

logger = logging.getLogger(__name__)

MAX_EXPLANATIONS = 12  # pictures of a run that the page holds


def report_runs(
    out: Path,
    folders: Mapping[str, Path],
    *,
    dataset: str,
    shards: Sequence[ShardReader],
    not_here: Sequence[str] = (),
) -> None:
    """Write the page about runs, name -> folder, that were tested on a data set's shards (one reader a modality).

    `not_here` says which shards could not be opened, and why: what is drawn from them is left out, and without any the
    runs' own records count alone. That and each run that is left out (see `read_results`) stand in the log and on the
    page.
    """
    info = shards[0].info if shards else _tested_on(folders, dataset)
    found, left_out = read_results(folders, info, shards[0].videos if shards else None)
    for sentence in (*not_here, *left_out):
        logger.warning(sentence)
    split = next((run.split for run in found), "test")
    frames = next((reader for reader in shards if reader.modality == "rgb"), None)
    flow = next((reader for reader in shards if reader.modality == "flow"), None)
    shown = [mistake for run in found for mistake in run.mistakes[:MAX_MISTAKES]]
    write_report(
        out,
        dataset=info.name,
        class_names=info.class_names,
        runs=found,
        metric_names=result_columns(info.name, [run.metrics for run in found]),
        split=split,
        samples=sample_videos(frames, flow, split=split) if frames is not None else [],
        facts=_facts(info.name, shards),
        left_out=[*not_here, *left_out],
        ledger=[row for reader in shards for row in reader.ledger()],
        strips=mistake_strips(frames or flow, shown) if shards else None,
    )


def _tested_on(folders: Mapping[str, Path], dataset: str) -> DatasetInfo:
    """Return what the first run that was tested on a data set says of it; raise InputError where none was."""
    for folder in folders.values():
        if (folder / SCORES).exists():
            record = read_record(folder / EVALUATION)
            if record.dataset == dataset:
                return DatasetInfo(dataset, record.class_names, record.multi_label, {})
    raise InputError(
        f"there are no shards of {dataset} here, and no run that was tested on it; `dvc repro` makes both."
    )


def _facts(dataset: str, shards: Sequence[ShardReader]) -> dict[str, str]:
    """Return what the shards of a data set say of themselves and what draws the page, as lines for it."""
    titles = {"rgb": "frames", "flow": "flow"}
    made_of = {titles[reader.modality]: _words(reader.info.parameters) for reader in shards}
    digests = {f"digest, {titles[reader.modality]}": reader.digest() for reader in shards}
    commit = _commit()
    return {
        "data set": dataset,
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


def read_results(
    folders: Mapping[str, Path], info: DatasetInfo, videos: Iterable[StoredVideo] | None
) -> tuple[list[RunResult], list[str]]:
    """Return the evaluated runs, name -> folder, on a data set, in that order, and what was left out.

    Metrics are computed again from the scores. A folder whose record is missing, or is of another run, other classes
    or other videos than the shards' (`videos`, None where there are no shards), is left out with a sentence that says
    so; one without scores is not tested yet.
    """
    labels = None if videos is None else {video.video_id: video.labels for video in videos}
    found, left_out = [], []
    for name, folder in folders.items():
        try:
            if (folder / SCORES).exists():
                found.append(_read_run(name, folder, info, labels))
        except InputError as error:
            left_out.append(f"{name} is left out: {error.message}")
    return found, left_out


def _read_run(name: str, folder: Path, info: DatasetInfo, labels: Mapping[str, tuple[int, ...]] | None) -> RunResult:
    """Return one run; raise InputError where it is not one of its name on this data set's videos."""
    record = read_record(folder / EVALUATION)
    _check_record(record, name, folder, info)
    scores = read_scores(folder / SCORES)
    _check_scores(scores, folder, len(info.class_names), labels)
    metrics = compute_metrics(scores.scores, scores.labels, multi_label=info.multi_label)
    training = read_record(folder / TRAINING) if (folder / TRAINING).exists() else None
    records = ({"trained": training} if training else {}) | {"tested": record}
    cost = _cost(training, len(info.class_names)) if training else None
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
        mistakes_of(scores, info.class_names, multi_label=info.multi_label),
        record.list_split,
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


def _check_record(record: RunRecord, name: str, folder: Path, info: DatasetInfo) -> None:
    """Raise InputError unless the record is of the run of that name, tested on this data set."""
    if record.name != name:
        raise InputError(f"its record is of the run {record.name}.", path=folder)
    expected = {"dataset": info.name, "class_names": tuple(info.class_names), "multi_label": info.multi_label}
    for key, value in expected.items():
        if getattr(record, key) != value:
            raise InputError(f"it was tested on shards with another {key.replace('_', ' ')}.", path=folder)


def _check_scores(
    scores: VideoScores, folder: Path, num_classes: int, labels: Mapping[str, tuple[int, ...]] | None
) -> None:
    """Raise InputError unless there is a score for each class, and the videos with their labels are the shards'."""
    if scores.scores.shape[1:] != (num_classes,) or any(
        labels is not None and labels.get(video_id) != own
        for video_id, own in zip(scores.video_ids, scores.labels, strict=True)
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
