"""Which videos are shown, and in which order: read from an address, and written into one again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tdn_data.pipeline.view.browse.video_columns import Videos

if TYPE_CHECKING:
    from tdn_data.pipeline.view.browse.evaluated_runs import RunOnVideos

RANGES = {"seconds": "length", "frames": "frames", "motion": "motion", "clipped": "clipped flow"}
SORTS = {
    "id": "name",
    "seconds": "length, longest first",
    "motion": "motion, most first",
    "clipped": "clipped flow, most first",
    "bytes": "size, largest first",
    "loss": "loss in the run, largest first",
}
RESULTS = ("right", "wrong")
MAX_TEXT = 2000  # letters in one part of an address


class AddressError(ValueError):
    """An address that says something no page knows; the message says what is allowed."""


@dataclass(frozen=True)
class Filter:
    """What the address asks for; an empty text asks for nothing. Ranges are `low..high`, the upper end left out.

    `run` is the run that `result` and `predicted` are about, `other` a second one for `other_result`.
    """

    q: str = ""
    label: str = ""
    split: str = ""
    status: str = ""
    reason: str = ""
    seconds: str = ""
    frames: str = ""
    motion: str = ""
    clipped: str = ""
    run: str = ""
    result: str = ""
    predicted: str = ""
    other: str = ""
    other_result: str = ""
    sort: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Filter:
        """Return the filter of an address; raise AddressError for a value that none can have."""
        found = {field.name: query.get(field.name, "") for field in fields(cls)}
        for name, value in found.items():
            if len(value) > MAX_TEXT:
                raise AddressError(f"{name} has {len(value)} letters; at most {MAX_TEXT} are read")
        for name in ("result", "other_result"):
            if found[name] not in ("", *RESULTS):
                raise AddressError(f"{name} is {found[name]!r}; it can be right or wrong")
        if found["sort"] not in ("", *SORTS):
            raise AddressError(f"sort is {found['sort']!r}; it can be {', '.join(SORTS)}")
        for name in RANGES:
            if found[name]:
                ends_of(name, found[name])
        return cls(**found)

    def query(self, **changes: object) -> str:
        """Return the address's part after `?`, with changes; other names than the filter's come last."""
        own = {field.name for field in fields(self)}
        changed = replace(self, **{name: str(value) for name, value in changes.items() if name in own})
        parts = [(field.name, getattr(changed, field.name)) for field in fields(self)]
        parts += [(name, str(value)) for name, value in changes.items() if name not in own]
        return urlencode([(name, value) for name, value in parts if value not in ("", "None")])

    def chosen(self) -> list[tuple[str, str]]:
        """Return (name, value) of everything that leaves videos out."""
        pairs = [(field.name, getattr(self, field.name)) for field in fields(self)]
        silent = {
            "sort",
            *(() if self.result or self.predicted else ("run",)),
            *(() if self.other_result else ("other",)),
        }
        return [(name, value) for name, value in pairs if value and name not in silent]


def ends_of(name: str, text: str) -> tuple[float, float]:
    """Return the two ends of a range; raise AddressError for anything else."""
    low, dots, high = text.partition("..")
    try:
        ends = float(low or "-inf"), float(high or "inf")
    except ValueError:
        ends = (np.nan, np.nan)
    if not dots or not ends[0] <= ends[1]:
        raise AddressError(f"{name} is {text!r}; it must be two numbers with dots between, e.g. 0.5..2")
    return ends


def numbers_of(videos: Videos, name: str, seconds: np.ndarray) -> np.ndarray:
    """Return the numbers that a range is about, float64 (N,), NaN where a video has none."""
    if name == "frames":
        counts = next(iter(videos.stored.values())).num_rows if videos.stored else np.zeros(len(videos))
        for stored in videos.stored.values():
            counts = np.where(counts > 0, counts, stored.num_rows)
        return np.where(counts > 0, counts, np.nan).astype(float)
    if name == "seconds":
        return seconds
    if name == "motion":
        return videos.magnitude
    if name == "clipped":
        return 100 * videos.clipped  # percent
    return videos.num_bytes.astype(float)


def select(videos: Videos, chosen: Filter, seconds: np.ndarray, runs: Mapping[str, RunOnVideos]) -> np.ndarray:
    """Return the places of the videos that a filter keeps, rising; raise AddressError for a run that is not there."""
    keep = np.ones(len(videos), bool)
    if chosen.q:
        keep &= _truth(pc.match_substring(videos.ids, chosen.q, ignore_case=True))
    if chosen.label:
        keep &= _of_class(videos, chosen.label)
    for name, column in (("split", videos.split), ("status", videos.status), ("reason", videos.reason)):
        if getattr(chosen, name):
            keep &= column.mask(getattr(chosen, name))
    for name in RANGES:
        if getattr(chosen, name):
            low, high = ends_of(name, getattr(chosen, name))
            numbers = numbers_of(videos, name, seconds)
            keep &= (numbers >= low) & (numbers < high)
    for run, result in ((chosen.run, chosen.result), (chosen.other, chosen.other_result)):
        if result:
            keep &= _run(runs, run).right == RESULTS.index("wrong") - RESULTS.index(result)
    if chosen.predicted:
        names = videos.labelling.class_names
        number = names.index(chosen.predicted) if chosen.predicted in names else -2
        keep &= _run(runs, chosen.run).predicted == number
    return np.flatnonzero(keep)


def ordered(
    places: np.ndarray, videos: Videos, chosen: Filter, seconds: np.ndarray, runs: Mapping[str, RunOnVideos]
) -> np.ndarray:
    """Return places in the order that the filter asks for; largest first, unknown last, equal ones by name."""
    if chosen.sort in ("", "id"):
        return places
    numbers = _run(runs, chosen.run).loss if chosen.sort == "loss" else numbers_of(videos, chosen.sort, seconds)
    values = numbers[places]
    return places[np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")]


def _run(runs: Mapping[str, RunOnVideos], name: str) -> RunOnVideos:
    if name not in runs:
        known = f"those with scores are {', '.join(runs)}" if runs else "no run here has scores"
        raise AddressError(f"run is {name!r}; {known}")
    return runs[name]


def _of_class(videos: Videos, name: str) -> np.ndarray:
    keep = np.zeros(len(videos), bool)
    if name in videos.labelling.class_names:
        number = videos.labelling.class_names.index(name)
        values = videos.labels.flatten().to_numpy(zero_copy_only=False)
        parents = pc.list_parent_indices(videos.labels).to_numpy(zero_copy_only=False)
        keep[parents[values == number]] = True
    return keep


def _truth(found: pa.Array) -> np.ndarray:
    return pc.fill_null(found, False).to_numpy(zero_copy_only=False)
