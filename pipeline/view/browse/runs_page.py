"""The pages of runs: all of them, one, and two compared."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import numpy as np

from tdn_data.pipeline.view.browse import charts
from tdn_data.pipeline.view.browse.evaluated_runs import EvaluatedRun, confusion
from tdn_data.pipeline.view.browse.filters import (
    AddressError,
    Filter,
)
from tdn_data.pipeline.view.browse.site import Moment, link
from tdn_data.pipeline.view.words import CURVE_WORDS, METRIC_WORDS

MAX_MATRIX = 60  # classes of a confusion matrix; of more, the most frequent pairs are listed
MAX_PAIRS = 15
HEAT = 9  # shades of a cell


def all_runs(moment: Moment) -> dict[str, object]:
    """Return the page of all runs."""
    runs = list(moment.runs.values())
    metrics = [name for name in METRIC_WORDS if any(name in run.metrics for run in runs)]
    best = {name: max(run.metrics[name] for run in runs if name in run.metrics) for name in metrics}
    names = list(dict.fromkeys(name for run in runs for name in run.curves))
    drawn = [
        charts.curves(
            CURVE_WORDS.get(name, name),
            [(run.name, number % 8, run.curves[name]) for number, run in enumerate(runs) if name in run.curves],
        )
        for name in names
    ]
    scored = list(moment.scored)
    return moment.frame(Filter(), "runs") | {
        "title": "Runs",
        "runs": [
            {
                "run": run,
                "href": link("/run", urlencode({"name": run.name})),
                "numbers": [(run.metrics.get(name), run.metrics.get(name) == best[name]) for name in metrics],
                "wrong": link("/videos", Filter(run=run.name, result="wrong", sort="loss").query())
                if run.scores
                else "",
            }
            for run in runs
        ],
        "metrics": [METRIC_WORDS[name] for name in metrics],
        "curves": drawn,
        "names": list(moment.runs),
        "scored": scored,
        "roots": [str(root) for root in moment.roots],
    }


def one_run(moment: Moment, name: str) -> dict[str, object]:
    """Return what a run's page shows: its numbers, curves, confusions, and the videos behind them."""
    run = _known(moment, name)
    counts = confusion(run, moment.videos)
    class_names = moment.videos.labelling.class_names
    matrix = counts if counts is not None and len(class_names) <= MAX_MATRIX else None
    return moment.frame(Filter(run=name), "run") | {
        "title": name,
        "run": run,
        "metrics": [(METRIC_WORDS[key], run.metrics[key]) for key in METRIC_WORDS if key in run.metrics],
        "num_videos": run.metrics.get("num_videos"),
        "results": _results(moment, run),
        "matrix": _matrix(moment, run, matrix) if matrix is not None else [],
        "pairs": _pairs(moment, run, counts) if counts is not None else [],
        "class_names": class_names,
        "precision": sorted(run.average_precision.items(), key=lambda pair: (np.isnan(pair[1]), pair[1])),
        "curves": [charts.curves(CURVE_WORDS.get(key, key), [(key, 0, line)]) for key, line in run.curves.items()],
        "records": [
            (words, _record_lines(record))
            for words, record in (("trained", run.training), ("tested", run.record))
            if record
        ],
        "multi_label": moment.videos.labelling.multi_label,
    }


def _known(moment: Moment, name: str) -> EvaluatedRun:
    if name not in moment.runs:
        known = f"those here are {', '.join(moment.runs)}" if moment.runs else "there is none here"
        raise AddressError(f"no evaluated run is called {name!r}; {known}")
    return moment.runs[name]


def _results(moment: Moment, run: EvaluatedRun) -> list[tuple[str, int, str]]:
    """Return how many videos were right and wrong, with the address that shows them."""
    if run.scores is None:
        return []
    return [
        (result, int(np.count_nonzero(run.scores.right == number)), _result_link(run, result))
        for result, number in (("right", 1), ("wrong", 0))
    ]


def _cell(moment: Moment, run: EvaluatedRun, actual: int, predicted: int) -> str:
    """Return the address of the videos behind a cell, nothing where they are not known."""
    if run.scores is None:
        return ""
    names = moment.videos.labelling.class_names
    return link("/videos", Filter(label=names[actual], run=run.name, predicted=names[predicted]).query())


