"""Networks for videos, by name, over one kind of clip tensor and one kind of score.

A clip is float32 (N, S, K, C, H, W): S snippets over the video, K consecutive frames in each, C = 3 (RGB, normalised)
or 2 (flow). A model returns video scores before softmax, (N, num_classes).
"""

from __future__ import annotations

from torch import nn

from models.actionflownet import ActionFlowNet, ActionFlowNet2F, Stacked
from models.checkpoint import load_weights
from models.disentangled import Disentangled
from models.lstm import LSTM
from models.pooling import ConvPooling, LatePooling, LocalPooling, SlowPooling, TimeConvolution
from models.tdm import TDM
from models.tdn import TDN
from models.tsn import TSN

__all__ = ["MODELS", "build_model", "load_weights"]

MODELS = {
    "tsn": TSN,
    "tdn": TDN,
    "tdm": TDM,
    "conv_pooling": ConvPooling,
    "late_pooling": LatePooling,
    "slow_pooling": SlowPooling,
    "local_pooling": LocalPooling,
    "time_conv": TimeConvolution,
    "lstm": LSTM,
    "actionflownet": ActionFlowNet,
    "actionflownet_2f": ActionFlowNet2F,
    "stacked": Stacked,
    "disentangled": Disentangled,
}


def build_model(name: str, *, num_classes: int, **options: object) -> nn.Module:
    """Return the network called `name`.

    Options common to all: `backbone="resnet50"`, `num_segments=8`, `modality="rgb"` or `"flow"`; others as the class
    in `MODELS` takes them. Raises ValueError for an unknown name and TypeError for an option the network lacks.
    """
    if name not in MODELS:
        raise ValueError(f"model is {name!r}; known models: {', '.join(MODELS)}")
    return MODELS[name](num_classes=num_classes, **options)
