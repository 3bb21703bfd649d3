"""The parameters of a training, checked when they are loaded; `train` in params.yaml."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from tdn_data.models.clips.augment import Augment
from tdn_data.models.networks import MODELS, network_class
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
FLOW_LEARNERS = tuple(name for name, kind in MODELS.items() if kind.learns_flow)
UNSET = (None, 0)  # values that leave an option of a network at the network's own default
BOUNDS = {  # what a whole number of a training may be; None stands for the program's own choice
    "num_segments": (1, MAX_SEGMENTS),
    "size": (MIN_CLIP_SIDE, MAX_CLIP_SIDE),
    "epochs": (1, MAX_EPOCHS),
    "batch_size": (1, MAX_BATCH),
    "num_threads": (1, MAX_THREADS),
    "num_workers": (0, MAX_THREADS),
    "seed": (0, MAX_SEED),
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run but the data."""

    split: str | None = None  # of the videos, that is trained on; None: the data set's own training split
    backbone: str = "resnet50"  # a key of models.backbones.BACKBONES
    backbone_options: dict[str, object] = field(default_factory=dict)  # of the network, then of its backbone
    num_segments: int = 3  # S, snippets of a clip
    taps: tuple[str, ...] | None = None  # TDN: the places of its differences; None: the paper's
    combination: Literal["sum", "conv1x1", "gated"] = "sum"  # TDN: how differences join the activations
    size: int = 224  # side of a clip's frames, pixels
    crop: Literal["corner", "random", "center"] = "corner"  # which window of a frame is cut out
    mirror: bool = True  # half of the clips are reflected, left to right
    color_jitter: float = 0.0  # share by which brightness, contrast and saturation of RGB frames vary
    epochs: int = 30  # how often every video is seen
    batch_size: int = 128  # clips of a step
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.01  # at the start
    momentum: float = 0.9  # of SGD; Adam's first beta
    weight_decay: float = 5e-4  # factor of the weights' squares in the loss
    lr_steps: tuple[float, ...] = (0.4, 0.8)  # shares of all epochs; after each the learning rate is divided by ten
    fixed_share: float = 0.2  # of the epochs, phase one: the image subnetwork learns its classifier only
    flow_share: float = 0.0  # of the epochs, at the start: a network that learns flow trains on it alone
    flow_weight: float = 0.0  # lambda of equation 4.2 or 4.4 in the epochs after them; 0: classes only
    flow_pairs: str | None = None  # data set of image pairs for the epochs of flow alone; None: the shards
    flow_pairs_root: str | None = None  # the folder where it lies
    partial_bn: bool = False  # statistics of every normalisation but each backbone's first stay as they are
    init: tuple[str, ...] = ()  # files of weights, loaded one after the other; "imagenet": the backbone's published one
    num_threads: int | None = None  # that compute, see models.threads; None: as many as torch takes
    num_workers: int = 0  # processes that prepare clips; their number changes nothing in the result
    snapshot_seconds: float = 300.0  # how often the state is kept from which an interrupted training goes on
    seed: int = 0  # of the weights, the order of the videos, the clips drawn

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate!r}; it must be a number above 0")
        for name in ("momentum", "weight_decay", "fixed_share", "flow_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be between 0 and 1")
        for name, (least, most) in BOUNDS.items():
            if getattr(self, name) is not None and not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be from {least} to {most:,}")
        if not 0 <= self.flow_weight < math.inf:
            raise ValueError(f"flow_weight is {self.flow_weight!r}; it must be a number, 0 or more")
        if not 0 <= self.snapshot_seconds < math.inf:
            raise ValueError(f"snapshot_seconds is {self.snapshot_seconds!r}; it must be a number, 0 or more")
        if any(not 0 < step < 1 for step in self.lr_steps):
            raise ValueError(f"lr_steps is {self.lr_steps!r}; each must be a share of all epochs, between 0 and 1")
        self.augment()
        if (self.flow_pairs is None) != (self.flow_pairs_root is None):
            raise ValueError("flow_pairs and flow_pairs_root go together; set both or neither")
        if self.flow_pairs is not None and not self.flow_share:
            raise ValueError(f"flow_pairs is {self.flow_pairs!r}; flow_share must say for how many of the epochs")

    @property
    def num_flow_epochs(self) -> int:
        """How many epochs, at the start, train the flow alone."""
        return round(self.flow_share * self.epochs)

    @property
    def needs_flow(self) -> bool:
        """Whether training reads flow shards beside those of the frames."""
        joint = self.flow_weight > 0 and self.num_flow_epochs < self.epochs
        return joint or (self.num_flow_epochs > 0 and self.flow_pairs is None)

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
        own = {name: getattr(self, name) for name in network_class(model).training_options}
        return common | {name: value for name, value in own.items() if value not in UNSET}

    def check_model(self, model: str) -> None:
        """Raise ValueError that names what cannot be done with one network, or not in so few epochs."""
        if self.flow_share and not self.num_flow_epochs:
            raise ValueError(f"flow_share is {self.flow_share!r}; of {self.epochs} epochs that is not one")
        if (self.flow_share or self.flow_weight) and not network_class(model).learns_flow:
            raise ValueError(
                f"flow_share is {self.flow_share!r} and flow_weight {self.flow_weight!r}; {model} does not learn flow, "
                f"these networks do: {', '.join(FLOW_LEARNERS)}"
            )
        network_class(model).check_training(self.backbone_options, flow_weight=self.flow_weight)
