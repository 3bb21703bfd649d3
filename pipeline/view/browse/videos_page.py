"""The page of many videos, by their pictures."""

from __future__ import annotations

from urllib.parse import urlencode

import numpy as np
import pyarrow.compute as pc

from tdn_data.pipeline.view.browse import charts
from tdn_data.pipeline.view.browse.filters import (
    SORTS,
    Filter,
)
from tdn_data.pipeline.view.browse.site import Moment, link, media_query

PER_PAGE = 48


def grid(moment: Moment, chosen: Filter, page: int) -> dict[str, object]:
    """Return one page of the videos that a filter keeps."""
    chosen = moment.with_run(chosen)
    places = moment.places(chosen, in_order=True)
    pages = max(-(-len(places) // PER_PAGE), 1)
    page = min(max(page, 1), pages)
    shown = places[(page - 1) * PER_PAGE : page * PER_PAGE]

    def address(number: int) -> str:
        return link("/videos", chosen.query(page=number if number > 1 else ""))

    numbers = sorted({1, 2, pages - 1, pages, *range(page - 2, page + 3)} & set(range(1, pages + 1)))
    return moment.frame(chosen, "videos") | {
        "title": "Videos",
        "count": len(places),
        "total": len(moment.videos),
        "cards": [_card(moment, place, chosen) for place in shown.tolist()],
        "pages": [(number, address(number)) for number in numbers],
        "number": page,
        "before": address(page - 1) if page > 1 else "",
        "after": address(page + 1) if page < pages else "",
        "first": (page - 1) * PER_PAGE + 1 if len(places) else 0,
        "last": (page - 1) * PER_PAGE + len(shown),
        "chosen": chosen,
        "choices": {
            "label": list(moment.videos.labelling.class_names),
            "split": charts.split_order(moment.videos),
            "status": list(moment.videos.status.names),
            "reason": sorted(moment.videos.reason.names),
            "run": list(moment.scored),
        },
        "sorts": {name: words for name, words in SORTS.items() if name != "loss" or moment.scored},
        "overview_href": link("/", chosen.query()),
    }


def _card(moment: Moment, place: int, chosen: Filter) -> dict[str, object]:
    videos, video_id = moment.videos, moment.videos.ids[place].as_py()
    run = moment.scored.get(chosen.run)
    facts = []
    if videos.num_rows(place):
        facts.append(f"{videos.num_rows(place):,} rows")
    if not np.isnan(moment.lengths.seconds[place]):
        facts.append(f"{moment.lengths.seconds[place]:.1f} s")
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


def suggestions(moment: Moment, video_id: str) -> list[tuple[str, str]]:
    """Return a few videos whose names have something in common with one that is not listed."""
    part = video_id.rpartition("/")[2].strip()[:40]
    if not part or not len(moment.videos):
        return []
    mask = pc.fill_null(pc.match_substring(moment.videos.ids, part, ignore_case=True), False)
    found = moment.videos.ids.filter(mask).slice(0, 5).to_pylist()
    return [(one, link("/video", urlencode({"id": one}))) for one in found]
