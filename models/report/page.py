"""The report: one self-contained HTML page with results, curves, confusion matrices, mistakes, videos and flow."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.filesize import decimal

from tdn_data.models.evaluation.mistakes import Mistake
from tdn_data.models.report.papers import PUBLISHED, Beside, Published
from tdn_data.models.report.pictures import Sample
from tdn_data.models.report.tables import (
    changed_classes,
    ledger_table,
    parameter_table,
    share_interval,
    worst_confusions,
)
from tdn_data.pipeline.datasets.base import METRIC_NAMES
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.pipeline.files import write_text
from tdn_data.pipeline.images import encode_image, read_image_file
from tdn_data.pipeline.shards.schema import LedgerRow
from tdn_data.pipeline.view.words import CURVE_WORDS

COLORS = (  # one for each network, distinct for colour-blind readers, too, as far as so many can be
    "#1f6feb", "#d1480f", "#2da44e", "#8250df", "#bf8700", "#57606a", "#d63384",
    "#0a9396", "#7f4f24", "#000000", "#94d82d", "#f4a261", "#a2d2ff",
)  # fmt: skip
MAX_MISTAKES = 4  # of a run, that are shown
INPUT_WORDS = {"rgb": "RGB", "flow": "flow", "fusion": "fused scores"}
LINES = {"rgb": "-", "flow": "--", "fusion": ":"}  # how a curve is drawn, by modality
IN_PERCENT = ("accuracy", "validation_accuracy", "validation_map")  # curves that are logged as shares


@dataclass(frozen=True)
class RunResult:
    """One run, or a fusion of several (network and modality are then `fusion`), evaluated on `split`.

    `metrics`: top1 and top5 or hit1 and hit5, and mAP, in [0, 1]. `per_class_ap`: (C,), NaN where a class has no
    positives. `confusion`: counts (C, C), rows actual, None for multi-label data. `curves`: name -> a value per epoch.
    """

    name: str
    network: str
    modality: str
    metrics: Mapping[str, float]
    per_class_ap: np.ndarray
    split: str = "test"
    confusion: np.ndarray | None = None
    curves: Mapping[str, Sequence[float]] | None = None
    made: Mapping[str, str] = field(default_factory=dict)  # `trained`, `tested` -> when, where and how, in words
    parameters: Mapping[str, object] = field(default_factory=dict)  # of the test, or the weights of a fusion
    first_batch: Path | None = None  # a picture of what the network was given
    explanations: Sequence[Path] = ()  # pictures of what its scores stand on
    training: Mapping[str, object] = field(default_factory=dict)  # its parameters
    seconds: Mapping[str, float] = field(default_factory=dict)  # `trained`, `tested` -> how long it took
    parameters_count: int | None = None  # of the network
    multiply_adds: int | None = None  # of the network for one clip
    mistakes: Sequence[Mistake] = ()  # all of them, the most certain first
    list_split: int | None = None  # which train/test split, of a data set with several


def write_report(
    out: Path,
    *,
    dataset: str,
    class_names: Sequence[str],
    runs: Sequence[RunResult],
    metric_names: Mapping[str, str],
    split: str,
    samples: Sequence[Sample],
    facts: Mapping[str, str],
    left_out: Sequence[str] = (),
    ledger: Sequence[LedgerRow] = (),
    strips: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write the page to `out`; it needs no other file and no network.

    `metric_names`: which of the runs' metrics the table of results shows -> how it heads them. `split` is the one that
    was tested. `facts` are listed at the page's end, `left_out` says which runs are not shown, and why, and `ledger`
    what became of each video. `strips`: video -> its frames side by side, of the mistakes that are shown.
    """
    matplotlib.rcParams["svg.hashsalt"] = "tdn-data"  # the same results give the same bytes
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    )
    page = template.render(
        dataset=dataset,
        class_names=class_names,
        runs=runs,
        metric_names=metric_names,
        split=split,
        headline=_headline(runs),
        intervals={run.name: _interval_words(run) for run in runs},
        curves=[(CURVE_WORDS.get(name, name), _curve_plot(runs, name)) for name in _curve_names(runs)],
        confusions=[
            (run.name, _confusion_plot(run.confusion, class_names), worst_confusions(run.confusion, class_names))
            for run in runs
            if run.confusion is not None
        ],
        changes=_changes(runs, class_names),
        mistakes=_mistake_rows(runs, strips or {}),
        without_mistakes=[run.name for run in runs if not run.mistakes],
        pictured=bool(strips),
        costs=[run for run in runs if run.seconds],
        parameters=parameter_table({run.name: run.training for run in runs if run.training}),
        trained=[run.name for run in runs if run.training],
        ledger=ledger_table(ledger),
        decimal=decimal,
        ap_runs=[run.name for run in runs],
        ap_rows=_ap_rows(runs, class_names),
        samples=[(sample.caption, _png(sample.image)) for sample in samples],
        first_batches=[(run.name, _jpeg(run.first_batch)) for run in runs if run.first_batch is not None],
        explanations=[(f"{run.name}, {path.stem}", _jpeg(path)) for run in runs for path in run.explanations],
        beside=PUBLISHED.get(dataset),
        own_rows=_own_rows(runs, PUBLISHED.get(dataset)),
        num_published_classes=dataset_spec(dataset).num_classes or len(class_names),
        metric_words=METRIC_NAMES,
        fusions=_fusion_words(runs),
        made=[(run.name, run.made) for run in runs if run.made],
        left_out=left_out,
        facts=facts,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)


