"""The networks of the papers, by name, over one kind of clip tensor and one kind of score.

A clip is float32 (N, S, K, C, H, W): S snippets over the video, K consecutive frames in each, C = 3 (RGB, normalised)
or 2 (flow). A model returns video scores before softmax, (N, num_classes).
"""

from __future__ import annotations

from torch import nn

from tdn_data.models.networks.actionflownet import ActionFlowNet, ActionFlowNet2F, Stacked
from tdn_data.models.networks.disentangled import Disentangled
from tdn_data.models.networks.lstm import LSTM
from tdn_data.models.networks.pooling import ConvPooling, LatePooling, LocalPooling, SlowPooling, TimeConvolution
from tdn_data.models.networks.tdn import TDN
from tdn_data.models.networks.tdn_wang import TDNWang
from tdn_data.models.networks.tsn import TSN

__all__ = ["MODELS", "build_model"]

MODELS = {
    "tsn": TSN,
    "tdn": TDN,
    "tdn_wang": TDNWang,
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
