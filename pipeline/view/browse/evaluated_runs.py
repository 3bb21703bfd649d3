"""What evaluated runs say of the videos, from the files in their folders: no network is loaded, nothing is computed
again but who was right, and how large the loss was.

Of scores only what pages show is kept: the five best classes of each video and its loss.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_bytes, read_json, shown_path
from tdn_data.pipeline.text import some_of
from tdn_data.pipeline.view.browse.video_columns import Videos

METRICS, RECORD, TRAINING, SCORES = "metrics.json", "evaluation.json", "training.json", "scores.parquet"
TOP = 5
BATCH_ROWS = 2048
MAX_CURVE_BYTES = 16 << 20
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
EXPLAINED = re.compile(r"(.+)-(cam|gradcam|occlusion|flow)(-[^/-]+){0,2}")  # a picture's name
CUT_FROM = 60  # characters: the name of a picture of a longer identifier may hold its end only
MAX_PICTURES = 20_000  # names of explanation pictures that are kept of a run


@dataclass(frozen=True)
class RunOnVideos:
    """A run's scores on the videos of a set, columns (N,): NaN, -1 where the run was not tested on a video.

    `top` int32 and `shares` float32 are (N, 5): the best classes, best first, and the softmax of their scores.
    `right` is 1 or 0; of several labels one must be the best class.
    """

    top: np.ndarray
    shares: np.ndarray
    right: np.ndarray
    loss: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The best class, -1 where there is none."""
        return self.top[:, 0]


@dataclass(frozen=True)
class EvaluatedRun:
    """One evaluated run, or fusion, as its files describe it. `notice` says why its scores are not shown."""

    name: str
    folder: Path
    metrics: Mapping[str, float]
    record: Mapping[str, object]
    training: Mapping[str, object]
    curves: Mapping[str, list[tuple[float, float]]]
    average_precision: Mapping[str, float]
    scores: RunOnVideos | None = None
    notice: str = ""
    pictures: Sequence[str] = field(default_factory=tuple)  # inside its folder `explain`

    @property
    def network(self) -> str:
        """The key of `models.MODELS` that was tested; empty where the record does not say."""
        return str(self.record.get("network", ""))

    @property
    def modality(self) -> str:
        """What the network reads, `rgb` or `flow`; empty where the record does not say."""
        return str(self.record.get("modality", ""))


def run_folders(roots: Sequence[Path]) -> dict[str, Path]:
    """Return name -> folder of the evaluated runs in some folders; one that was not tested yet is none.

    Runs of the same name have their folder's before it. A name that is no UTF-8 has no address, and is left out.
    """
    found = [(root, path.parent) for root in dict.fromkeys(roots) for path in sorted(root.glob(f"*/{METRICS}"))]
    found = [(root, folder) for root, folder in found if _is_utf8(str(folder))]
    counts = Counter(folder.name for _, folder in found)
    return {f"{root}/{folder.name}" if counts[folder.name] > 1 else folder.name: folder for root, folder in found}


def _is_utf8(name: str) -> bool:
    return name == name.encode(errors="ignore").decode()


def read_runs(roots: Sequence[Path], videos: Videos) -> dict[str, EvaluatedRun]:
    """Return all evaluated runs; what cannot be read of one is said in its notice."""
    return {name: read_run(name, folder, videos) for name, folder in run_folders(roots).items()}


def read_run(name: str, folder: Path, videos: Videos) -> EvaluatedRun:
    """Return one run from the files of its folder; what cannot be read of it is said in its notice."""
    faults: list[str] = []
    metrics = {key: float(value) for key, value in _json(folder / METRICS, faults).items() if _is_number(value)}
    record, training = _json(folder / RECORD, faults), _json(folder / TRAINING, [])
    scores, words = _scores(folder, record, videos)
    return EvaluatedRun(
        name=name,
        folder=folder,
        metrics=metrics,
        record=record,
        training=training,
        curves=_curves(folder),
        average_precision=_average_precision(folder / "average_precision.csv"),
        scores=scores,
        notice=" ".join(filter(None, (*faults, words))),
        pictures=_pictures(folder / "explain"),
    )


