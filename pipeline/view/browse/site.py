"""What pages are made of: the videos, lengths and runs of one moment, and what stands on every page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

from tdn_data.pipeline.view.browse.evaluated_runs import EvaluatedRun, read_runs, state_of
from tdn_data.pipeline.view.browse.filters import (
    RANGES,
    Filter,
    ordered,
    select,
)
from tdn_data.pipeline.view.browse.lengths import Lengths
from tdn_data.pipeline.view.browse.media import Media
from tdn_data.pipeline.view.browse.same_files import SameFile, same_files
from tdn_data.pipeline.view.browse.video_columns import Videos
from tdn_data.pipeline.view.browse.watched import VideoSource

SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_FOR_LENGTHS = 0.5  # that a page waits for lengths before it shows those that are known
MODALITY_WORDS = {"rgb": "frames", "flow": "flow"}
UNITS = {"seconds": " s", "frames": "", "motion": " px", "clipped": " %"}
CHIP_WORDS = {
    "q": "name has",
    "label": "class",
    "split": "split",
    "status": "status",
    "reason": "reason",
    "run": "run",
    "result": "result",
    "predicted": "predicted",
    "other": "other run",
    "other_result": "its result",
    **RANGES,
}


class UnknownVideo(LookupError):
    """An identifier that no list has."""


class Site:
    """Everything that pages are made of: the videos, the runs, and what is read of them on the way."""

    def __init__(self, path: str, roots: Sequence[Path] = ()) -> None:
        self.source, self.media, self._roots = VideoSource(path), Media(), tuple(roots)
        self._lock = threading.Lock()
        self._lengths: tuple[str, Lengths] | None = None
        self._runs: tuple[object, dict[str, EvaluatedRun]] | None = None
        self._same: tuple[str, tuple[SameFile, ...]] | None = None
        self._looked = 0.0

    def now(self) -> Moment:
        """Return all that is known now; it does not change while a page is made of it."""
        videos = self.source.fresh()
        with self._lock:
            if self._lengths is None or self._lengths[0] != videos.version:
                self._lengths = videos.version, Lengths(videos)
            key = self._runs[0] if self._runs else None
            if key is None or key[0] != videos.version or time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
                state = (videos.version, state_of(self._roots))
                if state != key:
                    self._runs = state, read_runs(self._roots, videos)
                self._looked = time.monotonic()
            return Moment(
                videos, self._lengths[1], self._runs[1], self.media, self.source.shown, self._roots, self._same_files
            )

    def _same_files(self, videos: Videos) -> tuple[SameFile, ...]:
        """Return the files that are listed more than once, found when a page first asks."""
        if self._same is None or self._same[0] != videos.version:
            self._same = videos.version, same_files(videos)
        return self._same[1]


@dataclass(frozen=True)
class Moment:
    """The videos, lengths and runs of one moment, and the pages of them."""

    videos: Videos
    lengths: Lengths
    runs: Mapping[str, EvaluatedRun]
    media: Media
    location: str
    roots: tuple[Path, ...]
    find_same_files: Callable[[Videos], tuple[SameFile, ...]]

    def same_files(self) -> tuple[SameFile, ...]:
        """Return the files that are listed under several identifiers."""
        return self.find_same_files(self.videos)

    @cached_property
    def scored(self) -> dict:
        """EvaluatedRun -> its scores on the videos, of the runs that have them."""
        return {name: run.scores for name, run in self.runs.items() if run.scores is not None}

    def seconds(self) -> np.ndarray:
        """Return how long the videos are, as far as that is known by now."""
        return self.lengths.ask(wait_seconds=SECONDS_FOR_LENGTHS)

    def with_run(self, chosen: Filter) -> Filter:
        """Return the filter with a run, where it asks about results and names none."""
        first = next(iter(self.scored), "")
        asks = chosen.result or chosen.predicted or chosen.sort == "loss"
        return chosen if chosen.run or not asks else Filter(**{**chosen.__dict__, "run": first})

    def places(self, chosen: Filter, *, in_order: bool = False) -> np.ndarray:
        """Return the places of the videos that a filter keeps."""
        needs_seconds = bool(chosen.seconds) or chosen.sort == "seconds"
        seconds = self.seconds() if needs_seconds else self.lengths.seconds
        found = select(self.videos, chosen, seconds, self.scored)
        return ordered(found, self.videos, chosen, seconds, self.scored) if in_order else found

    def frame(self, chosen: Filter, page: str) -> dict[str, object]:
        """Return what stands on every page."""
        return {
            "page": page,
            "dataset": self.videos.labelling.dataset or "shards",
            "location": self.location,
            "notices": self.videos.notices,
            "query": chosen.query(),
            "chips": self._chips(chosen, page),
            "version": self.videos.version,
        }

    def _chips(self, chosen: Filter, page: str) -> list[dict[str, str]]:
        target = {"overview": "/", "videos": "/videos"}.get(page, "/videos")
        chips = []
        for name, value in chosen.chosen():
            unit = UNITS.get(name, "")
            words = value.replace("..", " to ") + unit if name in RANGES else value
            changes = {name: ""}
            if name == "run":
                changes |= {"result": "", "predicted": ""}
            chips.append({"words": f"{CHIP_WORDS[name]} {words}", "href": link(target, chosen.query(**changes))})
        return chips


def link(path: str, *queries: str) -> str:
    """Return an address of a page."""
    query = "&".join(filter(None, queries))
    return f"{path}?{query}" if query else path


def media_query(video_id: str, version: str) -> str:
    """Return the part of an address that names a video as it is now: after a change, other bytes are asked for."""
    return urlencode({"id": video_id, "v": version})
