"""What evaluated runs say of the videos, from the files in their folders: no network is loaded, nothing is computed
again but who was right, and how large the loss was.

Of scores only what pages show is kept: the five best classes of each video and its loss.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_bytes, read_json
from tdn_data.pipeline.text import some_of
from tdn_data.pipeline.view.browse.videos import Videos

METRICS, RECORD, TRAINING, SCORES = "metrics.json", "evaluation.json", "training.json", "scores.parquet"
TOP = 5
BATCH_ROWS = 2048
MAX_CURVE_BYTES = 16 << 20
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
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
class Run:
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
        """The network's name."""
        return str(self.record.get("network", ""))

    @property
    def modality(self) -> str:
        """What the network reads."""
        return str(self.record.get("modality", ""))


def run_folders(roots: Sequence[Path]) -> dict[str, Path]:
    """Return name -> folder of the evaluated runs in some folders; one that was not tested yet is none."""
    return {path.parent.name: path.parent for root in roots for path in sorted(root.glob(f"*/{METRICS}"))}


def read_runs(roots: Sequence[Path], videos: Videos) -> dict[str, Run]:
    """Return all evaluated runs; what cannot be read of one is said in its notice."""
    return {name: read_run(name, folder, videos) for name, folder in run_folders(roots).items()}


def read_run(name: str, folder: Path, videos: Videos) -> Run:
    """Return one run."""
    faults: list[str] = []
    metrics = {key: float(value) for key, value in _json(folder / METRICS, faults).items() if _is_number(value)}
    record, training = _json(folder / RECORD, faults), _json(folder / TRAINING, [])
    scores, words = _scores(folder, record, videos)
    return Run(
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
    return content if isinstance(content, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scores(folder: Path, record: Mapping[str, object], videos: Videos) -> tuple[RunOnVideos | None, str]:
    """Return a run's scores on the videos, or None and why there are none."""
    own = videos.labelling
    if record and record.get("dataset") != own.dataset:
        return None, f"It was tested on the data set {record.get('dataset')}, and this is {own.dataset}."
    if record and tuple(record.get("class_names", ())) != own.class_names:
        return None, "It was tested with other classes than these shards have."
    if not (folder / SCORES).is_file():
        return None, (
            f"{SCORES} is not here, so its videos cannot be opened from its results; `dvc pull` or `dvc repro` brings "
            "it."
        )
    try:
        return read_scores(folder / SCORES, videos), ""
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        words = " ".join(str(error).split())
        return None, f"{SCORES} cannot be read ({words}); `dvc repro` makes it again."


def read_scores(path: Path, videos: Videos) -> RunOnVideos:
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
            scores = batch.column("scores").flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1)
            if scores.shape[1] != num_classes:
                raise ValueError(f"it has {scores.shape[1]} scores a video; there are {num_classes} classes")
            targets = _targets(batch.column("labels"), num_classes)[known]
            where = places.to_numpy(zero_copy_only=False)[known].astype(np.int64)
            _enter(where, scores[known], targets, videos.labelling.multi_label, top, shares, right, loss)
    return RunOnVideos(top, shares, right, loss)


def _targets(labels: pa.ListArray, num_classes: int) -> np.ndarray:
    """Return labels as bool (N, C)."""
    found = np.zeros((len(labels), num_classes), bool)
    parents = pc.list_parent_indices(labels).to_numpy(zero_copy_only=False)
    found[parents, labels.flatten().to_numpy(zero_copy_only=False)] = True
    return found


def _enter(where, scores, targets, multi_label: bool, top, shares, right, loss) -> None:
    """Enter a batch of scores before softmax (N, C) at its videos' places."""
    scores = scores.astype(np.float64)
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


def pictures_of(run: Run, video_id: str) -> list[str]:
    """Return a run's explanation pictures of one video: named after it, with slashes or with other letters for them."""
    names = {_plain(video_id), _plain(video_id.rpartition("/")[2])}
    return [name for name in run.pictures if any(_is_of(_plain(name.rpartition(".")[0]), one) for one in names)]


def _plain(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name).strip("_").lower()


def _is_of(picture: str, video: str) -> bool:
    return bool(video) and (picture == video or picture.startswith(f"{video}_") or picture.endswith(f"_{video}"))


def confusion(run: Run, videos: Videos) -> np.ndarray | None:
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
