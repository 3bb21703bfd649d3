"""Where a stage's results lie, how they are written, and the table that `make repro` prints."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from rich.table import Table

from models.evaluate import VideoScores, read_scores, write_scores
from models.metrics import Metrics, compute_metrics
from models.report import RunResult
from pipeline.shards.reader import DatasetInfo
from stages import edge
from stages.params import RUNS

REPORT = RUNS / "report.html"
MODALITIES = ("rgb", "flow", "fused")


def write_results(folder: Path, scores: VideoScores, info: DatasetInfo) -> Metrics:
    """Write a run's scores, metrics.json, per-class average precision and confusion pairs; return the metrics."""
    metrics = compute_metrics(scores.scores, scores.labels, multi_label=info.multi_label)
    write_scores(folder / "scores.parquet", scores)
    (folder / "metrics.json").write_text(json.dumps(metrics.as_dict(), indent=2) + "\n")
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


def read_results(info: DatasetInfo) -> list[RunResult]:
    """Return every evaluated run, by model and then RGB, flow, fused, recomputed from its scores."""
    found = []
    names = {path.parent.name.rpartition("-") for path in RUNS.glob("*/scores.parquet")}
    for model, _, modality in sorted(names, key=lambda name: (name[0] != "tsn", name[0], MODALITIES.index(name[2]))):
        folder = RUNS / f"{model}-{modality}"
        scores = read_scores(folder / "scores.parquet")
        metrics = compute_metrics(scores.scores, scores.labels, multi_label=info.multi_label)
        found.append(
            RunResult(model, modality, metrics.as_dict(), metrics.per_class_ap, metrics.confusion, _curves(folder))
        )
    return found


def _curves(folder: Path) -> dict[str, list[float]] | None:
    """Return what DVCLive logged over the epochs; None for a run without a training of its own."""
    curves = {}
    for path in sorted((folder / "training/plots/metrics").glob("*.tsv")):
        with path.open(newline="") as file:
            curves[path.stem] = [float(row[path.stem]) for row in csv.DictReader(file, delimiter="\t")]
    return curves or None


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def print_results() -> None:
    """Print the metrics of all runs as a table, and where the report lies."""
    metrics = {path.parent.name: json.loads(path.read_text()) for path in RUNS.glob("*-*/metrics.json")}
    models = sorted({name.rpartition("-")[0] for name in metrics}, key=lambda model: (model != "tsn", model))
    table = Table("network", *(f"{modality} {name}" for modality in MODALITIES for name in ("top-1", "mAP")))
    for model in models:
        cells = [
            _percent(metrics.get(f"{model}-{modality}", {}).get(name))
            for modality in MODALITIES
            for name in ("top1", "mAP")
        ]
        table.add_row(model.upper(), *cells)
    edge.out.print(table)
    edge.out.print(f"report: {REPORT}", highlight=False)


def _percent(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{100 * value:.1f}"


if __name__ == "__main__":
    print_results()
