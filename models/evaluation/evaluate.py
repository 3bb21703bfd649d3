"""Testing by a protocol: several views a video, their scores averaged, every video accounted for."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tdn_data.models.clips.cut import Cut
from tdn_data.models.clips.dataset import split_videos
from tdn_data.models.evaluation.actor_pool import scored_on_ray
from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.evaluation.scores import ClipScores, VideoScores, writing_clip_scores
from tdn_data.models.evaluation.scoring import Scorer
from tdn_data.models.networks import build_model
from tdn_data.models.networks.base import ClipShape, VideoNetwork
from tdn_data.models.networks.folding import fold_norms
from tdn_data.models.threads import torch_threads
from tdn_data.models.weights.checkpoint import Checkpoint, read_checkpoint
from tdn_data.models.weights.trained_on import TrainedOn, check_same_kind, class_order
from tdn_data.pipeline.datasets.base import mirror_labels
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import file_digest
from tdn_data.pipeline.progress import OnProgress, reported
from tdn_data.pipeline.shards.reader import DatasetInfo, ShardReader

logger = logging.getLogger(__name__)

MAX_NAMES_SHOWN = 5


def evaluate(
    reader: ShardReader,
    checkpoint: str | os.PathLike[str],
    *,
    config: EvaluateConfig,
    network: str | None = None,
    on_progress: OnProgress | None = None,
    clip_scores: Path | None = None,
    num_processes: int = 1,
    ray_address: str | None = None,
) -> VideoScores:
    """Return the scores of every video of the split, each the average over its views, in the shards' order of classes.

    Args:
        reader: The shards, of the modality that the network reads.
        checkpoint: The file, as a training wrote it.
        config: The test's protocol: the split, how many clips and crops of each video, and how they lie.
        network: The name of the one that the checkpoint must hold, if it matters.
        on_progress: Counts videos.
        clip_scores: Where the clips' scores are written as they come, if `config.clip_scores` asks for them.
        num_processes: How many processes share the videos; the scores are the same.
        ray_address: A Ray cluster whose processes they are, HOST:PORT.

    Returns:
        The videos' identifiers and labels, and scores before softmax, float32 (videos, num_classes).

    Raises:
        InputError: The checkpoint holds another network, or was trained on data of another kind than the shards
            (`weights.trained_on`); the split has no video; more than the allowed share of its videos has no frames.

    Example:
        >>> reader = ShardReader("shards", modality="rgb")  # what `tdn-data extract --out shards` made
        >>> config = EvaluateConfig(num_clips=1, num_crops=1, max_missing_share=0.5)
        >>> result = evaluate(reader, "runs/tsn-rgb/checkpoint.pt", config=config)
        >>> result.video_ids[0], result.scores.shape
        ('videos/clip 00', (4, 2))
    """
    saved = read_checkpoint(checkpoint)
    trained = check_checkpoint(saved, checkpoint, network)
    check_same_kind(trained, reader, path=checkpoint)
    config, split = settled(config, saved, checkpoint), config.split_of(reader.info.name)
    check_complete(reader, split, max_missing_share=config.max_missing_share)
    repeat_to = config.views().cut.repeat_to(reader.info)
    score = scorer_of(saved, config, repeat_to=repeat_to)
    videos, scores = split_videos(reader, split), []
    order = class_order(trained, reader.info.class_names)
    about = {"dataset": reader.info.name, "split": split, "protocol": asdict(config)}
    about |= {"checkpoint": file_digest(checkpoint, what="checkpoint")}
    with torch_threads(config.num_threads), _clips_to(clip_scores if config.clip_scores else None, about) as clips:
        if num_processes == 1 and ray_address is None:
            found = (score(reader, video) for video in videos)
        else:
            options = {"config": config, "repeat_to": repeat_to, "num_processes": num_processes}
            found = scored_on_ray(reader, checkpoint, videos, ray_address=ray_address, **options)
        for video, scored in reported(zip(videos, found, strict=True), len(videos), on_progress):
            scores.append(scored.video)
            if clips is not None:
                clips.add(video, scored.clips[:, order])
    ids, labels = (tuple(getattr(video, name) for video in videos) for name in ("video_id", "labels"))
    return VideoScores(ids, labels, np.stack(scores)[:, order], about, clips.metrics() if clips else {})


def _clips_to(path: Path | None, about: Mapping[str, object]) -> AbstractContextManager[ClipScores | None]:
    return nullcontext() if path is None else writing_clip_scores(path, about)


def scorer_of(saved: Checkpoint, config: EvaluateConfig, *, repeat_to: int | None) -> Scorer:
    """Return what scores videos by a checkpoint's network; those of fewer than `repeat_to` rows are repeated."""
    model, trained = fold_norms(restore_model(saved, num_segments=config.num_segments)), TrainedOn.from_dict(saved.data)
    partners = mirror_labels(dataset_spec(trained.dataset), trained.class_names)
    return Scorer(model, ClipShape.of(model, config.size or saved.clip_size), config, repeat_to, partners)


