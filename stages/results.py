"""How results are written and read, and the table that `make repro` and `tdn-data results` print."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.measure import Measurement
from rich.table import Column, Table

from tdn_data.models.evaluation.evaluate import VideoScores, read_scores, write_scores
from tdn_data.models.evaluation.metrics import Metrics, compute_metrics, mean_metrics
from tdn_data.models.evaluation.run_record import EVALUATION, TRAINING, read_record
from tdn_data.models.report.page import RunResult
from tdn_data.pipeline.datasets.base import METRIC_NAMES
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_json, write_text
from tdn_data.pipeline.shards.reader import DatasetInfo, ShardReader
from tdn_data.stages.cli import console
from tdn_data.stages.params import RUNS, load_params

REPORT = "report.html"
MODALITIES = ("rgb", "flow", "fused")

Runs = Mapping[str, Mapping[str, float]]  # run, e.g. tdn-rgb -> what its metrics.json says


def write_results(folder: Path, scores: VideoScores, info: DatasetInfo, *, list_split: int | None = None) -> Metrics:
    """Write a run's scores, metrics.json, per-class average precision and confusion pairs; return the metrics.

    metrics.json also says which train/test split it was, where the data set has several.
    """
    metrics = compute_metrics(scores.scores, scores.labels, multi_label=info.multi_label)
    folder.mkdir(parents=True, exist_ok=True)
    write_scores(folder / "scores.parquet", scores)
    which = {} if list_split is None else {"list_split": list_split}
    write_text(folder / "metrics.json", json.dumps(metrics.as_dict() | which, indent=2) + "\n")
    values = zip(info.class_names, metrics.per_class_ap.tolist(), strict=True)
    _write_csv(folder / "average_precision.csv", ("class", "average_precision"), list(values))
    predicted = scores.scores.argmax(1)
    pairs = [
        (info.class_names[labels[0]], info.class_names[guess])
        for labels, guess in zip(scores.labels, predicted, strict=True)
        if labels
    ]
    _write_csv(folder / "confusion.csv", ("actual", "predicted"), pairs)
    return metrics


def read_results(runs: Path, reader: ShardReader) -> tuple[list[RunResult], list[str]]:
    """Return the evaluated runs on a data set's shards, by network and then RGB, flow, fused, and what was left out.

    Metrics are computed again from the scores. A folder whose record is missing, or tells of another run, other
    classes or other videos than the shards', is left out with a sentence that says so.
    """
    found, left_out = [], []
    for folder in sorted(path.parent for path in runs.glob("*/scores.parquet")):
        try:
            found.append(_read_run(folder, reader))
        except InputError as error:
            left_out.append(f"{folder.name} is left out: {error.message}")
    found.sort(key=lambda run: (run.model != "tsn", run.model, MODALITIES.index(run.modality)))
    return found, left_out


def _read_run(folder: Path, reader: ShardReader) -> RunResult:
    """Return one run; raise InputError where it is not one of its name on these shards."""
    record, info = read_record(folder / EVALUATION), reader.info
    if record.name != folder.name or record.modality not in MODALITIES:
        raise InputError(f"its record is of the run {record.name}.", path=folder)
    for name in ("dataset", "class_names", "multi_label"):
        expected = {"dataset": info.name, "class_names": tuple(info.class_names), "multi_label": info.multi_label}[name]
        if getattr(record, name) != expected:
            raise InputError(f"it was tested on shards with another {name.replace('_', ' ')}.", path=folder)
    scores = read_scores(folder / "scores.parquet")
    labels = {video.video_id: video.labels for video in reader.videos}
    if scores.scores.shape[1:] != (len(info.class_names),) or any(
        labels.get(video_id) != own for video_id, own in zip(scores.video_ids, scores.labels, strict=True)
    ):
        raise InputError("its videos or their labels are not those of the shards; evaluate it again.", path=folder)
    metrics = compute_metrics(scores.scores, scores.labels, multi_label=info.multi_label)
    made = {"tested": record.words()}
    if (folder / TRAINING).exists():
        made = {"trained": read_record(folder / TRAINING).words()} | made
    return RunResult(
        record.network,
        record.modality,
        metrics.as_dict(),
        metrics.per_class_ap,
        metrics.confusion,
        _curves(folder),
        made,
        record.parameters,
    )


def _curves(folder: Path) -> dict[str, list[float]] | None:
    """Return what DVCLive logged by epoch, NaN where an epoch lacks a number; None for a run without a training."""
    curves = {}
    for path in sorted((folder / "training/plots/metrics").glob("*.tsv")):
        with path.open(newline="") as file:
            logged = {int(row["step"]): float(row[path.stem]) for row in csv.DictReader(file, delimiter="\t")}
        curves[path.stem] = [logged.get(step, float("nan")) for step in range(max(logged, default=-1) + 1)]
    return curves or None


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, content.getvalue())


def result_columns(dataset: str, runs: Iterable[Mapping[str, float]]) -> dict[str, str]:
    """Return what is shown of a data set's runs, name in metrics.json -> name in words: its own metrics, then mAP.

    What no run has is left out: there is no top-1 where videos have several labels.
    """
    measured = {name for run in runs for name in run}
    own = dict.fromkeys((*dataset_spec(dataset).metrics, "mAP"))
    return {name: METRIC_NAMES[name] for name in own if name in measured}


def metric_words(metrics: Mapping[str, float], dataset: str) -> str:
    """Return a run's metrics in percent, in words, e.g. `top-1 98.5, mAP 99.2`."""
    columns = result_columns(dataset, [metrics])
    return ", ".join(f"{words} {_percent(metrics[name])}" for name, words in columns.items())


