"""Tables of the report: intervals, confusions, changed classes, parameters that differ, what became of videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.stats import binomtest

from tdn_data.pipeline.shards.schema import LedgerRow


def share_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `count` videos (Wilson 1927), which is defined at 0 and 1, too.

    >>> low, high = share_interval(0.975, 120)
    >>> f"{low:.3f} to {high:.3f}"
    '0.929 to 0.991'
    """
    found = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def worst_confusions(
    confusion: np.ndarray, class_names: Sequence[str], *, count: int = 10
) -> list[tuple[str, str, int, int]]:
    """Return the most frequent mistakes, (actual, predicted, how often, of how many), of counts (C, C), rows actual.

    >>> worst_confusions(np.array([[3, 1], [0, 4]]), ("left", "right"))
    [('left', 'right', 1, 4)]
    """
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    places = [divmod(int(place), len(wrong)) for place in order if wrong.flat[place]]
    totals = confusion.sum(axis=1)
    return [(class_names[row], class_names[col], int(wrong[row, col]), int(totals[row])) for row, col in places]


def changed_classes(
    first: np.ndarray, second: np.ndarray, class_names: Sequence[str], *, count: int = 5
) -> list[tuple[str, float, float]]:
    """Return the classes whose average precision (C,) gains most and loses most: (class, first, second), gains first.

    >>> changed_classes(np.array([0.5, 0.9, 0.2]), np.array([0.8, 0.7, 0.2]), ("left", "right", "still"))
    [('left', 0.5, 0.8), ('right', 0.9, 0.7)]
    """
    gain = second - first
    order = [int(place) for place in np.argsort(-gain, kind="stable") if not np.isnan(gain[place])]
    gains = [place for place in order if gain[place] > 0][:count]
    losses = [place for place in order if gain[place] < 0][-count:]
    return [(class_names[place], float(first[place]), float(second[place])) for place in (*gains, *losses)]


def parameter_table(runs: Mapping[str, Mapping[str, object]]) -> tuple[str, list[tuple[str, list[str]]]]:
    """Return the parameters that are the same in all runs, in words, and of the others a row with each run's value.

    >>> parameter_table({"a": {"epochs": 8, "taps": None}, "b": {"epochs": 9, "taps": None}})
    ('taps –', [('epochs', ['8', '9'])])
    """
    names = list(dict.fromkeys(name for parameters in runs.values() for name in parameters))
    values = {name: [_shown(parameters.get(name)) for parameters in runs.values()] for name in names}
    same = ", ".join(f"{name} {shown[0]}" for name, shown in values.items() if len(set(shown)) == 1)
    return same, [(name, shown) for name, shown in values.items() if len(set(shown)) > 1]


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None else str(value)


def ledger_table(rows: Iterable[LedgerRow]) -> list[tuple[str, int, int, int, int, str]]:
    """Return a row for each modality: its name, videos that are ok, partial and failed, bytes stored, reasons."""
    by_modality: dict[str, list[LedgerRow]] = {}
    for row in rows:
        by_modality.setdefault(row.modality, []).append(row)
    table = []
    for modality, own in sorted(by_modality.items(), reverse=True):
        counts = Counter(row.status for row in own)
        reasons = Counter(row.reason for row in own if row.reason is not None)
        words = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in reasons.most_common())
        stored = sum(row.stored_bytes for row in own)
        table.append((modality, counts["ok"], counts["partial"], counts["failed"], stored, words or "–"))
    return table
