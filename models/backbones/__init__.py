"""Image networks by name, with the parameter names of their published weights."""

from __future__ import annotations

from tdn_data.models.backbones.alexnet import AlexNet
from tdn_data.models.backbones.base import Backbone
from tdn_data.models.backbones.bninception import BNInception
from tdn_data.models.backbones.googlenet import GoogLeNet
from tdn_data.models.backbones.resnet import resnet18, resnet34, resnet50, resnet101
from tdn_data.models.backbones.vgg import VGG16

CLASSIFIERS = ("fc", "fc2", "last_linear", "classifier")  # what the published files call the layers after the maps

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
    """Return the network called `name`: image (N, in_channels, H, W) to logits (N, num_classes).

    `options` go to the network, e.g. `width=16` for a narrow ResNet. Raises ValueError for an unknown name or a width
    below 1 or above 4096, and TypeError for an option the network does not have.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone is {name!r}; known backbones: {', '.join(BACKBONES)}")
    width = options.get("width", 1)
    if not isinstance(width, int) or not 1 <= width <= MAX_WIDTH:
        raise ValueError(f"width is {width!r}; it must be a whole number from 1 to {MAX_WIDTH}")
    network = BACKBONES[name](num_classes=num_classes, in_channels=in_channels, **options)
    network.architecture = name
    return network


def is_classifier(parameter_name: str) -> bool:
    """Return whether a backbone's parameter belongs to what makes scores from its last map."""
    return any(part in CLASSIFIERS for part in parameter_name.split("."))
