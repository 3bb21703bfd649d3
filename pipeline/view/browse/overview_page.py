"""The page of all videos in numbers."""

from __future__ import annotations

from urllib.parse import urlencode

import numpy as np
from rich.filesize import decimal

from tdn_data.pipeline.view.browse import charts
from tdn_data.pipeline.view.browse.filters import (
    Filter,
    numbers_of,
)
from tdn_data.pipeline.view.browse.site import MODALITY_WORDS, UNITS, Moment, link

MAX_SAME = 20  # files, and identifiers of one, that are named


def overview(moment: Moment, chosen: Filter) -> dict[str, object]:
    """Return the numbers of the videos that a filter keeps."""
    chosen, videos = moment.with_run(chosen), moment.videos
    seconds, splits = moment.seconds(), charts.split_order(videos)
    places = moment.places(chosen)

    def address(**changes: object) -> str:
        return link("/", chosen.query(**changes))

    hists = [
        _histogram(moment, "seconds", "Length", seconds, places, chosen, address),
        _histogram(moment, "frames", "Stored rows per video", seconds, places, chosen, address),
        _histogram(moment, "motion", "Motion: mean flow per step", seconds, places, chosen, address),
        _histogram(moment, "clipped", "Flow clipped at the bound", seconds, places, chosen, address),
    ]
    return moment.frame(chosen, "overview") | {
        "title": "Overview",
        "count": len(places),
        "total": len(videos),
        "tiles": _tiles(moment, places),
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
        "lengths_done": moment.lengths.done,
        "videos_href": link("/videos", chosen.query()),
        "same_files": _same_files(moment),
        "facts": _facts(moment),
    }


def _histogram(moment: Moment, name, title, seconds, places, chosen, address) -> charts.Histogram:
    numbers = numbers_of(moment.videos, name, seconds)
    flow = "the ledger does not say it of the flow" if "flow" in moment.videos.stored else "no flow is stored"
    none = {
        "seconds": "read from the shards' footers as you look" if not moment.lengths.done else "",
        "motion": f"{flow}, and motion is its mean length",
        "clipped": flow,
    }.get(name, "")
    return charts.histogram(
        name, title, UNITS[name], numbers[places], chosen, address, whole=name == "frames", none=none
    )


def _tiles(moment: Moment, places: np.ndarray) -> list[tuple[str, str]]:
    videos = moment.videos
    tiles = [("videos", f"{len(places):,}")]
    for modality, stored in videos.stored.items():
        words = {"rgb": "frames", "flow": "flow pairs"}[modality]
        tiles.append((words, f"{int(stored.num_rows[places].sum()):,}"))
    failed = np.count_nonzero(videos.status.mask("failed")[places])
    partial = np.count_nonzero(videos.status.mask("partial")[places])
    tiles += [
        ("classes", f"{len(videos.labelling.class_names):,}"),
        ("stored", decimal(int(videos.num_bytes[places].sum()))),
        ("partial", f"{partial:,}"),
        ("failed", f"{failed:,}"),
    ]
    return tiles


def _same_files(moment: Moment) -> dict[str, object]:
    """Return the files that are listed under several identifiers, the first of them with links."""
    videos, files = moment.videos, moment.same_files()

    def listed(place: int) -> tuple[str, str, str]:
        name = videos.ids[place].as_py()
        return name, videos.split[place] or "", link("/video", urlencode({"id": name}))

    shown = [[listed(place) for place in file.places[:MAX_SAME]] for file in files[:MAX_SAME]]
    return {"count": len(files), "in_two_splits": sum(file.in_two_splits for file in files), "shown": shown}


def _facts(moment: Moment) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return parameters and versions, by modality."""
    found = []
    for modality, stored in moment.videos.stored.items():
        folder = stored.folder
        lines = [(key, str(value)) for key, value in folder.parameters[modality].items() if value is not None]
        shards = [("shards", f"{len(stored.shard.names)} in {folder.storage.shown}")]
        found.append((MODALITY_WORDS[modality], shards + lines))
    versions = {f"made by {folder.producer}": "" for folder in moment.videos.folders if folder.producer}
    for folder in moment.videos.folders:
        versions |= {name: str(value) for name, value in folder.libraries.items()}
    return [*found, ("versions", list(versions.items()))]
