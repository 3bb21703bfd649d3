"""What a run's folder holds of its results: written, read back, put together over folders, and laid out as a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tdn_data.models.evaluation.class_results import CLASSES, MEASURES
from tdn_data.models.evaluation.metrics import Metrics, compute_metrics, mean_metrics
from tdn_data.models.evaluation.run_record import EVALUATION, read_record
from tdn_data.models.evaluation.scores import VideoScores, write_scores
from tdn_data.pipeline.datasets.base import METRIC_NAMES
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_json, write_text
from tdn_data.pipeline.shards.reader import DatasetInfo

SCORES, CLIP_SCORES, METRICS = "scores.parquet", "clip_scores.parquet", "metrics.json"
OF_CLIPS = ("clip_hit1", "clip_hit5")

Runs = Mapping[str, Mapping[str, float]]  # run, e.g. tdn-rgb -> what its metrics.json says


def write_results(folder: Path, scores: VideoScores, info: DatasetInfo, *, list_split: int | None = None) -> Metrics:
    """Write a run's scores, metrics.json, per-class average precision and confusion pairs; return the metrics.

    metrics.json also says which train/test split it was, where the data set has several.
    """
    metrics = compute_metrics(scores.scores, scores.labels, multi_label=info.multi_label)
    folder.mkdir(parents=True, exist_ok=True)
    write_scores(folder / SCORES, scores)
    which = {} if list_split is None else {"list_split": list_split}
    write_text(folder / METRICS, json.dumps({**metrics.as_dict(), **scores.clip_metrics, **which}, indent=2) + "\n")
    _write_classes(folder / CLASSES, metrics, info.class_names)
    predicted = scores.scores.argmax(1)
    pairs = (
        (info.class_names[labels[0]], info.class_names[guess])
        for labels, guess in zip(scores.labels, predicted, strict=True)
        if labels
    )
    _write_csv(folder / "confusion.csv", ("actual", "predicted"), pairs)
    return metrics


def _write_classes(path: Path, metrics: Metrics, class_names: Sequence[str]) -> None:
    """Write each class's average precision and, where videos have one label, its accuracy."""
    columns = {"class": class_names, MEASURES["AP"]: metrics.per_class_ap.tolist()}
    if metrics.per_class_accuracy is not None:
        columns[MEASURES["accuracy"]] = metrics.per_class_accuracy.tolist()
    _write_csv(path, tuple(columns), zip(*columns.values(), strict=True))


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple]) -> None:
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, content.getvalue())


def read_metrics(folder: Path) -> Runs:
    """Return the content of every run's metrics.json in a folder, e.g. of `tdn-rgb`; InputError where there is none."""
    found = {path.parent.name: _numbers(path) for path in sorted(folder.glob(f"*/{METRICS}"))}
    if not found:
        raise InputError(f"{folder} holds no evaluated run (<run>/{METRICS}).", path=folder)
    return found


def read_tested(folders: Mapping[str, Path], dataset: str) -> tuple[Runs, list[str]]:
    """Return the metrics of those runs, name -> folder, that were tested on a data set, and why others are left out.

    A folder without metrics is one that is not tested yet. Raises InputError for a file that is damaged.
    """
    found, left_out = {}, []
    for name, folder in folders.items():
        if not (folder / METRICS).exists():
            continue
        metrics, record = _numbers(folder / METRICS), read_record(folder / EVALUATION)
        if record.dataset == dataset:
            found[name] = metrics
        else:
            left_out.append(f"{name} is left out: it was tested on {record.dataset}, not yet on {dataset}")
    return found, left_out


def _numbers(path: Path) -> dict[str, float]:
    content = read_json(path, what="file of metrics")
    if not isinstance(content, dict) or not all(isinstance(value, int | float) for value in content.values()):
        raise InputError(f"{path} is damaged; evaluate the run again.", path=path)
    return content


def read_folders(folders: Sequence[Path]) -> dict[str, Runs]:
    """Return the metrics of the runs in each folder, by its name; of several folders also the mean, as the last.

    Raises InputError for a folder without metrics, and where a mean makes no sense: over one split twice, or over other
    data sets, or over other parts of one.
    """
    found = {str(folder): read_metrics(folder) for folder in folders}
    if len(found) > 1:
        _check_one_mean(found)
        over_splits = all("list_split" in run for runs in found.values() for run in runs.values())
        found[f"mean over {len(found)} splits" if over_splits else f"mean of {len(found)}"] = mean_over(found)
    return found


def _check_one_mean(folders: Mapping[str, Runs]) -> None:
    """Raise InputError where a run was tested on another data set, or another split of it, in one of the folders."""
    for run in dict.fromkeys(name for runs in folders.values() for name in runs):
        paths = {folder: Path(folder, run, EVALUATION) for folder, runs in folders.items() if run in runs}
        records = {folder: read_record(path) for folder, path in paths.items() if path.exists()}
        tested = {folder: f"{one.split} of {one.dataset}" for folder, one in records.items()}
        if len(set(tested.values())) > 1:
            words = " and ".join(f"on {test} in {folder}" for folder, test in tested.items())
            raise InputError(
                f"{run} was tested {words}, of which there is no mean; give each folder by itself.", key=run
            )


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


def tested_dataset(folders: Iterable[Path]) -> str | None:
    """Return the data set that the runs in the folders were tested on by the first record, None where there is none."""
    for path in (path for folder in folders for path in sorted(folder.glob(f"*/{EVALUATION}"))):
        return read_record(path).dataset
    return None


def result_columns(dataset: str, runs: Iterable[Mapping[str, float]]) -> dict[str, str]:
    """Return what is shown of a data set's runs, name in metrics.json -> name in words: its own metrics, mAP, clips'.

    What no run has is left out: there is no top-1 where videos have several labels.
    """
    measured = {name for run in runs for name in run}
    own = dict.fromkeys((*dataset_spec(dataset).metrics, "mAP", *OF_CLIPS))
    return {name: METRIC_NAMES[name] for name in own if name in measured}


def metric_words(metrics: Mapping[str, float], dataset: str) -> str:
    """Return a run's metrics in percent, in words, e.g. `top-1 98.5, mAP 99.2`."""
    columns = result_columns(dataset, [metrics])
    return ", ".join(f"{words} {percent(metrics[name])}" for name, words in columns.items())


def table_heads(folders: Mapping[str, Runs], dataset: str) -> list[str]:
    """Return the heads of the columns of numbers in `table_rows`, e.g. `top-1`."""
    return list(_columns(folders, dataset).values())


def table_rows(folders: Mapping[str, Runs], dataset: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (run, folder, numbers in percent, one for each metric), runs in the order of the folders."""
    columns = _columns(folders, dataset)
    for run in dict.fromkeys(name for runs in folders.values() for name in runs):
        for folder, runs in folders.items():
            if run in runs:
                yield run, folder, [percent(runs[run].get(name)) for name in columns]


def _columns(folders: Mapping[str, Runs], dataset: str) -> dict[str, str]:
    return result_columns(dataset, [run for runs in folders.values() for run in runs.values()])


def result_lines(folders: Mapping[str, Runs], dataset: str) -> Iterator[str]:
    """Yield a line for each run, for screens that are too narrow for the table."""
    for folder, runs in folders.items():
        for name, metrics in runs.items():
            yield f"{f'{folder}, ' if len(folders) > 1 else ''}{name}: {metric_words(metrics, dataset)}"


def percent(value: float | None) -> str:
    """Return a share in percent with one decimal, nothing where there is none."""
    return "" if value is None or np.isnan(value) else f"{100 * value:.1f}"
