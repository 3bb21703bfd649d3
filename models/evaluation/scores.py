"""Scores of videos and of their clips on disk, and several runs' scores put together, joined by the videos' names.

Two Parquet files: `scores.parquet` has a row for each video, `clip_scores.parquet` one for each clip. The metadata of
both say by which protocol and with which checkpoint the scores were made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tdn_data.models.evaluation.metrics import are_log_probabilities, compute_metrics, fuse, hit_at_k, label_matrix
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import replacing
from tdn_data.pipeline.shards.reader import StoredVideo
from tdn_data.pipeline.text import some_of

STAGES = {"runs": "evaluate", "fusions": "fuse"}  # folder -> DVC's stage that makes the scores in it
ABOUT = b"tdn_data"  # the key of the metadata
MAX_SEARCHED = 300  # weights that a search tries
_FIELDS = [("labels", pa.list_(pa.int32())), ("scores", pa.list_(pa.float32()))]
SCORES_SCHEMA = pa.schema([("video_id", pa.string()), *_FIELDS])
CLIPS_SCHEMA = pa.schema([("video_id", pa.string()), ("clip", pa.int32()), *_FIELDS])


@dataclass(frozen=True)
class VideoScores:
    """Scores before softmax of every video of a split: `scores` float32 (N, C), ids and labels in the same order.

    `about` says how they were made: `dataset`, `split`, `protocol` and the checkpoint's SHA-256 as `checkpoint`, of a
    fusion the same of each run. It is empty for scores of earlier versions. `clip_metrics` are Hit@1 and Hit@5 of the
    clips where they were asked for.

    Raises ValueError for no video, a video twice, scores that are not finite or are not one a class, and for labels of
    no class.
    """

    video_ids: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    scores: np.ndarray
    about: Mapping[str, object] = field(default_factory=dict)
    clip_metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.video_ids)
        if not count or len(set(self.video_ids)) != count:
            raise ValueError("a video has two rows of scores" if count else "there are scores of no video")
        if self.scores.ndim != 2 or len(self.labels) != count or len(self.scores) != count:
            raise ValueError(f"scores are {self.scores.shape}, for {count} videos and labels of {len(self.labels)}")
        if not np.isfinite(self.scores).all():
            row = int(np.flatnonzero(~np.isfinite(self.scores).all(1))[0])
            raise ValueError(f"scores of {self.video_ids[row]} are not finite")
        num_classes = self.scores.shape[1]
        if any(not 0 <= label < num_classes for labels in self.labels for label in labels):
            raise ValueError(f"labels are of other classes than the {num_classes} that have scores")


def write_scores(path: Path, result: VideoScores) -> None:
    """Write scores as Parquet, one row per video: the whole file or none."""
    columns = {
        "video_id": list(result.video_ids),
        "labels": [list(labels) for labels in result.labels],
        "scores": result.scores.astype(np.float32).tolist(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch:
        pq.write_table(pa.table(columns, schema=_with_about(SCORES_SCHEMA, result.about)), scratch)


def how_to_make(path: Path, *, again: bool = False) -> str:
    """Return how the scores of a run or a fusion, at `path` in its folder, are made, or made again."""
    stage = STAGES.get(path.parent.parent.name) if path.suffix == ".json" or path.name == "scores.parquet" else None
    command = f"`dvc repro {stage}@{path.parent.name}`" if stage else "the command that tested the run"
    if again:
        return f"delete it, and {command} makes it again"
    return f"{command} makes it, and `dvc checkout` fetches it where it was made before"


def read_scores(path: Path) -> VideoScores:
    """Read scores back; raise InputError when the file is missing or does not hold what a test gives."""
    if not path.is_file():
        raise InputError(f"{path} is missing; {how_to_make(path)}.", path=path)
    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {}).get(ABOUT, b"{}"))
        table = table.cast(SCORES_SCHEMA)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"{path} is damaged or holds no scores; {how_to_make(path, again=True)}.", path=path
        ) from error
    try:
        return _from_table(table, about)
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}; {how_to_make(path, again=True)}.", path=path) from error


def _from_table(table: pa.Table, about: object) -> VideoScores:
    """Return the rows of a table; raise ValueError where some lack a value or have another number of scores."""
    columns = [table.column(name).combine_chunks() for name in table.column_names]
    if any(one.null_count or (pa.types.is_list(one.type) and one.flatten().null_count) for one in columns):
        raise ValueError("values are missing")
    ids, labels, scores = (one.to_pylist() for one in columns)
    if len(set(map(len, scores))) > 1 or not isinstance(about, dict):
        raise ValueError("videos have different numbers of scores" if isinstance(about, dict) else "damaged metadata")
    return VideoScores(tuple(ids), tuple(map(tuple, labels)), np.array(scores, np.float32), about)


class ClipScores:
    """Clips' scores as they come, video by video, and how many of all clips were hit: `metrics`."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer, self._num_clips = writer, 0
        self._hits = {1: 0.0, 5: 0.0}

    def add(self, video: StoredVideo, scores: np.ndarray) -> None:
        """Write the scores (num_clips, C) of one video's clips."""
        count = len(scores)
        columns = {
            "video_id": [video.video_id] * count,
            "clip": list(range(count)),
            "labels": [list(video.labels)] * count,
            "scores": scores.astype(np.float32).tolist(),
        }
        self._writer.write_table(pa.table(columns, schema=self._writer.schema))
        truth = label_matrix([video.labels] * count, scores.shape[1])
        for k in self._hits:
            self._hits[k] += count * hit_at_k(scores, truth, k)
        self._num_clips += count

    def metrics(self) -> dict[str, float]:
        """Return Hit@1 and Hit@5 over all clips, by their names in metrics.json."""
        return {f"clip_hit{k}": hits / self._num_clips for k, hits in self._hits.items()}