def check_checkpoint(saved: Checkpoint, path: object, network: str | None = None) -> TrainedOn:
    """Return what a checkpoint's network was trained on; raise InputError where it does not say so.

    It also does where the checkpoint holds another network than `network`.
    """
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
    return trained


def settled(config: EvaluateConfig, saved: Checkpoint, path: object) -> EvaluateConfig:
    """Return a protocol for a checkpoint: clips cut as in training, where it does not say how; older ones had segments.

    Raises InputError where the two do not go together, or the checkpoint is damaged.
    """
    try:
        return config.settled(Cut(**(saved.cut or {})))
    except (TypeError, ValueError) as error:
        kind = saved.cut["kind"] if isinstance(saved.cut, dict) and "kind" in saved.cut else "segments"
        raise InputError(f"{path}, trained on clips that are cut as {kind!r}: {error}.", path=path) from error


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


def remark_on_mirrors(config: EvaluateConfig, info: DatasetInfo, *, trained_mirrored: bool) -> None:
    """Say in the log where a test mirrors what training did not, of a data set without known pairs of classes.

    Where the data set's pairs are known (`DatasetSpec.mirror_pairs`), mirrored views count for the right class.
    """
    if config.views().mirrors and not trained_mirrored and not dataset_spec(info.name).mirror_pairs:
        logger.warning(
            "half of the test's views are mirrored, and training had `mirror: false`; where a mirrored video shows "
            "another class, set `spatial: fixed` and `num_crops` 1 or 3 in the run's `test`"
        )


def restore_model(checkpoint: Checkpoint, *, num_segments: int | None = None) -> VideoNetwork:
    """Return the network of a checkpoint with its weights, in evaluation mode, on the GPU where there is one.

    With `num_segments` it is built for clips of so many snippets in place of those it was trained on. Raises InputError
    when its options make no network, or another one than its weights are of; that is found out on tensors without
    values, before memory is taken.
    """
    changes = {} if num_segments is None else {"num_segments": num_segments}
    build = partial(build_model, checkpoint.model, num_classes=checkpoint.num_classes, **checkpoint.options | changes)
    try:
        with torch.device("meta"), torch.random.fork_rng():
            shapes = {name: value.shape for name, value in build().state_dict().items()}
    except (ValueError, TypeError, RuntimeError) as error:
        raise _unfit(checkpoint, num_segments, f": {error}.") from error
    if shapes != {name: value.shape for name, value in checkpoint.state_dict.items()}:
        raise _unfit(checkpoint, num_segments, ": its weights are not those that its options make.")
    with torch.random.fork_rng():
        model = build()
    model.load_state_dict(checkpoint.state_dict)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device, memory_format=model.memory_format).eval()


def _unfit(checkpoint: Checkpoint, num_segments: int | None, words: str) -> InputError:
    own, name = checkpoint.options.get("num_segments"), checkpoint.model
    if num_segments is None or num_segments == own:
        return InputError(f"the checkpoint of {name} is damaged{words}", key=name)
    return InputError(
        f"{name} was trained on clips of {own} snippets and its weights do not serve for {num_segments}; leave "
        "num_segments of its test null.",
        key="num_segments",
    )
