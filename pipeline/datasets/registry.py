"""The data sets of videos, frames and flow that are known by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tdn_data.pipeline.datasets import (
    act,
    fcvid,
    flow_pairs,
    folder,
    hmdb51,
    kinetics,
    lists,
    something,
    sports1m,
    ucf101,
)
from tdn_data.pipeline.datasets.base import KINDS, DatasetSpec
from tdn_data.pipeline.datasets.listing import Listing, join_list_splits
from tdn_data.pipeline.errors import InputError

DATASETS: dict[str, DatasetSpec] = {
    "demo": folder.DEMO_SPEC,
    "folder": folder.SPEC,
    "lists": lists.VIDEO_SPEC,
    "frame-lists": lists.FRAME_SPEC,
    "fcvid": fcvid.SPEC,
    "hmdb51": hmdb51.SPEC,
    "ucf101": ucf101.SPEC,
    "act": act.SPEC,
    "kinetics400": kinetics.SPEC,
    "something-v1": something.V1_SPEC,
    "something-v1-packed": something.V1_PACKED_SPEC,
    "something-v2": something.V2_SPEC,
    "sports1m": sports1m.SPEC,
    "flying-chairs": flow_pairs.CHAIRS_SPEC,
    "sintel": flow_pairs.SINTEL_SPEC,
}


def dataset_spec(name: str, known: Mapping[str, DatasetSpec] = DATASETS) -> DatasetSpec:
    """Return the data set called `name`; raise InputError that lists the known ones."""
    if name not in known:
        raise InputError(f"unknown data set {name!r}; known data sets: {', '.join(known)}.", key=name)
    return known[name]


def require_kind(spec: DatasetSpec, kind: str) -> None:
    """Raise InputError that says whom the data set serves, unless it is of the kind that is asked for."""
    if spec.kind != kind:
        raise InputError(
            f"{spec.name} is a data set of {spec.kind}, not {KINDS[kind]}; it serves {spec.used_by}.", key=spec.name
        )


def read_dataset(name: str, root: Path, *, list_split: int | None = None) -> Any:
    """Read the lists of the data set `name` under `root`: a `Listing`, or what its kind gives (see `DatasetSpec`).

    `list_split` chooses among the train/test splits of a set that has several, from 1; None is the first.
    Raises InputError for an unknown name, a split that the set has not, and lists that are missing or wrong.
    """
    found = _read_lists(dataset_spec(name), Path(root), list_split)
    return found.settled() if isinstance(found, Listing) else found


def _read_lists(spec: DatasetSpec, root: Path, list_split: int | None) -> Any:
    """Return what the data set's reader gives of one of its train/test splits."""
    name = spec.name
    if spec.num_list_splits == 1:
        if list_split not in (None, 1):
            raise InputError(f"the list split is {list_split}; {name} has one split only.", key="list_split")
        return spec.read(root)
    chosen = 1 if list_split is None else list_split
    if chosen < 1 or (spec.num_list_splits is not None and chosen > spec.num_list_splits):
        allowed = f"1 to {spec.num_list_splits}" if spec.num_list_splits else "1 or more"
        raise InputError(f"the list split is {list_split}; {name} allows {allowed}.", key="list_split")
    return spec.read(root, list_split=chosen)


def read_videos(name: str, root: Path, *, list_split: int | None = None) -> Listing:
    """Read a data set of video files like `read_dataset`; raise InputError for one of another kind.

    Of a set with several train/test splits all are read that the copy has lists of, `list_split` first (see
    `join_list_splits`).
    """
    root, spec = Path(root), dataset_spec(name)
    require_kind(spec, "videos")
    listing = _read_lists(spec, root, list_split)
    if spec.find_list_splits is None:
        return listing.settled()
    chosen = list_split or 1
    others = sorted(set(spec.find_list_splits(root)) - {chosen})
    listings = {number: _read_lists(spec, root, number) for number in others}
    return join_list_splits({chosen: listing, **listings}, chosen).settled()
