"""The page of one video: what the player, the ledger and the runs say of it."""

from __future__ import annotations

import contextlib
from urllib.parse import urlencode

import numpy as np

from tdn_data.pipeline.errors import PipelineError
from tdn_data.pipeline.view.browse.evaluated_runs import EvaluatedRun, pictures_of
from tdn_data.pipeline.view.browse.filters import (
    AddressError,
    Filter,
)
from tdn_data.pipeline.view.browse.site import MODALITY_WORDS, Moment, UnknownVideo, link, media_query

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


def video(moment: Moment, video_id: str, chosen: Filter) -> dict[str, object]:
    """Return one video's page; raise UnknownVideo for an identifier that is not listed."""
    chosen, videos = moment.with_run(chosen), moment.videos
    place = videos.place(video_id)
    if place is None:
        raise UnknownVideo(video_id)
    faults: list[str] = []
    ledger = [_ledger(moment, place, modality) for modality in videos.stored]
    return moment.frame(chosen, "video") | {
        "title": video_id,
        "id": video_id,
        "classes": [(name, link("/videos", Filter(label=name).query())) for name in _class_names(moment, place)],
        "split": videos.split[place],
        "status": videos.status[place] or "unknown",
        "neighbours": _neighbours(moment, place, chosen),
        "back": link("/videos", chosen.query()),
        "player": _player(moment, place, faults),
        "faults": faults,
        "ledger": ledger,
        "faulty": _merged([row for row in ledger if row["status"] in ("failed", "partial")]),
        "predictions": [_prediction(moment, place, run) for run in moment.runs.values() if run.scores is not None],
        "pictures": _explanations(moment, video_id),
        "media": media_query(video_id, videos.version),
    }


def _class_names(moment: Moment, place: int) -> list[str]:
    names = moment.videos.labelling.class_names
    return [names[label] for label in moment.videos.labels_of(place) if label < len(names)]


def _neighbours(moment: Moment, place: int, chosen: Filter) -> dict[str, object]:
    """Return the videos before and after one in the list that it was opened from."""
    with contextlib.suppress(AddressError):
        places = moment.places(chosen, in_order=True)
        where = np.flatnonzero(places == place)
        if len(where):
            number = int(where[0])
            before = places[number - 1] if number else None
            after = places[number + 1] if number + 1 < len(places) else None
            hrefs = {
                name: link("/video", urlencode({"id": moment.videos.ids[int(one)].as_py()}), chosen.query())
                for name, one in (("before", before), ("after", after))
                if one is not None
            }
            return {"number": number + 1, "count": len(places), **hrefs}
    return {}


def _player(moment: Moment, place: int, faults: list[str]) -> dict[str, object]:
    """Return what the player needs to begin: times and sizes of each modality; say in `faults` what is damaged."""
    found: dict[str, object] = {}
    for modality in moment.videos.stored:
        entry = moment.videos.entry(place, modality)
        if entry is None:
            continue
        try:
            times = moment.media.times(moment.videos, place, modality)
        except (PipelineError, OSError) as error:
            where = moment.videos.stored[modality].folder.storage.shown
            words = str(error).rstrip(".")
            faults.append(f"{words}; `tdn-data verify {where}` notes it, and the next `tdn-data extract` recreates it.")
            continue
        where = moment.videos.stored[modality].folder.storage.shown
        line = f"ShardReader({where!r}, modality={modality!r}).read({moment.videos.ids[place].as_py()!r}, rows="
        found[modality] = {"pts": np.round(times, 6).tolist(), "line": line}
    return found


def _ledger(moment: Moment, place: int, modality: str) -> dict[str, object]:
    """Return the ledger's words about one modality of a video."""
    stored = moment.videos.stored[modality]
    try:
        details = stored.folder.details_of(moment.videos.ids[place].as_py(), modality)
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
        motion, clipped = moment.videos.magnitude[place], moment.videos.clipped[place]
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


def _prediction(moment: Moment, place: int, run: EvaluatedRun) -> dict[str, object]:
    scores, names = run.scores, moment.videos.labelling.class_names
    own = set(moment.videos.labels_of(place))
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


def _explanations(moment: Moment, video_id: str) -> list[tuple[str, str, str]]:
    """Return (run, name, address) of the explanation pictures of a video."""
    return [
        (run.name, name, link("/media/picture", urlencode({"run": run.name, "name": name})))
        for run in moment.runs.values()
        for name in pictures_of(run, video_id)
    ]


def _merged(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return what went wrong, once where it is the same in both modalities."""
    found: dict[tuple, dict[str, object]] = {}
    for row in rows:
        key = row["status"], row["reason"], row["message"]
        first = found.setdefault(key, {**row, "modality": ""})
        first["modality"] = " and ".join(filter(None, (str(first["modality"]), str(row["modality"]))))
    return list(found.values())
