"""3D-ResNet-18: Ng's dissertation, section 4.3.1 (Ng et al., "ActionFlowNet", WACV 2018).

ResNet-18 in which every k x k kernel spans three frames as well, the 1x1 of the shortcuts included. Time is never
pooled: the stem keeps it, and where a residual block halves the resolution, from the third block on, it halves time
too. 16 frames of 224 x 224:

    conv1  64 x 16 x 56 x 56    res2  64 x 16 x 56 x 56    res3  128 x 8 x 28 x 28
    res4  256 x 4 x 14 x 14     res5  512 x 2 x 7 x 7

The form, the layers' names and the parameters' names are those of `models.backbones.resnet`.
"""

from __future__ import annotations

from torch import nn

from tdn_data.models.backbones.resnet import ResNet

NUM_FRAMES = 3  # of every kernel


def extend_to_time(network: ResNet) -> ResNet:
    """Return the image network with its layers exchanged, in place, for ones over (N, C, T, H, W), freshly drawn.

    Of ResNet-18 it makes the 3D-ResNet-18, 34.0 M parameters at 1000 classes.
    """
    for name, module in list(network.named_modules()):
        layer = _over_time(module, halve_time=name.startswith("layer"))
        if layer is not None:
            owner, _, attribute = name.rpartition(".")
            setattr(network.get_submodule(owner), attribute, layer)
    return network


def _over_time(layer: nn.Module, *, halve_time: bool) -> nn.Module | None:
    """Return the counterpart of an image layer for clips, or None for one that serves both."""
    if isinstance(layer, nn.Conv2d):
        return _convolution(layer, halve_time=halve_time)
    if isinstance(layer, nn.BatchNorm2d):
        return nn.BatchNorm3d(layer.num_features)
    if isinstance(layer, nn.MaxPool2d):
        size, stride, padding = layer.kernel_size, layer.stride, layer.padding
        return nn.MaxPool3d((1, size, size), (1, stride, stride), (0, padding, padding))
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return nn.AdaptiveAvgPool3d(layer.output_size)
    return None


def _convolution(layer: nn.Conv2d, *, halve_time: bool) -> nn.Conv3d:
    convolution = nn.Conv3d(
        layer.in_channels,
        layer.out_channels,
        (NUM_FRAMES, *layer.kernel_size),
        (layer.stride[0] if halve_time else 1, *layer.stride),
        padding=(NUM_FRAMES // 2, *layer.padding),
        bias=False,
    )
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
