"""A trained network on a new video: decoded, sampled and seen as the videos that it was tested on.

The video goes through the very code that makes shards, in the process that can be killed, with the parameters that the
checkpoint kept of its training's shards: rate, size, flow method and bound, codec. So a video's scores are those that a
test on shards gives it, whichever codec they have (a test holds this for PNG and JPEG). Frames that a network trained
on JPEG were given without it would move a probability by up to 0.11 (built-in set, 64 x 64, quality 95, 40 videos).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from tdn_data.models.clips.cut import Cut
from tdn_data.models.evaluation.evaluate import check_checkpoint, scorer_of, settled
from tdn_data.models.evaluation.flow_solver import with_network
from tdn_data.models.evaluation.metrics import probabilities_of
from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.networks.base import ClipShape
from tdn_data.models.threads import torch_threads
from tdn_data.models.weights.checkpoint import read_checkpoint
from tdn_data.models.weights.trained_on import NORMALIZATION, TrainedOn
from tdn_data.pipeline.errors import InputError, VideoError
from tdn_data.pipeline.extraction.one_shard import extract_in_sandbox, why_no_rows
from tdn_data.pipeline.extraction.rows.job import Extraction, VideoJob
from tdn_data.pipeline.parameters import FlowParameters, FrameParameters, Limits
from tdn_data.pipeline.shards.reader import DatasetInfo, StoredPictures, StoredVideo, decode_pictures
from tdn_data.pipeline.shards.schema import VideoRows

ONE_VIEW = EvaluateConfig(num_clips=1, num_crops=1)


@dataclass(frozen=True)
class Prediction:
    """One video's `scores` before softmax and `probabilities`, (C,) each, in the order of `class_names`.

    Several labels a video: each class has a probability of its own. `problem` is why a part of the video was not read;
    `remark` is what else speaks against the result: that there were fewer frames than the network sees at once.
    """

    path: str
    class_names: tuple[str, ...]
    scores: np.ndarray
    probabilities: np.ndarray
    problem: str | None = None
    remark: str | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the most probable classes.

        Args:
            count: How many at most.

        Returns:
            (class, probability from 0 to 1), the highest score first, of equal ones the lower number.

        >>> scores = np.array([0.0, 2.0])
        >>> Prediction("new.mp4", ("left", "right"), scores, scores / 2).top(1)
        [('right', 1.0)]
        """
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [(self.class_names[number], float(self.probabilities[number])) for number in order]


class Predictor:
    """What a checkpoint's network says of video files.

    Args:
        checkpoint: The file, as a training on shards wrote it.
        config: How each video is seen, by default in one view.
        limits: What decoding one video may cost.

    Raises:
        InputError: The file is no checkpoint of this program, or does not say what it was trained on.

    Example:
        >>> predict = Predictor("runs/tsn-rgb/checkpoint.pt")  # what `tdn-data train tsn-rgb` made
        >>> prediction = predict("new.mp4")
        >>> prediction.class_names, prediction.probabilities.shape
        (('left', 'right'), (2,))
        >>> prediction.problem is None, len(prediction.top(5))  # of two classes
        (True, 2)
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        *,
        config: EvaluateConfig = ONE_VIEW,
        limits: Limits | None = None,
    ) -> None:
        saved = read_checkpoint(checkpoint)
        self.trained = check_checkpoint(saved, checkpoint)
        self._section, self._network = _section(self.trained, checkpoint), None
        if self.trained.modality == "flow":
            self._section, self._network = with_network(self._section)
        config = settled(config, saved, checkpoint)
        stored = (self.trained.dataset, self.trained.class_names, self.trained.multi_label, self.trained.parameters)
        self.info = DatasetInfo(*stored)
        repeat_to = config.views().cut.repeat_to(self.info)
        self._score, self._config = scorer_of(saved, config, repeat_to=repeat_to), config
        self._limits = limits or Limits()

    def __call__(self, path: str | os.PathLike[str], *, video_id: str | None = None) -> Prediction:
        """Decode a video file and say what the network sees in it.

        Args:
            path: The file.
            video_id: The name by which random clips are drawn, as in shards; by default the file's, without extension.

        Returns:
            Scores and probabilities of all classes, and why a part of the video was not read.

        Raises:
            VideoError: Nothing can be read of it, or its frames are smaller than what the network sees; with a reason.
        """
        return self.of(self.decode(path, video_id=video_id))

    def decode(self, path: str | os.PathLike[str], *, video_id: str | None = None) -> DecodedVideo:
        """Decode a video file as those of the training's shards were, in a process that can be killed.

        Args:
            path: The file.
            video_id: As a call of the predictor takes it.

        Returns:
            What the network can see, to be given to `of`, once or to several predictors of the same training data.

        Raises:
            VideoError: That is nothing, or its frames are smaller than what the network sees; with a reason.
        """
        job = VideoJob(  # the process that decodes may have been started in another folder
            os.path.abspath(path), self.trained.modality, self._section, self._limits.max_pixels, network=self._network
        )
        extraction = extract_in_sandbox(job, self._limits)
        if not len(extraction.rows):
            raise why_no_rows(extraction)
        self._check_size(extraction.rows)
        return DecodedVideo(os.fspath(path), video_id or Path(path).stem, extraction, self._section.codec)

    def of(self, decoded: DecodedVideo) -> Prediction:
        """Say what the network sees in a video that was decoded.

        Args:
            decoded: What `decode` gave.

        Returns:
            What a call with the file gives.
        """
        with torch_threads(self._config.num_threads):
            scores = self._score(decoded, decoded.video).video
        probabilities = probabilities_of(scores, multi_label=self.trained.multi_label)
        cut = self._config.views().cut
        remark = _few_frames(cut.num_frames(decoded, decoded.video), self._score.shape, decoded.modality, cut)
        return Prediction(decoded.path, self.trained.class_names, scores, probabilities, decoded.problem, remark)

    def _check_size(self, rows: VideoRows) -> None:
        """Raise VideoError where the crop that the network sees does not fit into a video's frames."""
        side = self._score.shape.size
        if min(rows.height, rows.width) < side:
            words = f"its frames are stored at {rows.height} x {rows.width} pixels; the network sees {side} x {side}."
            raise VideoError("unsupported", words)