def _json(path: Path, faults: list[str]) -> dict[str, object]:
    try:
        content = read_json(path, what="run's file")
    except InputError as error:
        faults.append(error.message)
        return {}
    if not isinstance(content, dict):
        faults.append(f"{shown_path(path)} holds no names with values; `dvc repro` makes it again.")
        return {}
    return content


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max  # an int may be larger; NaN and infinities are no results


def _scores(folder: Path, record: Mapping[str, object], videos: Videos) -> tuple[RunOnVideos | None, str]:
    """Return a run's scores on the videos, or None and why there are none."""
    own = videos.labelling
    if record and record.get("dataset") != own.dataset:
        return None, f"It was tested on the data set {record.get('dataset')}, and this is {own.dataset}."
    if record and record.get("class_names") != list(own.class_names):
        return None, "It was tested with other classes than these shards have."
    if not (folder / SCORES).is_file():
        return None, (
            f"{SCORES} is not here, so its videos cannot be opened from its results; `dvc pull` or `dvc repro` brings "
            "it."
        )
    try:
        return read_top_scores(folder / SCORES, videos), ""
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        words = " ".join(str(error).split())
        return None, f"{SCORES} cannot be read ({words}); `dvc repro` makes it again."


def read_top_scores(path: Path, videos: Videos) -> RunOnVideos:
    """Return what a file of scores says of the videos, reading a few rows at a time."""
    count, num_classes = len(videos), len(videos.labelling.class_names)
    top = np.full((count, TOP), -1, np.int32)
    shares = np.zeros((count, TOP), np.float32)
    right, loss = np.full(count, -1, np.int8), np.full(count, np.nan)
    with pq.ParquetFile(path) as file:
        missing = {"video_id", "labels", "scores"} - set(file.schema_arrow.names)
        if missing:
            raise ValueError(
                f"it has the columns {some_of(file.schema_arrow.names)}, and not {', '.join(sorted(missing))}"
            )
        for batch in file.iter_batches(
            batch_size=BATCH_ROWS, columns=["video_id", "labels", "scores"], use_threads=False
        ):
            places = pc.index_in(batch.column("video_id"), value_set=videos.ids)
            known = pc.is_valid(places).to_numpy(zero_copy_only=False)
            scores = _scores_of(batch.column("scores"), num_classes)
            targets = _targets(batch.column("labels"), num_classes)[known]
            where = places.to_numpy(zero_copy_only=False)[known].astype(np.int64)
            _enter(where, scores[known], targets, videos.labelling.multi_label, top, shares, right, loss)
    return RunOnVideos(top, shares, right, loss)


def _scores_of(column: pa.Array, num_classes: int) -> np.ndarray:
    """Return scores as float64 (N, C); raise ValueError or an error of Arrow's for a column that holds no such."""
    column = column.cast(pa.list_(pa.float64()))
    lengths = set(pc.unique(pc.list_value_length(column)).to_pylist())
    if lengths - {num_classes}:
        some = ", ".join(sorted("no" if one is None else str(one) for one in lengths))
        raise ValueError(f"it has {some} scores a video; there are {num_classes} classes")
    scores = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, num_classes)
    if not np.isfinite(scores).all():
        raise ValueError("it has scores that are no finite numbers")
    return scores


def _targets(column: pa.Array, num_classes: int) -> np.ndarray:
    """Return labels as bool (N, C); raise ValueError or an error of Arrow's for a column that holds no such."""
    labels = column.cast(pa.list_(pa.int64()))
    found = np.zeros((len(labels), num_classes), bool)
    parents = pc.list_parent_indices(labels).to_numpy(zero_copy_only=False)
    classes = labels.flatten().to_numpy(zero_copy_only=False)
    if len(classes) and not 0 <= classes.min() <= classes.max() < num_classes:
        raise ValueError(f"it has labels from {classes.min()} to {classes.max()}; there are {num_classes} classes")
    found[parents, classes] = True
    return found


