"""Batch normalisation folded into the convolution before it: the same scores in evaluation, fewer passes over memory.

In evaluation norm(convolution(x)) is a convolution with other numbers (Ioffe and Szegedy, "Batch Normalization", ICML
2015, section 3.1: the normalisation is a linear transform once its statistics are fixed). torch.compile and other
runtimes do this themselves; `fold_norms` does it where a network runs as it is written.
"""

from __future__ import annotations

import re

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

# a normalisation's name and that of the convolution whose result it gets, inside one module
NAMES = ((r"bn(\d*)", r"conv\1"), (r"(.+)_bn", r"\1"), (r"norm", "convolution"))


def fold_norms(network: nn.Module) -> nn.Module:
    """Fold every batch normalisation of a network in evaluation mode, in place; return the network.

    It cannot be trained any more, and its weights are no longer those of a file. Raises ValueError for a network in
    training mode and for a normalisation whose convolution does not follow from its name.
    """
    if network.training:
        raise ValueError("network is in training mode; call its eval() first")
    for owner in list(network.modules()):
        for name, norm in list(owner.named_children()):
            if isinstance(norm, _BatchNorm):
                _fold(_convolution_before(owner, name), norm)
                setattr(owner, name, nn.Identity())
    return network


def _fold(convolution: nn.Conv2d | nn.Conv3d, norm: _BatchNorm) -> None:
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    convolution.weight, convolution.bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)


def _convolution_before(owner: nn.Module, name: str) -> nn.Conv2d | nn.Conv3d:
    if isinstance(owner, nn.Sequential):
        found = owner[int(name) - 1]
    else:
        names = [re.sub(pattern, own, name) for pattern, own in NAMES if re.fullmatch(pattern, name)]
        found = getattr(owner, names[0], None) if names else None
    if not isinstance(found, (nn.Conv2d, nn.Conv3d)):
        raise ValueError(f"{type(owner).__name__}.{name}: no convolution of that name, so it cannot be folded")
    return found