def _headline(runs: Sequence[RunResult]) -> str | None:
    """Return the sentence that compares TDN with TSN on RGB, None where one of them is absent."""
    rgb = [run for run in reversed(runs) if run.modality == "rgb" and "top1" in run.metrics]
    top1 = {run.network: run.metrics["top1"] for run in rgb}  # of several runs of a network the first
    if not {"tsn", "tdn"} <= set(top1):
        return None
    tdn, tsn = (f"{top1[name]:.1%}" for name in ("tdn", "tsn"))
    if tdn == tsn:
        return f"On RGB alone both networks reach {tdn} top-1, the Temporal Difference Network and TSN."
    more = "more" if top1["tdn"] > top1["tsn"] else "less"
    return (
        f"On RGB alone the Temporal Difference Network reaches {tdn} top-1, {more} than TSN, which averages the scores "
        f"of single frames: {tsn}."
    )


def _interval_words(run: RunResult) -> str:
    """Return the 95 % interval of a run's share of videos that are right, in percent; nothing without their number."""
    share = run.metrics.get("top1", run.metrics.get("hit1"))
    if share is None or not run.metrics.get("num_videos"):
        return ""
    low, high = share_interval(share, int(run.metrics["num_videos"]))
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _changes(runs: Sequence[RunResult], class_names: Sequence[str]) -> list[tuple[str, str, list]]:
    """Return (first, second, classes that change) of each modality's TSN, or first run, and each other run of it."""
    found = []
    for modality in LINES:
        own = [run for run in runs if run.modality == modality]
        first, *others = sorted(own, key=lambda run: not run.name.startswith("tsn")) or [None]
        for one in others:
            classes = changed_classes(first.per_class_ap, one.per_class_ap, class_names)
            found.append((first.name, one.name, classes))
    return [change for change in found if change[2]]


def _own_rows(runs: Sequence[RunResult], beside: Beside | None) -> list[Published]:
    """Return the runs as rows that stand beside the published ones: those that have one of their metrics."""
    if beside is None:
        return []
    rows = []
    for run in runs:
        shares = [run.metrics.get(name) for name in beside.metrics]
        numbers = tuple(None if share is None else 100 * share for share in shares)
        split = "" if run.list_split is None else f", list split {run.list_split}"
        if any(share is not None for share in shares):
            rows.append(Published(f"{run.name} ({run.network})", INPUT_WORDS[run.modality], numbers, f"here{split}"))
    return rows


def _mistake_rows(
    runs: Sequence[RunResult], strips: Mapping[str, np.ndarray]
) -> list[tuple[RunResult, list[tuple[Mistake, str | None]]]]:
    """Return for each run that errs its most certain mistakes, each with its frames, None where they are not here."""
    pictures = {video_id: _encoded(strip) for video_id, strip in strips.items()}
    return [
        (run, [(mistake, pictures.get(mistake.video_id)) for mistake in run.mistakes[:MAX_MISTAKES]])
        for run in runs
        if run.mistakes
    ]


def _fusion_words(runs: Sequence[RunResult]) -> list[str]:
    """Return how each fusion came about, by its own record, e.g. `tdn: tdn-rgb 1, tdn-flow 1.5, l1-normalised`."""
    words = []
    for run in (run for run in runs if "runs" in run.parameters):
        parts = ", ".join(f"{name} {weight:g}" for name, weight in run.parameters["runs"].items())
        way = {"l1": "l1-normalised", "softmax": "as probabilities"}.get(run.parameters.get("normalize"), "as they are")
        words.append(f"{run.name}: {parts}, {way}")
    return words


def _curve_names(runs: Sequence[RunResult]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in (run.curves or {})))


def _ap_rows(runs: Sequence[RunResult], class_names: Sequence[str]) -> list[tuple[str, list[float | None]]]:
    """Return (class, average precision per run), None where it is not defined."""
    columns = [run.per_class_ap for run in runs]
    return [
        (name, [None if np.isnan(column[index]) else float(column[index]) for column in columns])
        for index, name in enumerate(class_names)
    ]


def _curve_plot(runs: Sequence[RunResult], name: str) -> str:
    """Return an SVG of one quantity over the epochs, a line per run."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    colors = dict(zip(dict.fromkeys(run.network for run in runs), COLORS * 2, strict=False))
    for run in (run for run in runs if run.curves and name in run.curves):
        style = {"color": colors[run.network], "linestyle": LINES[run.modality], "linewidth": 1.8}
        values = np.asarray(run.curves[name], float) * (100 if name in IN_PERCENT else 1)
        marker = "o" if np.isnan(values).any() or len(values) == 1 else None  # no line shows such points
        known = ~np.isnan(values)
        axes.plot(np.flatnonzero(known) + 1, values[known], label=run.name, marker=marker, markersize=3, **style)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{name.replace('_', ' ')}{', percent' if name in IN_PERCENT else ''}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _confusion_plot(confusion: np.ndarray, class_names: Sequence[str]) -> str:
    """Return an SVG of a confusion matrix, rows normalised to the share of each actual class."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    few = len(class_names) <= 20
    if few:
        axes.set_xticks(range(len(class_names)), class_names, rotation=60, ha="right", fontsize=7)
        axes.set_yticks(range(len(class_names)), class_names, fontsize=7)
        for row, column in zip(*np.nonzero(confusion), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, int(confusion[row, column]), ha="center", va="center", fontsize=7, color=color)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("actual", fontsize=8)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _png(image: np.ndarray) -> str:
    return base64.b64encode(encode_image(image, codec="png")).decode()


def _jpeg(path: Path) -> str:
    return _encoded(read_image_file(path))


def _encoded(image: np.ndarray) -> str:
    """Return a picture as a JPEG, which is a quarter of a PNG's size, base64."""
    return base64.b64encode(encode_image(image, codec="jpeg", quality=85)).decode()
