"""Numbers as bars and lines: what a template draws, with the address that a click leads to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from tdn_data.pipeline.view.browse.filters import Filter
from tdn_data.pipeline.view.browse.video_columns import Videos, Words

MAX_BARS = 24
MAX_CLASSES = 300  # rows of the chart of classes; more are found through the list of classes
STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Bar:
    """One bar: `start` and `share` are percent of the chart's length, `href` what a click shows."""

    label: str
    count: int
    share: float
    href: str
    start: float = 0.0
    chosen: bool = False
    series: int = 0


@dataclass(frozen=True)
class ClassRow:
    """One class: its bar is made of a part for each split."""

    label: str
    count: int
    href: str
    parts: tuple[Bar, ...]
    chosen: bool = False


@dataclass(frozen=True)
class Histogram:
    """Videos by a number of theirs. `words` sum it up; without bars they say why there are none."""

    name: str
    title: str
    unit: str
    bars: tuple[Bar, ...]
    words: str
    low: str = ""
    high: str = ""
    reset: str = ""  # where a range is chosen: the address without it


Address = Callable[..., str]  # changes of the filter -> address


def word_bars(
    column: Words,
    places: np.ndarray,
    name: str,
    chosen: Filter,
    address: Address,
    *,
    colours: Sequence[str] = (),
) -> list[Bar]:
    """Return a bar for each word of a column, most frequent first; a click chooses it, one more lets it go.

    `colours`: the words in the order of their colours, where that is not the column's own.
    """
    series = list(colours or column.names)
    counts = np.bincount(column.codes[places][column.codes[places] >= 0], minlength=len(column.names))
    largest, now = max(int(counts.max(initial=0)), 1), getattr(chosen, name)
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda code: (-counts[code], column.names[code]))
    return [
        Bar(
            label=column.names[code],
            count=int(counts[code]),
            share=100 * counts[code] / largest,
            href=address(**{name: "" if now == column.names[code] else column.names[code]}),
            chosen=now == column.names[code],
            series=series.index(column.names[code]),
        )
        for code in order
    ]


def class_rows(videos: Videos, places: np.ndarray, chosen: Filter, address: Address) -> list[ClassRow]:
    """Return the classes that the videos have, by their numbers, or by their counts where there are many."""
    names, splits = videos.labelling.class_names, split_order(videos)
    keep = np.zeros(len(videos), bool)
    keep[places] = True
    parents = pc.list_parent_indices(videos.labels).to_numpy(zero_copy_only=False)
    values = videos.labels.flatten().to_numpy(zero_copy_only=False)
    inside = keep[parents] & (values < len(names)) & (videos.split.codes[parents] >= 0)
    codes = videos.split.codes[parents[inside]].astype(np.int64)
    counts = np.bincount(
        values[inside] * len(videos.split.names) + codes, minlength=len(names) * len(videos.split.names)
    )
    counts = counts.reshape(len(names), -1) if names else np.zeros((0, 0), np.int64)
    totals = counts.sum(1) if counts.size else np.zeros(len(names), np.int64)
    order = np.flatnonzero(totals)
    if len(order) > 30:
        order = order[np.argsort(-totals[order], kind="stable")][:MAX_CLASSES]
    largest = max(int(totals.max(initial=0)), 1)
    return [
        _class_row(names[one], counts[one], splits, videos.split, largest, chosen, address) for one in order.tolist()
    ]


def split_order(videos: Videos) -> list[str]:
    """Return the splits: train, val and test first, as the parts of a bar and its key have them."""
    usual = ("train", "val", "validation", "test")
    return sorted(videos.split.names, key=lambda name: (usual.index(name) if name in usual else 9, name))


def _class_row(name: str, counts, splits, column: Words, largest: int, chosen: Filter, address: Address) -> ClassRow:
    start, parts = 0.0, []
    for series, split in enumerate(splits):
        count = int(counts[column.names.index(split)])
        if count:
            share = 100 * count / largest
            parts.append(
                Bar(split, count, share, address(label=name, split=split), start, chosen.split == split, series)
            )
            start += share
    is_chosen = chosen.label == name
    return ClassRow(name, int(counts.sum()), address(label="" if is_chosen else name), tuple(parts), is_chosen)