@contextmanager
def writing_clip_scores(path: Path, about: Mapping[str, object]) -> Iterator[ClipScores]:
    """Give what takes clips' scores and writes them to `path`, which is there once all of them are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch, pq.ParquetWriter(scratch, _with_about(CLIPS_SCHEMA, about)) as writer:
        yield ClipScores(writer)


def _with_about(schema: pa.Schema, about: Mapping[str, object]) -> pa.Schema:
    return schema.with_metadata({ABOUT: json.dumps(dict(about), sort_keys=True).encode()}) if about else schema


def fuse_scores(streams: Mapping[str, VideoScores], *, weights: Sequence[float], normalize: str = "l1") -> VideoScores:
    """Return the scores of several runs, by their names, added as `metrics.fuse` does and joined by video.

    After `l1` they are of a few hundredths, and all probabilities by them nearly alike: they are multiplied by the mean
    norm of the runs' scores, one number for all, which changes no order and gives them the size that those have.
    """
    (name, first), *others = streams.items()
    ordered = [first, *(in_order_of(first.video_ids, other, (name, its_name)) for its_name, other in others)]
    options = {"weights": tuple(weights), "normalize": normalize}
    fused = fuse([one.scores for one in ordered], **options)
    if normalize == "l1":
        fused *= np.average([np.abs(one.scores).sum(axis=1).mean() for one in ordered], weights=weights)
    return replace(first, scores=fused, about={"fused": [dict(one.about) for one in ordered], **options})


def remark_on_mixture(streams: Mapping[str, VideoScores], normalize: str) -> str | None:
    """Return what to say where scores of two kinds are added before softmax: logarithms of probabilities and others.

    The former, which are an LSTM's and those averaged after softmax, are all below zero: l1-normalised beside scores
    around zero they count for less than their weight says.
    """
    kinds = {name: _are_logarithms(one) for name, one in streams.items()}
    if normalize == "softmax" or len(set(kinds.values())) == 1:
        return None
    logarithms, others = ([name for name in kinds if kinds[name] is kind] for kind in (True, False))
    return (
        f"scores of {some_of(logarithms)} are logarithms of probabilities, those of {some_of(others)} are not: "
        "`normalize: softmax` (--normalize softmax) adds the probabilities of all."
    )


def _are_logarithms(result: VideoScores) -> bool:
    """Return whether scores are logarithms: of probabilities, or the means of such, which sum to less than 1."""
    return are_log_probabilities(result.scores) or result.about.get("protocol", {}).get("average") == "log"


def search_weights(
    streams: Mapping[str, VideoScores], *, multi_label: bool, normalize: str = "l1"
) -> tuple[float, ...]:
    """Return the weights of several runs, which sum to 1, whose fusion is best: by top-1, with several labels by mAP.

    All weights are tried that are multiples of a step, at most MAX_SEARCHED of them; of equally good ones those count
    that are nearest to equal. Only the scores of validation videos may be given: the same videos would flatter a test.
    """
    labels, best = next(iter(streams.values())).labels, (-1.0, 0.0, ())
    for shares in _shares(len(streams)):
        fused = fuse_scores(streams, weights=shares, normalize=normalize)
        metrics = compute_metrics(fused.scores, labels, multi_label=multi_label)
        evenness = -sum((share - 1 / len(streams)) ** 2 for share in shares)
        best = max(best, (metrics.mean_ap if multi_label else metrics.top1, evenness, shares))
    return best[2]


def _shares(count: int) -> Iterator[tuple[float, ...]]:
    """Yield all weights of `count` runs that are multiples of 1 / steps and sum to 1.

    >>> list(_shares(2))[:2]
    [(0.0, 1.0), (0.05, 0.95)]
    """
    steps = next(number for number in range(20, 0, -1) if math.comb(number + count - 1, count - 1) <= MAX_SEARCHED)
    for bars in combinations(range(steps + count - 1), count - 1):
        ends = (-1, *bars, steps + count - 1)
        yield tuple((after - before - 1) / steps for before, after in pairwise(ends))


def in_order_of(
    video_ids: Sequence[str], result: VideoScores, names: Sequence[str] = ("the first run", "the second")
) -> VideoScores:
    """Return the scores of the same videos in another order; raise InputError that names videos only one side has.

    `names` are what the run that has `video_ids` and the one with `result` are called in that sentence.
    """
    place = {video_id: number for number, video_id in enumerate(result.video_ids)}
    sides = (sorted(set(video_ids) - place.keys()), sorted(place.keys() - set(video_ids)))
    if any(sides):
        words = " and ".join(
            f"{some_of([repr(one) for one in only])} for {name} alone"
            for only, name in zip(sides, names, strict=True)
            if only
        )
        raise InputError(f"there are scores of {words}; evaluate both runs on the same videos.")
    order = [place[video_id] for video_id in video_ids]
    return replace(
        result,
        video_ids=tuple(video_ids),
        labels=tuple(result.labels[number] for number in order),
        scores=result.scores[order],
    )
