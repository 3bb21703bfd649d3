"""The parameters of a training, checked when they are loaded; `train` in params.yaml."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from tdn_data.models.clips.augment import Augment
from tdn_data.models.networks import MODELS
from tdn_data.models.networks.actionflownet import FlowRecognizer
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
FLOW_LEARNERS = tuple(name for name, kind in MODELS.items() if issubclass(kind, FlowRecognizer))
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
    """Everything that decides a training run but the data.

    `split` is what is trained on, None for the data set's own training split. `lr_steps` are shares of all epochs after
    which the learning rate is divided by ten, `fixed_share` is the share of epochs of phase one. `momentum` is Adam's
    first beta, too. `color_jitter` changes RGB frames only. `init` names files of weights, loaded one after the other;
    "imagenet" stands for the backbone's published one, see `models.weights.published`. `num_threads` compute (see
    `torch_threads`). `num_workers` processes prepare clips; their number changes nothing in the result.

    `flow_share` is the share of epochs in which a network that learns flow trains on it alone, `flow_weight` lambda of
    equation 4.2 or 4.4 in the epochs after them; with neither it learns classes only. `flow_pairs` names a data set of
    image pairs under `flow_pairs_root` on which a two-frame network spends the first of the two in place of the shards.
    """

    split: str | None = None
    backbone: str = "resnet50"
    backbone_options: dict[str, object] = field(default_factory=dict)
    num_segments: int = 3
    taps: tuple[str, ...] | None = None
    combination: Literal["sum", "conv1x1", "gated"] = "sum"
    size: int = 224
    crop: Literal["corner", "random", "center"] = "corner"
    mirror: bool = True
    color_jitter: float = 0.0
    epochs: int = 30
    batch_size: int = 128
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    lr_steps: tuple[float, ...] = (0.4, 0.8)
    fixed_share: float = 0.2
    flow_share: float = 0.0
    flow_weight: float = 0.0
    flow_pairs: str | None = None
    flow_pairs_root: str | None = None
    partial_bn: bool = False
    init: tuple[str, ...] = ()
    num_threads: int | None = None
    num_workers: int = 0
    seed: int = 0

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
        options = {
            "backbone": self.backbone,
            "num_segments": self.num_segments,
            "modality": modality,
            **({"snippet_length": FLOW_SNIPPET_LENGTH} if modality == "flow" else {}),
            **self.backbone_options,
        }
        if model == "tdn":
            options |= {"taps": self.taps, "combination": self.combination}
        if model in FLOW_LEARNERS and self.flow_weight:
            options |= {"flow_weight": self.flow_weight}
        return options

    def check_model(self, model: str) -> None:
        """Raise ValueError that names what cannot be done with one network, or not in so few epochs."""
        if self.flow_share and not self.num_flow_epochs:
            raise ValueError(f"flow_share is {self.flow_share!r}; of {self.epochs} epochs that is not one")
        if (self.flow_share or self.flow_weight) and model not in FLOW_LEARNERS:
            raise ValueError(
                f"flow_share is {self.flow_share!r} and flow_weight {self.flow_weight!r}; {model} does not learn flow, "
                f"these networks do: {', '.join(FLOW_LEARNERS)}"
            )
        if model == "stacked" and self.flow_weight and self.backbone_options.get("fixed_flow", True):
            raise ValueError(
                f"flow_weight is {self.flow_weight!r}; stacked keeps its flow network fixed while it learns classes: "
                "set flow_weight to 0, or fixed_flow to false in backbone_options"
            )
