"""What runs reached in each class: read from beside their metrics, and averaged over folders.

A data set with several official train/test splits (HMDB51, UCF101) is reported as the mean over them, its classes as
its videos as a whole: a class's mean is over those splits that test a video of it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_text

CLASSES = "average_precision.csv"
MEASURES = {"accuracy": "accuracy", "AP": "average_precision"}  # as they are asked for -> the file's column


def read_classes(folder: Path, measure: str) -> dict[str, float]:
    """Return class -> `accuracy` or `AP` in [0, 1] of a run, NaN where it has no video.

    Raises InputError where the run was not evaluated or the file is damaged, and for the accuracy of classes where
    videos have several labels.
    """
    path, column = folder / CLASSES, MEASURES[measure]
    if not path.exists():
        raise InputError(f"{path} is missing; evaluate the run first.", path=path)
    rows = list(csv.DictReader(io.StringIO(read_text(path, what="table of classes"), newline="")))
    if measure == "accuracy" and rows and column not in rows[0]:
        raise InputError(
            f"no class of {folder} has an accuracy: videos have several labels there; ask for AP.", path=path
        )
    try:
        return {row["class"]: float(row[column]) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged; evaluate the run again.", path=path) from error


def mean_of_classes(folders: Sequence[Path], measure: str) -> dict[str, float]:
    """Return class -> the mean of `measure` over one run's folders, e.g. of three splits, that have a video of it.

    Raises InputError that names two folders with different classes.
    """
    found = [read_classes(folder, measure) for folder in folders]
    for folder, one in zip(folders, found, strict=True):
        if one.keys() != found[0].keys():
            raise InputError(f"{folders[0]} and {folder} were tested on different classes.", path=folder)
    return {name: _mean([one[name] for one in found]) for name in found[0]}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def classes_of_runs(runs: Mapping[str, Sequence[Path]], measure: str) -> dict[str, dict[str, float]]:
    """Return run -> class -> `measure`, the mean over the run's folders; the runs must have the same classes."""
    found = {name: mean_of_classes(folders, measure) for name, folders in runs.items()}
    first = next(iter(found), None)
    for name, one in found.items():
        if one.keys() != found[first].keys():
            raise InputError(f"{first} and {name} were tested on different classes.", key=name)
    return found
