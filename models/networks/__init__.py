"""The networks of the papers, by name, over one kind of clip tensor and one kind of score.

A clip is float32 (N, S, K, C, H, W): S snippets over the video, K consecutive frames in each, C = 3 (RGB, normalised)
or 2 (flow). A model returns video scores before softmax, (N, num_classes). What a network of one's own needs is said in
`base`; with its line in `MODELS` it is trained, tested, started from others' weights and timed as the rest.
"""

from __future__ import annotations

from tdn_data.models.networks.actionflownet import ActionFlowNet, ActionFlowNet2F, Stacked
from tdn_data.models.networks.base import VideoNetwork, check_count
from tdn_data.models.networks.disentangled import Disentangled
from tdn_data.models.networks.lstm import LSTM
from tdn_data.models.networks.pooling import ConvPooling, LatePooling, LocalPooling, SlowPooling, TimeConvolution
from tdn_data.models.networks.tdn import TDN
from tdn_data.models.networks.tdn_wang import TDNWang
from tdn_data.models.networks.tsn import TSN

__all__ = ["FLOW_LEARNERS", "GIVE_FLOW", "MODELS", "build_model", "network_class"]

MODELS: dict[str, type[VideoNetwork]] = {
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
FLOW_LEARNERS = tuple(name for name, kind in MODELS.items() if kind.learns_flow)
GIVE_FLOW = tuple(name for name, kind in MODELS.items() if kind.gives_flow)  # some of them without having learned it


def network_class(name: str) -> type[VideoNetwork]:
    """Return the class of a network.

    Args:
        name: A key of `MODELS`.

    Returns:
        The class, whose keywords are the network's options.

    Raises:
        ValueError: There is no such network; the message names the known ones.

    >>> network_class("tsn").__name__
    'TSN'
    """
    if name not in MODELS:
        raise ValueError(f"model is {name!r}; known models: {', '.join(MODELS)}")
    return MODELS[name]


def build_model(name: str, *, num_classes: int, **options: object) -> VideoNetwork:
    """Return the network called `name`, with weights drawn at random.

    Args:
        name: A key of `MODELS`, e.g. "tsn", "tdn" (Ng & Davis) or "tdn_wang" (Wang et al.).
        num_classes: How many scores a video gets.
        **options: What the network's class takes; the defaults are those of its paper. Common to all are
            `backbone`, e.g. "resnet50", `num_segments` (S of the clip), `snippet_length` (K), and `modality`, "rgb" or
            "flow".

    Returns:
        The network: clip float32 (N, S, K, C, H, W) to video scores before softmax, (N, num_classes).

    Raises:
        ValueError: The name is not known, or an option has a value that the network cannot have.
        TypeError: The network does not have one of the options.

    Example:
        >>> import torch
        >>> network = build_model("tdn", num_classes=10, backbone="resnet18", width=8, num_segments=3).eval()
        >>> clip = torch.zeros(2, 3, 1, 3, 64, 64)
        >>> network(clip).shape
        torch.Size([2, 10])
        >>> list(network.forward_streams(clip))
        ['image', 'difference']
    """
    return network_class(name)(num_classes=check_count("num_classes", num_classes), **options)
