"""What each page shows, as plain data for its template."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pyarrow.compute as pc

from tdn_data.pipeline.errors import PipelineError
from tdn_data.pipeline.view.browse import charts
from tdn_data.pipeline.view.browse.filters import (
    RANGES,
    SORTS,
    AddressError,
    Filter,
    numbers_of,
    ordered,
    select,
)
from tdn_data.pipeline.view.browse.lengths import Lengths
from tdn_data.pipeline.view.browse.media import Media
from tdn_data.pipeline.view.browse.runs import Run, confusion, pictures_of, read_runs, state_of
from tdn_data.pipeline.view.browse.source import Source
from tdn_data.pipeline.view.browse.videos import Videos

PER_PAGE = 48
SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_FOR_LENGTHS = 0.5  # that a page waits for lengths before it shows those that are known
MAX_MATRIX = 60  # classes of a confusion matrix; of more, the most frequent pairs are listed
MAX_PAIRS = 15
HEAT = 9  # shades of a cell
UNITS = {"seconds": " s", "frames": "", "motion": " px", "clipped": " %"}
MODALITY_WORDS = {"rgb": "frames", "flow": "flow"}
CURVE_WORDS = {
    "loss": "loss on the training clips",
    "class_loss": "loss of the classes on the training clips",
    "flow_loss": "loss of the flow on the training clips",
    "accuracy": "accuracy on the training clips (not a test)",
    "validation_loss": "loss on the validation videos",
    "validation_accuracy": "accuracy on the validation videos",
    "validation_map": "mean average precision on the validation videos",
    "learning_rate": "learning rate",
}
METRIC_WORDS = {"top1": "top-1", "top5": "top-5", "hit1": "hit@1", "hit5": "hit@5", "mAP": "mAP"}
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
REASON_WORDS = {  # the ledger's words -> what happened, and what helps
    "missing": "The file is not where the list says. Put it there, or correct the list, and extract again.",
    "unreadable": "The file is there, but is no video container that can be opened. Fetch it again.",
    "unsupported": "A playlist, a codec or a kind of file that is not read here. Convert it to a usual video file.",
    "no_video_stream": "The file holds sound or data, and no pictures.",
    "truncated": "The file breaks off before its announced end. Fetch it again; what came before the break is stored.",
    "corrupt": "Some of its packets do not decode. Fetch it again; what decodes is stored.",
    "no_frames": "The file opens, and not one frame comes out of it.",
    "too_large": "It has more pixels, or needs more memory, than allowed. Raise --max-megapixels or --memory-limit.",
    "timeout": "Decoding did not end within the limit. Raise --timeout, and it is tried again.",
    "crashed": "The decoding process died. `--retry-failed` tries it again.",
}


class UnknownVideo(LookupError):
    """An identifier that no list has."""


class Site:
    """Everything that pages are made of: the videos, the runs, and what is read of them on the way."""

    def __init__(self, path: str, roots: Sequence[Path] = ()) -> None:
        self.source, self.media, self._roots = Source(path), Media(), tuple(roots)
        self._lock = threading.Lock()
        self._lengths: tuple[str, Lengths] | None = None
        self._runs: tuple[object, dict[str, Run]] | None = None
        self._looked = 0.0

    def now(self) -> View:
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
            return View(videos, self._lengths[1], self._runs[1], self.media, self.source.shown, self._roots)


@dataclass(frozen=True)
class View:
    """The videos, lengths and runs of one moment, and the pages of them."""

    videos: Videos
    lengths: Lengths
    runs: Mapping[str, Run]
    media: Media
    location: str
    roots: tuple[Path, ...]

    @cached_property
    def scored(self) -> dict:
        """Run -> its scores on the videos, of the runs that have them."""
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

    # pages

    def overview(self, chosen: Filter) -> dict[str, object]:
        """Return the numbers of the videos that a filter keeps."""
        chosen, videos = self.with_run(chosen), self.videos
        seconds, splits = self.seconds(), charts.split_order(videos)
        places = self.places(chosen)

        def address(**changes: object) -> str:
            return link("/", chosen.query(**changes))

        hists = [
            self._histogram("seconds", "Length", seconds, places, chosen, address),
            self._histogram("frames", "Stored rows per video", seconds, places, chosen, address),
            self._histogram("motion", "Motion: mean flow per step", seconds, places, chosen, address),
            self._histogram("clipped", "Flow clipped at the bound", seconds, places, chosen, address),
        ]
        return self.frame(chosen, "overview") | {
            "title": "Overview",
            "count": len(places),
            "total": len(videos),
            "tiles": self._tiles(places),
            "classes": charts.class_rows(videos, places, chosen, address),
            "num_classes": len(videos.labelling.class_names),
            "max_classes": charts.MAX_CLASSES,
            "splits": splits,
            "bars": [
                ("Split", charts.word_bars(videos.split, places, "split", chosen, address, colours=splits)),
                ("Status", charts.word_bars(videos.status, places, "status", chosen, address)),
                ("Failures by reason", charts.word_bars(videos.reason, places, "reason", chosen, address)),
            ],
            "histograms": hists,
            "lengths_done": self.lengths.done,
            "videos_href": link("/videos", chosen.query()),
            "facts": self._facts(),
        }

    def _histogram(self, name, title, seconds, places, chosen, address) -> charts.Histogram:
        numbers = numbers_of(self.videos, name, seconds)
        none = {
            "seconds": "read from the shards' footers as you look" if not self.lengths.done else "",
            "motion": "no flow is stored, and motion is its mean length",
            "clipped": "no flow is stored",
        }.get(name, "")
        return charts.histogram(
            name, title, UNITS[name], numbers[places], chosen, address, whole=name == "frames", none=none
        )

    def _tiles(self, places: np.ndarray) -> list[tuple[str, str]]:
        videos = self.videos
        tiles = [("videos", f"{len(places):,}")]
        for modality, stored in videos.stored.items():
            words = {"rgb": "frames", "flow": "flow pairs"}[modality]
            tiles.append((words, f"{int(stored.num_rows[places].sum()):,}"))
        failed = np.count_nonzero(videos.status.mask("failed")[places])
        partial = np.count_nonzero(videos.status.mask("partial")[places])
        tiles += [
            ("classes", f"{len(videos.labelling.class_names):,}"),
            ("stored", size_words(int(videos.num_bytes[places].sum()))),
            ("partial", f"{partial:,}"),
            ("failed", f"{failed:,}"),
        ]
        return tiles

    def _facts(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return parameters and versions, by modality."""
        found = []
        for modality, stored in self.videos.stored.items():
            folder = stored.folder
            lines = [(key, str(value)) for key, value in folder.parameters[modality].items() if value is not None]
            shards = [("shards", f"{len(stored.shard.names)} in {folder.storage.shown}")]
            found.append((MODALITY_WORDS[modality], shards + lines))
        versions = {f"made by {folder.producer}": "" for folder in self.videos.folders if folder.producer}
        for folder in self.videos.folders:
            versions |= {name: str(value) for name, value in folder.libraries.items()}
        return [*found, ("versions", list(versions.items()))]

    def grid(self, chosen: Filter, page: int) -> dict[str, object]:
        """Return one page of the videos that a filter keeps."""
        chosen = self.with_run(chosen)
        places = self.places(chosen, in_order=True)
        pages = max(-(-len(places) // PER_PAGE), 1)
        page = min(max(page, 1), pages)
        shown = places[(page - 1) * PER_PAGE : page * PER_PAGE]

        def address(number: int) -> str:
            return link("/videos", chosen.query(page=number if number > 1 else ""))

        numbers = sorted({1, 2, pages - 1, pages, *range(page - 2, page + 3)} & set(range(1, pages + 1)))
        return self.frame(chosen, "videos") | {
            "title": "Videos",
            "count": len(places),
            "total": len(self.videos),
            "cards": [self._card(place, chosen) for place in shown.tolist()],
            "pages": [(number, address(number)) for number in numbers],
            "number": page,
            "before": address(page - 1) if page > 1 else "",
            "after": address(page + 1) if page < pages else "",
            "first": (page - 1) * PER_PAGE + 1 if len(places) else 0,
            "last": (page - 1) * PER_PAGE + len(shown),
            "chosen": chosen,
            "choices": {
                "label": list(self.videos.labelling.class_names),
                "split": charts.split_order(self.videos),
                "status": list(self.videos.status.names),
                "reason": sorted(self.videos.reason.names),
                "run": list(self.scored),
            },
            "sorts": {name: words for name, words in SORTS.items() if name != "loss" or self.scored},
            "overview_href": link("/", chosen.query()),
        }

    def _card(self, place: int, chosen: Filter) -> dict[str, object]:
        videos, video_id = self.videos, self.videos.ids[place].as_py()
        run = self.scored.get(chosen.run)
        facts = []
        if videos.num_rows(place):
            facts.append(f"{videos.num_rows(place):,} rows")
        if not np.isnan(self.lengths.seconds[place]):
            facts.append(f"{self.lengths.seconds[place]:.1f} s")
        if not np.isnan(videos.magnitude[place]):
            facts.append(f"{videos.magnitude[place]:.2f} px")
        card = {
            "id": video_id,
            "href": link("/video", urlencode({"id": video_id}), chosen.query()),
            "classes": videos.class_words(place),
            "split": videos.split[place],
            "status": videos.status[place] or "unknown",
            "reason": videos.reason[place] or "",
            "facts": ", ".join(facts),
            "has_picture": videos.num_rows(place) > 0,
            "media": media_query(video_id, videos.version),
        }
        if run is not None and run.predicted[place] >= 0:
            card["predicted"] = videos.labelling.class_names[run.predicted[place]]
            card["right"] = bool(run.right[place])
            card["loss"] = f"{run.loss[place]:.2f}"
        return card

    def video(self, video_id: str, chosen: Filter) -> dict[str, object]:
        """Return one video's page; raise UnknownVideo for an identifier that is not listed."""
        chosen, videos = self.with_run(chosen), self.videos
        place = videos.place(video_id)
        if place is None:
            raise UnknownVideo(video_id)
        faults: list[str] = []
        ledger = [self._ledger(place, modality) for modality in videos.stored]
        return self.frame(chosen, "video") | {
            "title": video_id,
            "id": video_id,
            "classes": [(name, link("/videos", Filter(label=name).query())) for name in self._class_names(place)],
            "split": videos.split[place],
            "status": videos.status[place] or "unknown",
            "neighbours": self._neighbours(place, chosen),
            "back": link("/videos", chosen.query()),
            "player": self._player(place, faults),
            "faults": faults,
            "ledger": ledger,
            "faulty": _merged([row for row in ledger if row["status"] in ("failed", "partial")]),
            "predictions": [self._prediction(place, run) for run in self.runs.values() if run.scores is not None],
            "pictures": self._explanations(video_id),
            "media": media_query(video_id, videos.version),
        }

    def _class_names(self, place: int) -> list[str]:
        names = self.videos.labelling.class_names
        return [names[label] for label in self.videos.labels_of(place) if label < len(names)]

    def _neighbours(self, place: int, chosen: Filter) -> dict[str, object]:
        """Return the videos before and after one in the list that it was opened from."""
        with contextlib.suppress(AddressError):
            places = self.places(chosen, in_order=True)
            where = np.flatnonzero(places == place)
            if len(where):
                number = int(where[0])
                before = places[number - 1] if number else None
                after = places[number + 1] if number + 1 < len(places) else None
                hrefs = {
                    name: link("/video", urlencode({"id": self.videos.ids[int(one)].as_py()}), chosen.query())
                    for name, one in (("before", before), ("after", after))
                    if one is not None
                }
                return {"number": number + 1, "count": len(places), **hrefs}
        return {}

    def _player(self, place: int, faults: list[str]) -> dict[str, object]:
        """Return what the player needs to begin: times and sizes of each modality; say in `faults` what is damaged."""
        found: dict[str, object] = {}
        for modality in self.videos.stored:
            entry = self.videos.entry(place, modality)
            if entry is None:
                continue
            try:
                times = self.media.times(self.videos, place, modality)
            except (PipelineError, OSError) as error:
                where = self.videos.stored[modality].folder.storage.shown
                words = str(error).rstrip(".")
                faults.append(
                    f"{words}; `tdn-data verify {where}` notes it, and the next `tdn-data extract` recreates it."
                )
                continue
            where = self.videos.stored[modality].folder.storage.shown
            line = f"ShardReader({where!r}, modality={modality!r}).read({self.videos.ids[place].as_py()!r}, rows="
            found[modality] = {"pts": np.round(times, 6).tolist(), "line": line}
        return found

    def _ledger(self, place: int, modality: str) -> dict[str, object]:
        """Return the ledger's words about one modality of a video."""
        stored = self.videos.stored[modality]
        try:
            details = stored.folder.details_of(self.videos.ids[place].as_py(), modality)
        except (PipelineError, OSError) as error:
            details = {"message": str(error)}
        expected = stored.num_expected[place]
        reason = stored.reason[place]
        lines = [
            ("file", details.get("path")),
            ("stored", f"{int(stored.num_rows[place]):,} of {expected:,.0f} rows" if not np.isnan(expected) else None),
            (
                "shard",
                f"{stored.shard[place]}, row group {int(stored.row_group[place])}" if stored.shard[place] else None,
            ),
            ("decoding", details.get("decoding")),
            ("splits of the lists", ", ".join(str(one) for one in details.get("list_splits") or ()) or None),
            ("limits", details.get("limits")),
            ("made by", details.get("made_by")),
        ]
        if modality == "flow":
            motion, clipped = self.videos.magnitude[place], self.videos.clipped[place]
            lines += [("mean flow", None if np.isnan(motion) else f"{motion:.3f} pixels per step")]
            lines += [("clipped", None if np.isnan(clipped) else f"{clipped:.2%} of the vectors")]
        return {
            "modality": MODALITY_WORDS[modality],
            "status": stored.status[place] or "unknown",
            "reason": reason,
            "meaning": REASON_WORDS.get(reason or "", ""),
            "message": details.get("message"),
            "lines": [(name, value) for name, value in lines if value],
        }

    def _prediction(self, place: int, run: Run) -> dict[str, object]:
        scores, names = run.scores, self.videos.labelling.class_names
        own = set(self.videos.labels_of(place))
        best = [
            (names[number], float(share), number in own)
            for number, share in zip(scores.top[place].tolist(), scores.shares[place].tolist(), strict=True)
            if number >= 0
        ]
        return {
            "run": run.name,
            "href": link("/run", urlencode({"name": run.name})),
            "best": best,
            "right": bool(scores.right[place]) if best else None,
            "loss": f"{scores.loss[place]:.3f}" if not np.isnan(scores.loss[place]) else "",
            "fused": run.modality == "fusion",
        }

    def _explanations(self, video_id: str) -> list[tuple[str, str, str]]:
        """Return (run, name, address) of the explanation pictures of a video."""
        return [
            (run.name, name, link("/media/picture", urlencode({"run": run.name, "name": name})))
            for run in self.runs.values()
            for name in pictures_of(run, video_id)
        ]

    def all_runs(self) -> dict[str, object]:
        """Return the page of all runs."""
        runs = list(self.runs.values())
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
        scored = list(self.scored)
        return self.frame(Filter(), "runs") | {
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
            "names": list(self.runs),
            "scored": scored,
            "roots": [str(root) for root in self.roots],
        }

    def one_run(self, name: str) -> dict[str, object]:
        """Return one run's page."""
        run = self._known(name)
        counts = confusion(run, self.videos)
        class_names = self.videos.labelling.class_names
        matrix = counts if counts is not None and len(class_names) <= MAX_MATRIX else None
        return self.frame(Filter(run=name), "run") | {
            "title": name,
            "run": run,
            "metrics": [(METRIC_WORDS[key], run.metrics[key]) for key in METRIC_WORDS if key in run.metrics],
            "num_videos": run.metrics.get("num_videos"),
            "results": self._results(run),
            "matrix": self._matrix(run, matrix) if matrix is not None else [],
            "pairs": self._pairs(run, counts) if counts is not None else [],
            "class_names": class_names,
            "precision": sorted(run.average_precision.items(), key=lambda pair: (np.isnan(pair[1]), pair[1])),
            "curves": [charts.curves(CURVE_WORDS.get(key, key), [(key, 0, line)]) for key, line in run.curves.items()],
            "records": [
                (words, _record_lines(record))
                for words, record in (("trained", run.training), ("tested", run.record))
                if record
            ],
            "multi_label": self.videos.labelling.multi_label,
        }

    def _known(self, name: str) -> Run:
        if name not in self.runs:
            known = f"those here are {', '.join(self.runs)}" if self.runs else "there is none here"
            raise AddressError(f"no evaluated run is called {name!r}; {known}")
        return self.runs[name]

    def _results(self, run: Run) -> list[tuple[str, int, str]]:
        """Return how many videos were right and wrong, with the address that shows them."""
        if run.scores is None:
            return []
        return [
            (result, int(np.count_nonzero(run.scores.right == number)), _result_link(run, result))
            for result, number in (("right", 1), ("wrong", 0))
        ]

    def _cell(self, run: Run, actual: int, predicted: int) -> str:
        """Return the address of the videos behind a cell, nothing where they are not known."""
        if run.scores is None:
            return ""
        names = self.videos.labelling.class_names
        return link("/videos", Filter(label=names[actual], run=run.name, predicted=names[predicted]).query())

    def _matrix(self, run: Run, counts: np.ndarray) -> list[tuple[str, list[dict[str, object]]]]:
        names = self.videos.labelling.class_names
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
                        "href": self._cell(run, actual, guess) if counts[actual, guess] else "",
                    }
                    for guess in range(len(names))
                ],
            )
            for actual in range(len(names))
            if counts[actual].any()
        ]

    def _pairs(self, run: Run, counts: np.ndarray) -> list[dict[str, object]]:
        """Return the pairs of classes that are taken for one another most."""
        names, wrong = self.videos.labelling.class_names, counts.copy()
        np.fill_diagonal(wrong, 0)
        flat = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
        found = [(int(one) // len(names), int(one) % len(names)) for one in flat]
        return [
            {"actual": names[a], "predicted": names[b], "count": int(wrong[a, b]), "href": self._cell(run, a, b)}
            for a, b in found
            if wrong[a, b]
        ]

    def compare(self, a: str, b: str) -> dict[str, object]:
        """Return two runs side by side."""
        one, two = self._known(a), self._known(b)
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
        return self.frame(Filter(), "compare") | {
            "title": f"{a} and {b}",
            "one": one,
            "two": two,
            "rows": rows,
            "classes": sorted(classes, key=lambda row: -abs(np.nan_to_num(row[2] - row[1]))),
            "agreement": self._agreement(one, two),
            "curves": drawn,
            "names": list(self.runs),
        }

    def _agreement(self, one: Run, two: Run) -> list[tuple[str, str, int, str]]:
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

    def suggestions(self, video_id: str) -> list[tuple[str, str]]:
        """Return a few videos whose names have something in common with one that is not listed."""
        part = video_id.rpartition("/")[2].strip()[:40]
        if not part or not len(self.videos):
            return []
        mask = pc.fill_null(pc.match_substring(self.videos.ids, part, ignore_case=True), False)
        found = self.videos.ids.filter(mask).slice(0, 5).to_pylist()
        return [(one, link("/video", urlencode({"id": one}))) for one in found]


def _result_link(run: Run, result: str) -> str:
    return link("/videos", Filter(run=run.name, result=result, sort="loss").query())


def _merged(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return what went wrong, once where it is the same in both modalities."""
    found: dict[tuple, dict[str, object]] = {}
    for row in rows:
        key = row["status"], row["reason"], row["message"]
        first = found.setdefault(key, {**row, "modality": ""})
        first["modality"] = " and ".join(filter(None, (str(first["modality"]), str(row["modality"]))))
    return list(found.values())


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


def link(path: str, *queries: str) -> str:
    """Return an address of a page."""
    query = "&".join(filter(None, queries))
    return f"{path}?{query}" if query else path


def media_query(video_id: str, version: str) -> str:
    """Return the part of an address that names a video as it is now: after a change, other bytes are asked for."""
    return urlencode({"id": video_id, "v": version})


def size_words(num_bytes: float) -> str:
    """Return bytes with a unit that a person reads: 512 B, 3.2 MB.

    >>> size_words(512), size_words(3_200_000)
    ('512 B', '3.2 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
