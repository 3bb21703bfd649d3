"""Image networks by name, with the parameter names of their published weights."""

from __future__ import annotations

from tdn_data.models.backbones.alexnet import AlexNet
from tdn_data.models.backbones.base import Backbone
from tdn_data.models.backbones.bninception import BNInception
from tdn_data.models.backbones.googlenet import GoogLeNet
from tdn_data.models.backbones.resnet import resnet18, resnet34, resnet50, resnet101
from tdn_data.models.backbones.vgg import VGG16

BACKBONES = {
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "bninception": BNInception,
    "googlenet": GoogLeNet,
    "vgg16": VGG16,
    "alexnet": AlexNet,
}
MAX_WIDTH = 4096  # channels of a first stage; the papers' widest has 64


def build_backbone(name: str, *, num_classes: int = 1000, in_channels: int = 3, **options: object) -> Backbone:
    """Return the image network called `name`, with weights drawn at random.

    Args:
        name: A key of `BACKBONES`, e.g. "resnet50" or "bninception".
        num_classes: How many numbers it gives for an image.
        in_channels: Channels C of an image: 3 for RGB, 2 for one flow field, 2 K for K stacked ones.
        **options: What the network's class takes, e.g. `width=16` for a narrow ResNet or `dropout=0.5`.

    Returns:
        The network: image (N, in_channels, H, W) to logits (N, num_classes). Its parameters have the names of its
        published weights; `load_weights(network, "imagenet")` loads those.

    Raises:
        ValueError: The name is not known, or the width is not from 1 to 4096.
        TypeError: The network does not have one of the options.

    Example:
        >>> import torch
        >>> network = build_backbone("resnet18", num_classes=5, width=8).eval()
        >>> network(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 5])
        >>> {layer: tuple(map.shape[1:]) for layer, map in network.forward_features(torch.zeros(1, 3, 64, 64)).items()}
        {'conv1': (8, 16, 16), 'res2': (8, 16, 16), 'res3': (16, 8, 8), 'res4': (32, 4, 4), 'res5': (64, 2, 2)}
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone is {name!r}; known backbones: {', '.join(BACKBONES)}")
    width = options.get("width", 1)
    if not isinstance(width, int) or not 1 <= width <= MAX_WIDTH:
        raise ValueError(f"width is {width!r}; it must be a whole number from 1 to {MAX_WIDTH}")
    network = BACKBONES[name](num_classes=num_classes, in_channels=in_channels, **options)
    network.architecture = name
    return network