def read_metrics(folder: Path) -> Runs:
    """Return the content of every run's metrics.json in a folder, e.g. of `tdn-rgb`; InputError where there is none."""
    found = {path.parent.name: _numbers(path) for path in sorted(folder.glob("*-*/metrics.json"))}
    if not found:
        raise InputError(f"{folder} holds no evaluated network (<network>-<modality>/metrics.json).", path=folder)
    return found


def _numbers(path: Path) -> dict[str, float]:
    content = read_json(path, what="file of metrics")
    if not isinstance(content, dict) or not all(isinstance(value, int | float) for value in content.values()):
        raise InputError(f"{path} is damaged; evaluate the run again.", path=path)
    return content


def _dataset_of(folders: Iterable[Path]) -> str:
    """Return the data set that runs were tested on by their records, else that of params.yaml."""
    for path in (path for folder in folders for path in sorted(folder.glob(f"*/{EVALUATION}"))):
        return read_record(path).dataset
    return load_params().dataset.name


def mean_over(folders: Mapping[str, Runs]) -> Runs:
    """Return the mean metrics of every run that is in all folders; raise InputError when one split counts twice."""
    folder_of: dict[int, str] = {}
    for folder, runs in folders.items():
        for number in {run["list_split"] for run in runs.values() if "list_split" in run}:
            if folder_of.setdefault(number, folder) != folder:
                raise InputError(f"{folder_of[number]} and {folder} are both of list split {number}; give each once.")
    first, *others = folders.values()
    shared = [name for name in first if all(name in other for other in others)]
    means = {name: mean_metrics([runs[name] for runs in folders.values()]) for name in shared}
    return {name: {key: value for key, value in mean.items() if key != "list_split"} for name, mean in means.items()}


def results_table(folders: Mapping[str, Runs], dataset: str) -> Table:
    """Return one row for each network and folder, one column for each modality and metric."""
    columns = result_columns(dataset, [run for runs in folders.values() for run in runs.values()])
    heads = [f"{modality} {words}" for modality in MODALITIES for words in columns.values()]
    numbers = [Column(head, justify="right", min_width=5) for head in heads]
    table = Table(Column("network", no_wrap=True), *(["runs"] if len(folders) > 1 else []), *numbers)
    models = {name.rpartition("-")[0] for runs in folders.values() for name in runs}
    for model in sorted(models, key=lambda model: (model != "tsn", model)):
        for folder, runs in folders.items():
            found = [runs.get(f"{model}-{modality}", {}) for modality in MODALITIES]
            cells = [_percent(run.get(name)) for run in found for name in columns]
            table.add_row(console.shown(model.upper()), *([console.shown(folder)] if len(folders) > 1 else []), *cells)
    return table


def result_lines(folders: Mapping[str, Runs], dataset: str) -> Iterator[str]:
    """Yield a line for each run, for screens that are too narrow for the table."""
    for folder, runs in folders.items():
        for name, metrics in runs.items():
            yield f"{f'{folder}, ' if len(folders) > 1 else ''}{name}: {metric_words(metrics, dataset)}"


def print_results(folders: Sequence[Path] = (), *, as_json: bool = False) -> None:
    """Print the metrics of all runs in `folders` (default: the pipeline's own); of several folders also the mean."""
    dataset = _dataset_of(folders or (RUNS,))
    found = {str(folder): read_metrics(folder) for folder in folders or (RUNS,)}
    if len(found) > 1:
        over_splits = all("list_split" in run for runs in found.values() for run in runs.values())
        found[f"mean over {len(found)} splits" if over_splits else f"mean of {len(found)}"] = mean_over(found)
    if as_json:
        console.print_json(found)
        return
    table = results_table(found, dataset)
    unbounded = console.out.options.update(max_width=10_000)
    if Measurement.get(console.out, unbounded, table).minimum <= console.out.width:
        console.out.print(table)
    else:
        for line in result_lines(found, dataset):
            console.out.print(console.shown(line), highlight=False, soft_wrap=True)
    if not folders:
        console.out.print(f"report: {RUNS / REPORT}", highlight=False)


def main() -> None:
    """Print the results of the pipeline's own runs."""
    with console.messages():
        print_results()


def _percent(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{100 * value:.1f}"


if __name__ == "__main__":
    console.run_stage(main)
