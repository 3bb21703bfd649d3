"""The parameters of a training, checked when they are loaded; `train` in params.yaml."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from tdn_data.models.backbones import BACKBONES
from tdn_data.models.clips.augment import TRAINING_CROPS, Augment
from tdn_data.models.clips.cut import CUTS, Cut
from tdn_data.models.networks import FLOW_LEARNERS, network_class
from tdn_data.pipeline.datasets.registry import DATASETS
from tdn_data.pipeline.limits import (
    MAX_BATCH,
    MAX_CLIP_SIDE,
    MAX_EPOCHS,
    MAX_SEED,
    MAX_SEGMENTS,
    MAX_THREADS,
    MIN_CLIP_SIDE,
)

FLOW_SNIPPET_LENGTH = 5  # section 3.4: k = 5 for stacks of flow; for frames each network has its own, e.g. k = 1
FLOW_PAIRS = tuple(name for name, spec in DATASETS.items() if spec.kind == "flow pairs")
UNSET = (None, 0)  # values that leave an option of a network at the network's own default
BOUNDS = {  # what a whole number of a training may be; None stands for the program's own choice
    "num_segments": (1, MAX_SEGMENTS),
    "size": (MIN_CLIP_SIDE, MAX_CLIP_SIDE),
    "epochs": (1, MAX_EPOCHS),
    "iterations": (1, MAX_EPOCHS),
    "batch_size": (1, MAX_BATCH),
    "micro_batches": (1, MAX_BATCH),
    "patience": (0, MAX_EPOCHS),
    "validate_every": (1, MAX_EPOCHS),
    "num_threads": (1, MAX_THREADS),
    "seed": (0, MAX_SEED),
}


@dataclass(frozen=True)
class Part:
    """A part of a network that learns in its own way; what is None is as in the rest of the network.

    `lr_drops` and `end` are numbers of epochs or, where a training has `iterations`, of those.
    """

    prefix: str  # with which the names of its parameters begin, e.g. `motion.`
    learning_rate: float | None = None
    weight_decay: float | None = None
    lr_drops: tuple[int, ...] | None = None  # after each of which its rate is divided by ten
    end: int | None = None  # after which it stays as it is

    def __post_init__(self) -> None:
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise ValueError(f"parts: learning_rate is {self.learning_rate!r}; it must be a number above 0")
        if self.weight_decay is not None and not 0 <= self.weight_decay <= 1:
            raise ValueError(f"parts: weight_decay is {self.weight_decay!r}; it must be between 0 and 1")
        if any(number < 1 for number in (*(self.lr_drops or ()), self.end or 1)):
            raise ValueError(f"parts: lr_drops is {self.lr_drops!r} and end {self.end!r}; each must be 1 or more")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run but the data."""

    split: str | None = None  # of the videos, that is trained on; None: the data set's own training split
    backbone: Literal[tuple(BACKBONES)] = "resnet50"  # of each stream, see `tdn-data models`
    backbone_options: dict[str, object] = field(default_factory=dict)  # of the network, then of its backbone
    num_segments: int = 3  # S, snippets of a clip; for networks over single frames the number of frames
    cut: Literal[CUTS] = "segments"  # which frames these are: one snippet from each segment, or all consecutive
    cut_fps: float | None = None  # of the frames that clips are cut from; None: all that are stored
    taps: tuple[str, ...] | None = None  # TDN: the places of its differences; None: the paper's
    combination: Literal["sum", "conv1x1", "gated"] = "sum"  # TDN: how differences join the activations
    size: int = 224  # side of a clip's frames, pixels
    crop: Literal[TRAINING_CROPS] = "corner"  # which window of a frame is cut out
    mirror: bool = True  # half of the clips are reflected, left to right
    color_jitter: float = 0.0  # share by which brightness, contrast and saturation of RGB frames vary
    epochs: int = 30  # how often every video is seen
    iterations: int | None = None  # steps of the training in place of epochs; shares are then of these
    batch_size: int = 128  # clips of a step
    micro_batches: int = 1  # parts in which a batch is computed, to save memory; normalisation sees one part
    precision: Literal["float32", "bf16", "fp16"] = "float32"  # in which convolutions and products are computed
    optimizer: Literal["sgd", "adam"] = "sgd"  # both with `momentum`; chapter 4 takes Adam
    learning_rate: float = 0.01  # at the start
    momentum: float = 0.9  # of SGD; Adam's first beta
    weight_decay: float = 5e-4  # factor of the weights' squares in the loss
    schedule: Literal["step", "exponential", "plateau", "cosine"] = "step"  # of the learning rate, see `schedule`
    lr_steps: tuple[float, ...] = (0.4, 0.8)  # shares of all epochs; after each the learning rate is divided by ten
    lr_end: float = 0.0  # exponential and cosine: the share of the learning rate that is left at the end
    warmup: float = 0.0  # share of all epochs, at the start, in which the rate rises from a tenth
    patience: int = 5  # plateau: validations without a better result before the rate is divided by ten
    clip_norm: float | None = None  # the gradients' largest norm over all parameters; None: any
    parts: tuple[Part, ...] = ()  # of the network, that learn at a rate of their own
    ema: float = 0.0  # decay of the weights' moving average, which is then what is tested and kept; 0: none
    fixed_share: float = 0.0  # of the epochs, phase one: the image subnetwork learns its classifier only
    fixed: tuple[str, ...] | None = None  # or in phase one what these beginnings of names name stays, "" is all,
    free: tuple[str, ...] = ()  # but for what these name; for a TDN on flow the paper fixes `image.`
    flow_share: float = 0.0  # of the epochs, at the start: a network that learns flow trains on it alone
    flow_weight: float = 0.0  # lambda of equation 4.2 or 4.4 in the epochs after them; 0: classes only
    flow_pairs: Literal[FLOW_PAIRS] | None = None  # data set for the epochs of flow alone; None: the shards
    flow_pairs_root: str | None = None  # the folder where it lies
    label_smoothing: float = 0.0  # share of a target that is spread over all classes; one label a video
    mixup: float = 0.0  # alpha of the Beta distribution by which two clips are mixed; 0: none
    multi_label_loss: Literal["mean", "sigmoid", "softmax"] = "mean"  # several labels a video, see `losses`
    validation_share: float = 0.0  # of the training videos of each class, that are measured on and not trained on
    validation_split: str | None = None  # or the split that is measured on
    validate_every: int = 1  # epochs, and after the last
    keep: Literal["best", "last"] = "best"  # weights, where there is validation
    partial_bn: bool = False  # statistics of every normalisation but each backbone's first stay as they are
    init: tuple[str, ...] = ()  # files of weights, loaded one after the other; "imagenet": the backbone's published one
    compile: bool = False  # torch.compile: faster on a GPU after minutes of compiling, and rounded otherwise
    channels_last: bool = False  # clips, too, lie in memory with their channels last, as the weights do
    fused: bool = False  # the optimiser changes all weights at once
    num_threads: int | None = None  # that compute, see models.threads; None: as many as torch takes
    seed: int = 0  # of the weights, the order of the videos, the clips drawn

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate!r}; it must be a number above 0")
        for name in ("momentum", "weight_decay", "fixed_share", "flow_share", "lr_end"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be between 0 and 1")
        for name in ("warmup", "ema", "label_smoothing", "validation_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be at least 0 and below 1")
        for name, (least, most) in BOUNDS.items():
            if getattr(self, name) is not None and not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be from {least} to {most:,}")
        for name in ("flow_weight", "mixup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a number, 0 or more")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise ValueError(f"clip_norm is {self.clip_norm!r}; it must be a number above 0, or null")
        if self.cut_fps is not None and not 0 < self.cut_fps < math.inf:
            raise ValueError(f"cut_fps is {self.cut_fps!r}; it must be a number above 0, or null for all stored frames")
        if any(not 0 < step < 1 for step in self.lr_steps):
            raise ValueError(f"lr_steps is {self.lr_steps!r}; each must be a share of all epochs, between 0 and 1")
        self._check_together()
        self.clip_cut()
        self.augment()

    def _check_together(self) -> None:
        """Raise ValueError for values that do not go together."""
        if (self.flow_pairs is None) != (self.flow_pairs_root is None):
            raise ValueError("flow_pairs and flow_pairs_root go together; set both or neither")
        if self.flow_pairs is not None and not self.flow_share:
            raise ValueError(f"flow_pairs is {self.flow_pairs!r}; flow_share must say for how many of the epochs")
        if self.micro_batches > self.batch_size:
            raise ValueError(f"micro_batches is {self.micro_batches}; a batch has only {self.batch_size} clips")
        if self.schedule == "exponential" and not self.lr_end:
            raise ValueError("lr_end is 0; an exponential schedule never comes there: give what is left at the end")
        if self.schedule == "plateau" and not self.validates:
            raise ValueError("schedule is 'plateau'; it needs validation_share or validation_split")
        if self.validation_share and self.validation_split is not None:
            raise ValueError("validation_share and validation_split are both set; set one of them")
        if self.mixup and self.flow_weight:
            raise ValueError(f"mixup is {self.mixup!r}; clips that are mixed have no flow: set flow_weight to 0")
        if self.validates and self.flow_length == self.length:
            raise ValueError("flow_share is 1; validation measures classes, which are never trained")
        if (self.fixed_share or self.fixed is not None) and not self.fixed_length:
            raise ValueError(f"fixed_share is {self.fixed_share!r}; of {self.length} {self.unit} that fixes nothing")
        if self.cut_fps is not None and self.needs_flow:
            raise ValueError(f"cut_fps is {self.cut_fps!r}; flow leads to the next stored frame: set cut_fps to null")
        if self.free and self.fixed is None:
            raise ValueError("free is set and fixed is null; free excepts from what fixed names")

    @property
    def length(self) -> int:
        """How long the training is, in `unit`; shares are of this."""
        return self.iterations or self.epochs

    @property
    def unit(self) -> str:
        """What the length is counted in."""
        return "iterations" if self.iterations else "epochs"

    @property
    def flow_length(self) -> int:
        """How many of them, at the start, train the flow alone."""
        return round(self.flow_share * self.length)

    @property
    def fixed_length(self) -> int:
        """How many of them, at the start, are phase one, in which a part of the network stays as it is."""
        return round(self.fixed_share * self.length)

    @property
    def kinds(self) -> tuple[tuple[str, int], ...]:
        """What is trained, one after the other: `flow` alone, `classes`, or both, `joint`; and for how long each."""
        rest = self.length - self.flow_length
        kinds = (("flow", self.flow_length), ("joint" if self.flow_weight else "classes", rest))
        return tuple((kind, length) for kind, length in kinds if length)

    def stays_at(self, moment: float) -> tuple[bool, tuple[str, ...]]:
        """Return what does not learn at a moment: whether it lies in phase one, and the parts that have ended."""
        ended = tuple(part.prefix for part in self.parts if part.end is not None and moment >= part.end)
        return moment < self.fixed_length, ended

    @property
    def validates(self) -> bool:
        """Whether there is validation."""
        return bool(self.validation_share) or self.validation_split is not None

    @property
    def needs_flow(self) -> bool:
        """Whether training reads flow shards beside those of the frames."""
        joint = self.flow_weight > 0 and self.flow_length < self.length
        return joint or (self.flow_length > 0 and self.flow_pairs is None)

    def clip_cut(self) -> Cut:
        """Return how clips are cut out of videos."""
        return Cut(self.cut, self.cut_fps)

    def augment(self) -> Augment:
        """Return what training does to a clip; raise ValueError for a crop that is not known."""
        return Augment(self.size, self.crop, self.mirror, self.color_jitter)

    def model_options(self, model: str, modality: str) -> dict[str, object]:
        """Return what `build_model` is given for one network and modality."""
        common = {
            "backbone": self.backbone,
            "num_segments": self.num_segments,
            "modality": modality,
            **({"snippet_length": FLOW_SNIPPET_LENGTH} if modality == "flow" else {}),
            **self.backbone_options,
        }
        return common | self._own_options(model)

    def _own_options(self, model: str) -> dict[str, object]:
        """Return what the training sets of the options that one network has and others do not."""
        own = {name: getattr(self, name) for name in network_class(model).training_options}
        return {name: value for name, value in own.items() if value not in UNSET}

    def check_model(self, model: str) -> None:
        """Raise ValueError that names what cannot be done with one network, or not in so few epochs."""
        if self.flow_share and not self.flow_length:
            raise ValueError(f"flow_share is {self.flow_share!r}; of {self.length} {self.unit} that is not one")
        if (self.flow_share or self.flow_weight) and not network_class(model).learns_flow:
            raise ValueError(
                f"flow_share is {self.flow_share!r} and flow_weight {self.flow_weight!r}; {model} does not learn flow, "
                f"these networks do: {', '.join(FLOW_LEARNERS)}"
            )
        if self.fixed_share and self.fixed is None and network_class(model).image_part is None:
            raise ValueError(
                f"fixed_share is {self.fixed_share!r}; {model} has no image subnetwork that could be fixed: set "
                "fixed_share to 0, or fixed to what is to stay as it is"
            )
        network_class(model).check_options({"backbone": self.backbone} | self._own_options(model))
        network_class(model).check_training(self.backbone_options, flow_weight=self.flow_weight)
