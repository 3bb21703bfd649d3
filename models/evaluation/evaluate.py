"""Testing by the papers' protocol: several views a video, scores before softmax averaged, every video accounted for."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from tdn_data.models.clips.augment import CROPS
from tdn_data.models.clips.dataset import split_videos, video_views
from tdn_data.models.evaluation.metrics import fuse
from tdn_data.models.networks import build_model
from tdn_data.models.networks.base import ClipShape, VideoNetwork
from tdn_data.models.networks.folding import fold_norms
from tdn_data.models.threads import torch_threads
from tdn_data.models.weights.checkpoint import Checkpoint, read_checkpoint
from tdn_data.models.weights.trained_on import TrainedOn, check_same_kind, class_order
from tdn_data.pipeline.datasets.base import repeated_length
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import replacing
from tdn_data.pipeline.limits import MAX_BATCH, MAX_CLIP_SIDE, MAX_SEED, MAX_SEGMENTS, MAX_THREADS, MIN_CLIP_SIDE
from tdn_data.pipeline.progress import OnProgress
from tdn_data.pipeline.shards.reader import ShardReader

logger = logging.getLogger(__name__)

MAX_NAMES_SHOWN = 5
BOUNDS = {  # what a whole number of a test may be; None stands for the program's own choice
    "num_clips": (1, MAX_SEGMENTS),
    "size": (MIN_CLIP_SIDE, MAX_CLIP_SIDE),
    "views_per_batch": (1, MAX_BATCH),
    "num_threads": (1, MAX_THREADS),
    "seed": (0, MAX_SEED),
}
SCORES_SCHEMA = pa.schema(
    [("video_id", pa.string()), ("labels", pa.list_(pa.int32())), ("scores", pa.list_(pa.float32()))]
)


@dataclass(frozen=True)
class EvaluateConfig:
    """The test protocol. Ng & Davis, section 4.2: 25 clips, 10 crops; Wang et al., section 4.1: 1 clip and 1 crop, or
    10 clips and 3 crops of 256. `split` None is the data set's own test split.
    """

    split: str | None = None
    num_clips: int = 25
    num_crops: int = 10
    size: int | None = None  # side of the crops in pixels; None: as in training
    views_per_batch: int = 50
    max_missing_share: float = 0.0  # of the split's videos, that may have no frames and then stay out of the metrics
    num_threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.max_missing_share < 1:
            raise ValueError(f"max_missing_share is {self.max_missing_share!r}; it must be at least 0 and below 1")
        if self.num_crops not in CROPS:
            raise ValueError(f"num_crops is {self.num_crops!r}; it must be 1, 3 or 10")
        for name, (least, most) in BOUNDS.items():
            if getattr(self, name) is not None and not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be from {least} to {most:,}")

    def split_of(self, dataset: str) -> str:
        """Return the split that is tested: `split`, else the one on which results on the data set are reported."""
        return self.split or dataset_spec(dataset).test_split


@dataclass(frozen=True)
class VideoScores:
    """Scores before softmax of every video of a split: `scores` float32 (N, C), ids and labels in the same order."""

    video_ids: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    scores: np.ndarray


def evaluate(
    reader: ShardReader,
    checkpoint: str | os.PathLike[str],
    *,
    config: EvaluateConfig,
    network: str | None = None,
    on_progress: OnProgress | None = None,
) -> VideoScores:
    """Return the scores of every video of the split, each the mean over its views, in the order of the shards' classes.

    `network` is the name of the one that the checkpoint must hold, if it matters. `on_progress` counts videos.
    Raises InputError when the checkpoint holds another network, or was trained on data
    of another kind than the shards (`weights.trained_on`), when the split has no video, and when more than the allowed
    share of its videos has no frames.
    """
    saved = read_checkpoint(checkpoint)
    trained = _check_checkpoint(saved, reader, network, checkpoint)
    split, spec = config.split_of(reader.info.name), dataset_spec(reader.info.name)
    check_complete(reader, split, max_missing_share=config.max_missing_share)
    model = fold_norms(restore_model(saved))
    shape = ClipShape.of(model, config.size or saved.clip_size)
    videos, scores = split_videos(reader, split), []
    cut = {"num_clips": config.num_clips, "num_crops": config.num_crops, "seed": config.seed}
    cut |= {"repeat_to": repeated_length(spec, reader.info.parameters)}
    with torch_threads(config.num_threads):
        for number, video in enumerate(videos, start=1):
            views = video_views(reader, video, shape, **cut)
            scores.append(_video_score(model, views, config.views_per_batch))
            if on_progress is not None:
                on_progress(number, len(videos))
    scores = np.stack(scores)[:, class_order(trained, reader.info.class_names)]
    return VideoScores(tuple(video.video_id for video in videos), tuple(video.labels for video in videos), scores)


def _check_checkpoint(saved: Checkpoint, reader: ShardReader, network: str | None, path: object) -> TrainedOn:
    """Return what a checkpoint's network was trained on; raise InputError unless it can be tested on the shards."""
    if network is not None and saved.model != network:
        raise InputError(f"{path} holds the network {saved.model}, not {network}; train {network} again.", path=path)
    try:
        trained = TrainedOn.from_dict(saved.data)
        if len(trained.class_names) != saved.num_classes:
            raise ValueError("classes")
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} does not say what it was trained on: an older version made it, or it is damaged; train the "
            "network again, starting from it by `init` if you like.",
            path=path,
        ) from error
    check_same_kind(trained, reader, path=path)
    return trained


