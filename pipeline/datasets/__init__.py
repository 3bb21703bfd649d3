"""The data sets that the pipeline knows by name."""

from __future__ import annotations

from pipeline.datasets import fcvid, folder
from pipeline.datasets.base import DatasetSpec
from pipeline.errors import InputError

DATASETS: dict[str, DatasetSpec] = {
    "demo": folder.DEMO_SPEC,
    "fcvid": fcvid.SPEC,
    "folder": folder.SPEC,
}


def dataset_spec(name: str) -> DatasetSpec:
    """Return the data set called `name`; raise InputError that lists the known ones."""
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; known data sets: {', '.join(DATASETS)}.", key=name)
    return DATASETS[name]