def histogram(
    name: str, title: str, unit: str, numbers: np.ndarray, chosen: Filter, address: Address, *, whole=False, none=""
) -> Histogram:
    """Return videos by a number, over at most `MAX_BARS` steps of a round width; NaN stands for an unknown number."""
    known = numbers[np.isfinite(numbers)]
    reset = address(**{name: ""}) if getattr(chosen, name) else ""
    if not len(known):
        return Histogram(name, title, unit, (), none or "not known of these videos", reset=reset)
    edges = nice_edges(float(known.min()), float(known.max()), whole=whole)
    counts = np.bincount(
        np.clip(np.searchsorted(edges, known, side="right") - 1, 0, len(edges) - 2), minlength=len(edges) - 1
    )
    largest = max(int(counts.max()), 1)
    bars = tuple(
        Bar(
            label=_span(edges[number], edges[number + 1], unit, whole),
            count=int(count),
            share=max(100 * count / largest, 1.5) if count else 0.0,
            href=address(**{name: f"{edges[number]:.10g}..{edges[number + 1]:.10g}"}),
            start=number,
        )
        for number, count in enumerate(counts.tolist())
    )
    middle = f"median {short(float(np.median(known)))}{unit}"
    missing = len(numbers) - len(known)
    words = middle + (f"; not known of {missing:,} video{'s' * (missing > 1)}" if missing else "")
    high = edges[-1] - 1 if whole else edges[-1]
    return Histogram(name, title, unit, bars, words, short(edges[0]) + unit, short(high) + unit, reset)


def nice_edges(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return rising ends of steps of one round width, from at most `low` to above `high`.

    >>> nice_edges(0, 9, whole=True)[:3], nice_edges(0.0, 0.0)
    ([0.0, 1.0, 2.0], [0.0, 1.0])
    """
    width = _nice_width(max(high - low, 0.0) / (MAX_BARS - 1) or 1.0)
    width = max(math.ceil(width), 1) if whole else width
    first = math.floor(low / width + 1e-9)
    last = math.floor(high / width + 1e-9) + 1
    return [float(f"{number * width:.10g}") for number in range(first, last + 1)]


def _nice_width(width: float) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in STEPS if step * power >= width * (1 - 1e-9))


def _span(low: float, high: float, unit: str, whole: bool) -> str:
    if whole and high - low == 1:
        return f"{short(low)}{unit}"
    return f"{short(low)} to {short(high - 1 if whole else high)}{unit}"


def short(value: float) -> str:
    """Return a number in few digits.

    >>> short(12345.0), short(0.123456), short(3.0)
    ('12,345', '0.123', '3')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


@dataclass(frozen=True)
class Line:
    """One curve: `points` in a box of 100 by 100, as SVG writes them."""

    label: str
    points: str
    last: str
    series: int


@dataclass(frozen=True)
class CurveChart:
    """Lines over the same epochs, `first` to `last`; `low` and `high` are the ends of the upright axis."""

    title: str
    lines: tuple[Line, ...]
    low: str
    high: str
    first: str
    last: str


def curves(title: str, values: Sequence[tuple[str, int, Sequence[tuple[float, float]]]]) -> CurveChart:
    """Return curves (label, series, [(step, value), ...]) in one chart; each has at least one point."""
    points = np.array([point for _, _, line in values for point in line])
    (first, low), (last, high) = points.min(0), points.max(0)
    low, width, height = min(low, 0.0) if low >= 0 else low, max(last - first, 1e-9), 1.0
    height = max(high - low, 1e-12)
    lines = [
        Line(
            label,
            " ".join(f"{100 * (x - first) / width:.2f},{100 - 100 * (y - low) / height:.2f}" for x, y in line),
            short(line[-1][1]),
            series,
        )
        for label, series, line in values
    ]
    return CurveChart(title, tuple(lines), short(low), short(high), short(first), short(last))
