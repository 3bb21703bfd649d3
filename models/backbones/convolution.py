"""A convolution that stays off a path of oneDNN's that writes past its memory.

On the CPU torch computes convolutions with oneDNN. For a 1x1 kernel with a stride, oneDNN first copies the pixels that
are used into a workspace. For the gradient of the weights, with channels last in memory, it counts places there in
whole blocks of channels but reserves the channels alone (oneDNN issue 6035, "1x1 convolution backward_weights writes
past the rtus workspace"; in torch 2.13.0 with oneDNN 3.12.0). With fewer channels than a block it writes past the end:
the process dies at once or later, hangs, or goes on with wrong gradients. Seen by fencing every block of memory, with
1,789 drawn convolutions on one and two threads, the fault needs all of these at once, and nothing else had it:

    kernel 1x1, stride above 1 in either direction (dilation has no meaning), no padding, one group, two dimensions
        (not over time, and not one-dimensional)
    fewer input channels than a block: 8 with AVX2 (float32), 16 with AVX-512 (float32 and bfloat16); the output
        channels, a bias and whether the input has a gradient do not matter; SSE4.1 and AVX do not have the path
    input or weight with channels last, and the sizes of the input multiples of the stride
    an output too large for one step of the reduction: on one thread from 4x4 with AVX2 and about 28x28 with AVX-512;
        on two threads the gradients are wrong, or the process hangs, where it does not die

A step over pixels followed by the same convolution without a stride gives the same sums and never comes there. That is
done for the layers concerned whatever the layout, size, threads and processor, so that a network computes the same way
everywhere and on versions without the fault; all other layers are torch's own.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

WIDEST_BLOCK = 16  # channels: of AVX-512


class Convolution2d(nn.Conv2d):
    """`nn.Conv2d`, but a strided 1x1 convolution of few channels steps over the pixels itself."""

    @property
    def steps_over_pixels(self) -> bool:
        """Whether oneDNN could write past its workspace for this layer, in some layout and size."""
        return _writes_past(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of a map (N, C, H, W)."""
        if not self.steps_over_pixels:
            return super().forward(x)
        step_down, step_right = self.stride
        return F.conv2d(x[..., ::step_down, ::step_right], self.weight, self.bias)


def unsafe_layers(network: nn.Module) -> list[str]:
    """Return the names of layers with which training on a CPU is not safe: torch's own where this file's belongs."""
    layers = ((name, part) for name, part in network.named_modules() if isinstance(part, nn.Conv2d))
    return [name for name, part in layers if _writes_past(part) and not isinstance(part, Convolution2d)]


def _writes_past(layer: nn.Conv2d) -> bool:
    """Return whether oneDNN could write past its workspace for a layer, in some layout and size."""
    pointwise = layer.kernel_size == (1, 1) and layer.stride != (1, 1) and layer.groups == 1
    return pointwise and layer.padding in ((0, 0), "valid") and layer.in_channels < WIDEST_BLOCK