def _enter(where, scores, targets, multi_label: bool, top, shares, right, loss) -> None:
    """Enter a batch of scores before softmax (N, C) at its videos' places."""
    kept = min(TOP, scores.shape[1])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :kept]
    exponents = np.exp(scores - scores.max(1, keepdims=True))
    softmax = exponents / exponents.sum(1, keepdims=True)
    top[where, :kept], shares[where, :kept] = order, np.take_along_axis(softmax, order, axis=1)
    right[where] = np.take_along_axis(targets, order[:, :1], axis=1)[:, 0]
    if multi_label:  # binary cross-entropy, mean over the classes
        value = (np.logaddexp(0, scores) - scores * targets).mean(1)
    else:
        value = -np.log(np.maximum((softmax * targets).sum(1), 1e-300))
    loss[where] = np.where(targets.any(1), value, np.nan)


def _curves(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Return what was logged while the run was trained: name -> (step, value)."""
    found = {}
    for path in sorted((folder / "training/plots/metrics").glob("*.tsv")):
        try:
            lines = read_bytes(path, what="curve", max_bytes=MAX_CURVE_BYTES).decode("utf-8", "replace").splitlines()
            rows = [(float(row["step"]), float(row[path.stem])) for row in csv.DictReader(lines, delimiter="\t")]
        except (InputError, KeyError, ValueError, TypeError, csv.Error):
            continue
        found[path.stem] = [row for row in rows if all(map(math.isfinite, row))]
    return {name: rows for name, rows in found.items() if rows}


def _average_precision(path: Path) -> dict[str, float]:
    try:
        lines = read_bytes(path, what="table").decode("utf-8", "replace").splitlines()
        return {row["class"]: float(row["average_precision"]) for row in csv.DictReader(lines)}
    except (InputError, KeyError, ValueError, TypeError, csv.Error):
        return {}


def _pictures(folder: Path) -> tuple[str, ...]:
    """Return the names of the pictures below a folder, relative to it; links out of it are left out."""
    found = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.suffix.lower() in PICTURES and path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            found.append(path.relative_to(folder).as_posix())
        if len(found) == MAX_PICTURES:
            break
    return tuple(found)


def pictures_of(run: EvaluatedRun, video_id: str) -> list[str]:
    """Return a run's explanation pictures of one video, as `tdn-data explain` names them: `a_1-gradcam-res2.png`.

    Slashes and other letters may stand for what is none of them in the identifier; of a long one the end is enough.
    """
    own = _plain(video_id)
    named = ((name, _plain(EXPLAINED.sub(r"\1", name.rpartition(".")[0]))) for name in run.pictures)
    return [name for name, stem in named if stem == own or (len(stem) > CUT_FROM and own.endswith(stem))]


def _plain(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name).strip("_").lower()


def confusion(run: EvaluatedRun, videos: Videos) -> np.ndarray | None:
    """Return counts (C, C), rows actual, of a run with one label a video; None where its files do not tell."""
    names = videos.labelling.class_names
    if videos.labelling.multi_label or not names:
        return None
    if run.scores is not None:
        values = pc.list_value_length(videos.labels).to_numpy(zero_copy_only=False)
        tested = (run.scores.predicted >= 0) & (values == 1)
        actual = pc.list_element(videos.labels.filter(pa.array(tested)), 0).to_numpy(zero_copy_only=False)
        flat = actual.astype(np.int64) * len(names) + run.scores.predicted[tested]
        return np.bincount(flat, minlength=len(names) ** 2).reshape(len(names), len(names))
    return _confusion_of_file(run.folder / "confusion.csv", names)


def _confusion_of_file(path: Path, names: Sequence[str]) -> np.ndarray | None:
    places = {name: number for number, name in enumerate(names)}
    try:
        lines = read_bytes(path, what="table").decode("utf-8", "replace").splitlines()
        pairs = Counter((places[row["actual"]], places[row["predicted"]]) for row in csv.DictReader(lines))
    except (InputError, KeyError, TypeError, csv.Error):
        return None
    found = np.zeros((len(names), len(names)), np.int64)
    for (actual, predicted), count in pairs.items():
        found[actual, predicted] = count
    return found


def state_of(roots: Sequence[Path]) -> str:
    """Return a text that changes when results of the runs change."""
    parts = []
    for name, folder in run_folders(roots).items():
        for path in (folder / METRICS, folder / SCORES, folder / "explain"):
            status = path.stat() if path.exists() else None
            parts.append((name, str(folder), status and (status.st_mtime_ns, status.st_size)))
    return json.dumps(parts)