class DecodedVideo:
    """The rows of one `video` as a `ShardReader` gives them, and the `problem` where a part of it was not read."""

    def __init__(self, path: str, video_id: str, extraction: Extraction, codec: str) -> None:
        self.path, self._rows, self._codec = path, extraction.rows, codec
        self.modality = self._rows.modality
        self.video = StoredVideo(video_id, "", (), len(self._rows))
        self.problem = extraction.problem and extraction.problem.sentence

    def times(self, video_id: str) -> np.ndarray:
        """Return when each row is shown, as `ShardReader.times` does.

        Args:
            video_id: Any: there is one video.

        Returns:
            float64 (N,) seconds from the first shown frame.
        """
        return self._rows.pts_seconds

    def read_pictures(self, video_id: str, rows: list[int]) -> StoredPictures:
        """Decode some rows, each picture by itself, as `ShardReader.read_pictures` does.

        Args:
            video_id: Any: there is one video.
            rows: Positions from 0 to the number of rows - 1.

        Returns:
            For each row uint8 (H, W, 3) RGB, or (H, W, 2) discretised flow, its bound, and times in seconds.

        Raises:
            ShardError: An image is damaged.
        """
        pictures = [decode_pictures(self._rows.between(row, row + 1), self._codec)[0] for row in rows]
        return StoredPictures(pictures, self._rows.pts_seconds[rows], self._rows.bound)


def _few_frames(count: int, shape: ClipShape, modality: str, cut: Cut) -> str | None:
    """Return what is to be said of a video with too few frames, or fields of flow, for a clip, None of others.

    Snippets of segments may overlap, as they do in training; too few are those of which two snippets are the same.
    """
    wanted = shape.num_segments * shape.snippet_length
    if cut.kind == "segments":
        wanted = shape.num_segments + shape.snippet_length - 1
    if count >= wanted:
        return None
    one, several = ("frame", "frames") if modality == "rgb" else ("flow field", "flow fields")
    words = f"one {one} was sampled" if count == 1 else f"{count} {several} were sampled"
    rate = "" if cut.fps is None else f" at {cut.fps:g} a second"
    seen = "saw the same one all the time" if count == 1 else "saw some repeatedly"
    return f"only {words} of it{rate} and the network wants {wanted}: it {seen}"


def _section(trained: TrainedOn, path: object) -> FrameParameters | FlowParameters:
    """Return how the videos of a training were stored; raise InputError where this version cannot do the same."""
    kind = FlowParameters if trained.modality == "flow" else FrameParameters
    try:
        if trained.normalization != NORMALIZATION[trained.modality]:
            raise ValueError("normalization")
        return kind(**trained.parameters)
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} was trained on videos that were stored in another way than this version knows; train the network "
            "again.",
            path=path,
        ) from error
