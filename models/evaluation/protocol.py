"""The protocol of a test: `test` in params.yaml, checked when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

from tdn_data.models.clips.cut import CUTS, Cut
from tdn_data.models.clips.views import SPATIAL, TEMPORAL, Views
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.pipeline.limits import MAX_BATCH, MAX_CLIP_SIDE, MAX_SEED, MAX_SEGMENTS, MAX_THREADS, MIN_CLIP_SIDE

AVERAGES = ("logits", "softmax", "log")
BOUNDS = {  # what a whole number of a test may be; None stands for the program's own choice
    "num_clips": (1, MAX_SEGMENTS),
    "num_segments": (1, MAX_SEGMENTS),
    "size": (MIN_CLIP_SIDE, MAX_CLIP_SIDE),
    "views_per_batch": (1, MAX_BATCH),
    "num_threads": (1, MAX_THREADS),
    "seed": (0, MAX_SEED),
}


@dataclass(frozen=True)
class EvaluateConfig:
    """The test protocol. Ng & Davis, section 4.2: 25 clips, 10 crops; Wang et al., section 4.1: 1 clip and 1 crop, or
    10 clips and 3 crops of 256; dissertation, section 3.4: 240 clips `consecutive`, one crop `random` each, averaged
    as `softmax`. `split` None is the data set's own test split.
    """

    split: str | None = None
    temporal: Literal[TEMPORAL] = "random"  # where clips lie, see `clips.views`
    num_clips: int | None = 25  # None for dense ones, whose number follows from the video's length
    cut: Literal[CUTS] | None = None  # what a clip is made of, see `clips.cut`; None, and then fps, too: as in training
    fps: float | None = None  # frames a second that clips are made of; None: all stored ones
    num_segments: int | None = None  # S of a clip; None: as in training
    spatial: Literal[SPATIAL] = "fixed"  # where crops lie, see `clips.views`
    num_crops: int = 10
    size: int | None = None  # side of the crops in pixels; None: as in training
    average: Literal[AVERAGES] = "logits"  # over the views, see `scoring.average_scores`
    clip_scores: bool = False  # whether the scores of each clip are kept and counted, too
    views_per_batch: int = 50  # at most; fewer where clips are large
    max_missing_share: float = 0.0  # of the split's videos, that may have no frames and then stay out of the metrics
    num_threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.max_missing_share < 1:
            raise ValueError(f"max_missing_share is {self.max_missing_share!r}; it must be at least 0 and below 1")
        for name, (least, most) in BOUNDS.items():
            if getattr(self, name) is not None and not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be from {least} to {most:,}")
        if self.average not in AVERAGES:
            raise ValueError(f"average is {self.average!r}; it must be one of {', '.join(AVERAGES)}")
        self.views()

    def views(self) -> Views:
        """Return what is seen of a video; raise ValueError for values that do not go together."""
        cut = Cut(self.cut or ("consecutive" if self.temporal == "dense" else "segments"), self.fps)
        return Views(self.num_clips, self.num_crops, self.temporal, self.spatial, cut, self.seed)

    def settled(self, trained: Cut) -> EvaluateConfig:
        """Return the protocol with clips that are cut as in training, where it does not say how."""
        return self if self.cut else replace(self, cut=trained.kind, fps=self.fps or trained.fps)

    def split_of(self, dataset: str) -> str:
        """Return the split that is tested: `split`, else the one on which results on the data set are reported."""
        return self.split or dataset_spec(dataset).test_split


def config_from(parameters: Mapping[str, object]) -> EvaluateConfig:
    """Return the protocol that a run's record holds; what an earlier version did not know has its default."""
    known = {field.name for field in fields(EvaluateConfig)}
    return EvaluateConfig(**{name: value for name, value in parameters.items() if name in known})
