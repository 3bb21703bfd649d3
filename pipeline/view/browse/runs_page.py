"""The pages of runs: all of them, one, and two compared."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import numpy as np

from tdn_data.pipeline.view.browse import charts
from tdn_data.pipeline.view.browse.filters import (
    AddressError,
    Filter,
)
from tdn_data.pipeline.view.browse.runs import Run, confusion
from tdn_data.pipeline.view.browse.site import View, link
from tdn_data.pipeline.view.words import CURVE_WORDS, METRIC_WORDS

MAX_MATRIX = 60  # classes of a confusion matrix; of more, the most frequent pairs are listed
MAX_PAIRS = 15
HEAT = 9  # shades of a cell


def all_runs(view: View) -> dict[str, object]:
    """Return the page of all runs."""
    runs = list(view.runs.values())
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
    scored = list(view.scored)
    return view.frame(Filter(), "runs") | {
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
        "names": list(view.runs),
        "scored": scored,
        "roots": [str(root) for root in view.roots],
    }


def one_run(view: View, name: str) -> dict[str, object]:
    """Return one run's page."""
    run = _known(view, name)
    counts = confusion(run, view.videos)
    class_names = view.videos.labelling.class_names
    matrix = counts if counts is not None and len(class_names) <= MAX_MATRIX else None
    return view.frame(Filter(run=name), "run") | {
        "title": name,
        "run": run,
        "metrics": [(METRIC_WORDS[key], run.metrics[key]) for key in METRIC_WORDS if key in run.metrics],
        "num_videos": run.metrics.get("num_videos"),
        "results": _results(view, run),
        "matrix": _matrix(view, run, matrix) if matrix is not None else [],
        "pairs": _pairs(view, run, counts) if counts is not None else [],
        "class_names": class_names,
        "precision": sorted(run.average_precision.items(), key=lambda pair: (np.isnan(pair[1]), pair[1])),
        "curves": [charts.curves(CURVE_WORDS.get(key, key), [(key, 0, line)]) for key, line in run.curves.items()],
        "records": [
            (words, _record_lines(record))
            for words, record in (("trained", run.training), ("tested", run.record))
            if record
        ],
        "multi_label": view.videos.labelling.multi_label,
    }


def _known(view: View, name: str) -> Run:
    if name not in view.runs:
        known = f"those here are {', '.join(view.runs)}" if view.runs else "there is none here"
        raise AddressError(f"no evaluated run is called {name!r}; {known}")
    return view.runs[name]


def _results(view: View, run: Run) -> list[tuple[str, int, str]]:
    """Return how many videos were right and wrong, with the address that shows them."""
    if run.scores is None:
        return []
    return [
        (result, int(np.count_nonzero(run.scores.right == number)), _result_link(run, result))
        for result, number in (("right", 1), ("wrong", 0))
    ]


def _cell(view: View, run: Run, actual: int, predicted: int) -> str:
    """Return the address of the videos behind a cell, nothing where they are not known."""
    if run.scores is None:
        return ""
    names = view.videos.labelling.class_names
    return link("/videos", Filter(label=names[actual], run=run.name, predicted=names[predicted]).query())


def _matrix(view: View, run: Run, counts: np.ndarray) -> list[tuple[str, list[dict[str, object]]]]:
    names = view.videos.labelling.class_names
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
                    "href": _cell(view, run, actual, guess) if counts[actual, guess] else "",
                }
                for guess in range(len(names))
            ],
        )
        for actual in range(len(names))
        if counts[actual].any()
    ]


def _pairs(view: View, run: Run, counts: np.ndarray) -> list[dict[str, object]]:
    """Return the pairs of classes that are taken for one another most."""
    names, wrong = view.videos.labelling.class_names, counts.copy()
    np.fill_diagonal(wrong, 0)
    flat = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    found = [(int(one) // len(names), int(one) % len(names)) for one in flat]
    return [
        {"actual": names[a], "predicted": names[b], "count": int(wrong[a, b]), "href": _cell(view, run, a, b)}
        for a, b in found
        if wrong[a, b]
    ]


def compare(view: View, a: str, b: str) -> dict[str, object]:
    """Return two runs side by side."""
    one, two = _known(view, a), _known(view, b)
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
    return view.frame(Filter(), "compare") | {
        "title": f"{a} and {b}",
        "one": one,
        "two": two,
        "rows": rows,
        "classes": sorted(classes, key=lambda row: -abs(np.nan_to_num(row[2] - row[1]))),
        "agreement": _agreement(view, one, two),
        "curves": drawn,
        "names": list(view.runs),
    }


def _agreement(view: View, one: Run, two: Run) -> list[tuple[str, str, int, str]]:
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


def _result_link(run: Run, result: str) -> str:
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