def check_complete(reader: ShardReader, split: str, *, max_missing_share: float) -> None:
    """Raise InputError that names videos of the split without frames, when they are more than may be missing."""
    missing = reader.missing(split)
    num_listed = len(missing) + sum(video.split == split for video in reader.videos)
    if len(missing) > max_missing_share * num_listed:
        names = ", ".join(missing[:MAX_NAMES_SHOWN]) + (" ..." if len(missing) > MAX_NAMES_SHOWN else "")
        raise InputError(
            f"{len(missing)} of {num_listed} {split} videos have no frames to score: {names}; ledger.parquet "
            "says why. Extract them, or raise max_missing_share of its test to leave them out of the metrics."
        )
    if missing:
        logger.warning("%d of %d %s videos have no frames and are left out", len(missing), num_listed, split)


def restore_model(checkpoint: Checkpoint) -> VideoNetwork:
    """Return the network of a checkpoint with its weights, in evaluation mode, on the GPU where there is one.

    Raises InputError when its options make no network, or another one than its weights are of; that is found out on
    tensors without values, before memory is taken.
    """
    build = partial(build_model, checkpoint.model, num_classes=checkpoint.num_classes, **checkpoint.options)
    try:
        with torch.device("meta"), torch.random.fork_rng():
            shapes = {name: value.shape for name, value in build().state_dict().items()}
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"the checkpoint of {checkpoint.model} is damaged: {error}.", key=checkpoint.model) from error
    if shapes != {name: value.shape for name, value in checkpoint.state_dict.items()}:
        raise InputError(
            f"the checkpoint of {checkpoint.model} is damaged: its weights are not those that its options make.",
            key=checkpoint.model,
        )
    with torch.random.fork_rng():
        model = build()
    model.load_state_dict(checkpoint.state_dict)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device, memory_format=model.memory_format).eval()


@torch.inference_mode()
def _video_score(model: nn.Module, views: torch.Tensor, views_per_batch: int) -> np.ndarray:
    """Return the mean score (C,) over a video's views (V, S, K, C, H, W)."""
    device = next(model.parameters()).device
    scores = torch.cat([model(batch.to(device)) for batch in views.split(views_per_batch)])
    return scores.mean(0).float().cpu().numpy()


def write_scores(path: Path, result: VideoScores) -> None:
    """Write scores as Parquet, one row per video: the whole file or none."""
    columns = {
        "video_id": list(result.video_ids),
        "labels": [list(labels) for labels in result.labels],
        "scores": result.scores.astype(np.float32).tolist(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch:
        pq.write_table(pa.table(columns, schema=SCORES_SCHEMA), scratch)


def read_scores(path: Path) -> VideoScores:
    """Read scores back; raise InputError when the file is missing or no scores file."""
    try:
        rows = pq.read_table(path, schema=SCORES_SCHEMA).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} holds no scores ({error}); evaluate the network first.", path=path) from error
    return VideoScores(
        tuple(row["video_id"] for row in rows),
        tuple(tuple(row["labels"]) for row in rows),
        np.array([row["scores"] for row in rows], np.float32),
    )


def fuse_scores(streams: Sequence[VideoScores], *, weights: Sequence[float], normalize: str = "l1") -> VideoScores:
    """Return the scores of several runs added as `metrics.fuse` does, joined by the videos' identifiers."""
    first, *others = streams
    ordered = [first, *(in_order_of(first.video_ids, other) for other in others)]
    return replace(first, scores=fuse([one.scores for one in ordered], weights=weights, normalize=normalize))


def in_order_of(video_ids: Sequence[str], result: VideoScores) -> VideoScores:
    """Return the scores of the same videos in another order; raise InputError that names a video only one side has."""
    place = {video_id: number for number, video_id in enumerate(result.video_ids)}
    if difference := set(video_ids).symmetric_difference(place):
        raise InputError(
            f"{len(difference)} videos are scored in only one of two runs, e.g. {sorted(difference)[0]!r}; "
            "evaluate both on the same videos."
        )
    order = [place[video_id] for video_id in video_ids]
    return VideoScores(tuple(video_ids), tuple(result.labels[number] for number in order), result.scores[order])