def _matrix(moment: Moment, run: EvaluatedRun, counts: np.ndarray) -> list[tuple[str, list[dict[str, object]]]]:
    names = moment.videos.labelling.class_names
    totals = np.maximum(counts.sum(1, keepdims=True), 1)
    heat = np.ceil(HEAT * counts / totals).astype(int)
    return [
        (
            names[actual],
            [
                {
                    "count": int(counts[actual, guess]),
                    "heat": int(heat[actual, guess]),
                    "name": names[guess],
                    "right": guess == actual,
                    "href": _cell(moment, run, actual, guess) if counts[actual, guess] else "",
                }
                for guess in range(len(names))
            ],
        )
        for actual in range(len(names))
        if counts[actual].any()
    ]


def _pairs(moment: Moment, run: EvaluatedRun, counts: np.ndarray) -> list[dict[str, object]]:
    """Return the pairs of classes that are taken for one another most."""
    names, wrong = moment.videos.labelling.class_names, counts.copy()
    np.fill_diagonal(wrong, 0)
    flat = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    found = [(int(one) // len(names), int(one) % len(names)) for one in flat]
    return [
        {"actual": names[a], "predicted": names[b], "count": int(wrong[a, b]), "href": _cell(moment, run, a, b)}
        for a, b in found
        if wrong[a, b]
    ]


def compare(moment: Moment, a: str, b: str) -> dict[str, object]:
    """Return two runs side by side."""
    one, two = _known(moment, a), _known(moment, b)
    rows = [
        (METRIC_WORDS[name], 100 * one.metrics[name], 100 * two.metrics[name])
        for name in METRIC_WORDS
        if name in one.metrics and name in two.metrics
    ]
    shared = [name for name in one.average_precision if name in two.average_precision]
    classes = [(name, 100 * one.average_precision[name], 100 * two.average_precision[name]) for name in shared]
    names = list(dict.fromkeys([*one.curves, *two.curves]))
    drawn = [
        charts.curves(
            CURVE_WORDS.get(name, name),
            [(run.name, series, run.curves[name]) for series, run in enumerate((one, two)) if name in run.curves],
        )
        for name in names
    ]
    return moment.frame(Filter(), "compare") | {
        "title": f"{a} and {b}",
        "one": one,
        "two": two,
        "rows": rows,
        "classes": sorted(classes, key=lambda row: -abs(np.nan_to_num(row[2] - row[1]))),
        "agreement": _agreement(moment, one, two),
        "curves": drawn,
        "names": list(moment.runs),
    }


def _agreement(moment: Moment, one: EvaluatedRun, two: EvaluatedRun) -> list[tuple[str, str, int, str]]:
    """Return (result of the one, of the other, videos, address) where both were tested on a video."""
    if one.scores is None or two.scores is None:
        return []
    found = []
    for first, r1 in (("right", 1), ("wrong", 0)):
        for second, r2 in (("right", 1), ("wrong", 0)):
            count = int(np.count_nonzero((one.scores.right == r1) & (two.scores.right == r2)))
            chosen = Filter(run=one.name, result=first, other=two.name, other_result=second)
            found.append((first, second, count, link("/videos", chosen.query())))
    return found


def _result_link(run: EvaluatedRun, result: str) -> str:
    return link("/videos", Filter(run=run.name, result=result, sort="loss").query())


def _record_lines(record: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return a run's record as lines: when, where, how long, and its parameters."""
    parameters = record.get("parameters")
    libraries = record.get("libraries")
    lines = [
        (name, str(record[name]))
        for name in ("date", "hardware", "split", "list_split")
        if record.get(name) is not None
    ]
    if isinstance(record.get("seconds"), int | float):
        lines.append(("took", f"{record['seconds']:,.0f} s"))
    if isinstance(libraries, dict):
        lines.append(("libraries", ", ".join(f"{name} {value}" for name, value in libraries.items())))
    if isinstance(parameters, dict):
        words = (f"{name} {value}" for name, value in parameters.items() if value not in (None, [], {}))
        lines.append(("parameters", ", ".join(words)))
    return lines
