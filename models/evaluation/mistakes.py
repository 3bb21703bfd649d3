"""The videos that a run gets wrong, the most certain first, in words and in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdn_data.models.evaluation.metrics import probabilities_of
from tdn_data.models.evaluation.scores import VideoScores
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.view.inspect import pictures_at
from tdn_data.pipeline.view.sheet import labelled_thumbnail, stack_bands


@dataclass(frozen=True)
class Mistake:
    """A video, its classes, the class that it was taken for, and the probabilities of that and of its own class."""

    video_id: str
    truth: tuple[str, ...]
    guess: str
    score: float
    truth_score: float

    def words(self) -> str:
        """Return one line: the video, its class, what it was taken for, and the probability of each."""
        truth = "; ".join(self.truth) or "no class"
        return f"{self.video_id}: {truth} {self.truth_score:.2f}, taken for {self.guess} {self.score:.2f}"


def mistakes_of(
    result: VideoScores, class_names: Sequence[str], *, multi_label: bool, of_class: str | None = None
) -> list[Mistake]:
    """Return the videos whose best score is of none of their classes, the most probable guess first.

    `of_class` keeps those of one class. The probability of a video's own class is that of the likeliest.
    """
    probabilities = probabilities_of(result.scores, multi_label=multi_label)
    wanted = None if of_class is None else list(class_names).index(of_class)
    found = []
    guesses = result.scores.argmax(1).tolist()  # two scores can round to one probability
    for video_id, labels, guess, row in zip(result.video_ids, result.labels, guesses, probabilities, strict=True):
        if guess not in labels and (wanted is None or wanted in labels):
            own = max((float(row[label]) for label in labels), default=0.0)
            truth = tuple(class_names[label] for label in labels)
            found.append(Mistake(video_id, truth, class_names[guess], float(row[guess]), own))
    return sorted(found, key=lambda one: (-one.score, one.video_id))


def mistake_frames(reader: ShardReader, mistake: Mistake, num_columns: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return frames of its video, evenly spaced over it, each uint8 (H, W, 3) RGB, and their times in seconds."""
    seconds = reader.times(mistake.video_id)
    return pictures_at(reader, mistake.video_id, np.linspace(seconds[0], seconds[-1], num_columns))


def mistakes_sheet(
    reader: ShardReader, mistakes: Sequence[Mistake], *, num_columns: int = 6, height: int = 112
) -> np.ndarray:
    """Return uint8 (H, W, 3) RGB: under each mistake's words its frames with their times."""
    bands = []
    for mistake in mistakes:
        pictures, seconds = mistake_frames(reader, mistake, num_columns)
        cells = zip(pictures, seconds.tolist(), strict=True)
        band = [labelled_thumbnail(picture, height, f"{second:.2f} s") for picture, second in cells]
        bands.append((np.concatenate(band, axis=1), mistake.words()))
    return stack_bands(bands)
