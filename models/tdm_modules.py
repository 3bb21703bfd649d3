"""The modules of TDN: Wang et al., "TDN: Temporal Difference Networks for Efficient Action Recognition", CVPR 2021.

S-TDM's fusion (section 3.2, table 1a), L-TDM (section 3.3, equations 2 and 4 to 6, table 1b) and the temporal
convolution (section 3.4). Maps are (N * S, C, H, W), S segments of a video after one another, and stay channels-last:
every module here hands on the memory format that it was given.

Departures, all on the side of the authors' published weights:
- L-TDM's attention is sigmoid - 1/2, so that no motion leaves the features nearly alone; equation 5 has the sigmoid.
- The aligned difference is Conv(F') - F (equation 4 has the other sign), and the three scales are averaged, not summed.
- What comes from a coarser map is repeated (nearest neighbour); section 3.3 has bilinear upsampling.
- A segment at the end has no neighbour in one direction; its difference is zero.
The paper leaves open how H(X) turns into an attention in table 1a: here by a sigmoid, and per channel as in SENet.

For speed, with the same numbers: in evaluation L-TDM's normalisations are folded into the convolutions before them,
and large maps are added, not reduced over a stacked axis, each in as few passes over memory as autograd allows.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.base import init_weights

LONG_TERM_FUSIONS = ("attention", "add", "channel_attention")
SHORT_TERM_FUSIONS = ("add", "attention", "residual_attention", "channel_attention", "residual_channel_attention")


class NormalizedConvolution(nn.Module):
    """A convolution without bias that keeps the size, then batch normalisation: (N, C, H, W) -> (N, C', H, W)."""

    def __init__(self, num_inputs: int, num_outputs: int, size: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(num_inputs, num_outputs, size, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return norm(convolution(x)); in evaluation as a single convolution."""
        if self.training:
            return self.norm(self.convolution(x))
        scale = self.norm.weight * torch.rsqrt(self.norm.running_var + self.norm.eps)
        weight = self.convolution.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, self.norm.bias - self.norm.running_mean * scale, padding=self.convolution.padding)


class TemporalConvolution(nn.Module):
    """Convolution over segments, each channel by itself, three taps, zeros outside: out[t] = sum_k w[k] x[t + k - 1].

    It starts as the temporal shift of "TSM" (Lin et al., ICCV 2019): an eighth of the channels looks at the next
    segment, an eighth at the one before, the rest at its own.
    """

    def __init__(self, channels: int, *, num_segments: int) -> None:
        super().__init__()
        self.num_segments = num_segments
        weight = torch.zeros(channels, 1, 3)
        fold = channels // 8
        weight[:fold, 0, 2] = 1
        weight[fold : 2 * fold, 0, 0] = 1
        weight[2 * fold :, 0, 1] = 1
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map (N * S, C, H, W) mixed over its segments.

        It is the sum of three slices, each with its weight, in the layout that comes in: nothing is transposed.
        """
        clips = x.unflatten(0, (-1, self.num_segments))  # (N, S, C, H, W)
        # (C, 1, 1) each, without gaps in memory: a third of the time of strided weights
        before, here, after = self.weight.movedim(2, 0).unsqueeze(-1).contiguous()
        out = clips * here
        out[:, 1:].addcmul_(clips[:, :-1], before)
        out[:, :-1].addcmul_(clips[:, 1:], after)
        return out.flatten(0, 1)

    def uncounted_multiply_adds(self, x: Tensor) -> int:
        """Return the multiply-adds of `forward`, which `models.cost` cannot see in sums and products."""
        return 3 * x.numel()


class LongTermDifference(nn.Module):
    """L-TDM: x + x * attention, the attention computed from the aligned differences to the neighbouring segments.

    `num_scales` keeps the first 1 to 3 branches of equation 5: the difference itself, a 3x3 convolution of it, a 3x3
    convolution at half the resolution. `bidirectional=False` leaves the next segment only. `fusion` is `attention`,
    `add` (the difference is added, no attention) or `channel_attention` (one number per channel).
    """

    def __init__(
        self,
        channels: int,
        *,
        num_segments: int,
        reduction: int = 16,
        num_scales: int = 3,
        bidirectional: bool = True,
        fusion: str = "attention",
    ) -> None:
        super().__init__()
        if fusion not in LONG_TERM_FUSIONS:
            raise ValueError(f"long_term_fusion is {fusion!r}; known fusions: {', '.join(LONG_TERM_FUSIONS)}")
        if num_scales not in (1, 2, 3):
            raise ValueError(f"num_scales is {num_scales!r}; allowed: 1, 2, 3")
        self.num_segments, self.num_scales = num_segments, num_scales
        self.bidirectional, self.fusion = bidirectional, fusion
        reduced = max(channels // reduction, 1)
        self.reduce = NormalizedConvolution(channels, reduced, 1)
        self.align = nn.Conv2d(reduced, reduced, 3, padding=1, groups=reduced, bias=False)
        self.full_scale = NormalizedConvolution(reduced, reduced, 3) if num_scales > 1 else None
        self.half_scale = NormalizedConvolution(reduced, reduced, 3) if num_scales > 2 else None
        self.expand = NormalizedConvolution(reduced, channels, 1)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map (N * S, C, H, W) enhanced where neighbouring segments differ."""
        directions = [self._motion(difference) for difference in self.differences(x)]
        if self.fusion == "add":
            return torch.add(x, functools.reduce(torch.add, directions), alpha=1 / len(directions))
        return attended(x, [motion.sigmoid_() for motion in directions])

    def _motion(self, difference: Tensor) -> Tensor:
        """Return what equation 5 has inside its sigmoid."""
        motion = self.mix_scales(difference)
        return self.expand(motion.mean((2, 3), keepdim=True) if self.fusion == "channel_attention" else motion)

    def differences(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the aligned differences (equation 4) to the next segment and to the one before, (N * S, c, H, W)."""
        here = self.reduce(x)
        there = self.align(here)
        first, last = slice(None, -1), slice(1, None)  # all segments but one
        forward = self._difference(here, there, at=first, neighbor=last)
        return (forward, self._difference(here, there, at=last, neighbor=first)) if self.bidirectional else (forward,)

    def _difference(self, here: Tensor, there: Tensor, *, at: slice, neighbor: slice) -> Tensor:
        out, here, there = (x.unflatten(0, (-1, self.num_segments)) for x in (torch.zeros_like(here), here, there))
        out[:, at] = there[:, neighbor] - here[:, at]
        return out.flatten(0, 1)

    def mix_scales(self, difference: Tensor) -> Tensor:
        """Return the mean of the branches of equation 5."""
        branches = [difference]
        if self.full_scale is not None:
            branches.append(self.full_scale(difference))
        if self.half_scale is not None:
            size = difference.shape[-2:]
            pooled = F.avg_pool2d(difference, [min(2, length) for length in size])
            branches.append(F.interpolate(self.half_scale(pooled), size=size))
        return functools.reduce(torch.add, branches) / self.num_scales


def attended(x: Tensor, gates: list[Tensor]) -> Tensor:
    """Return x + x * mean(gate - 1/2); without autograd the sum is built in the first gate's memory.

    A compiler, which takes no `out` of this layout, plans the memory itself.
    """
    share = 1 / len(gates)
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.addcmul(x, x, functools.reduce(torch.add, gates) - 0.5 / share, value=share)
    out = functools.reduce(Tensor.add_, gates).sub_(0.5 / share)
    return torch.addcmul(x, x, out, value=share, out=out if out.shape == x.shape else None)


class MotionConvolution(nn.Conv2d):
    """A residual block's second convolution with L-TDM and the temporal convolution before it, where it has them.

    It takes over `convolution`'s weight under the same name, so that image weights still load.
    """

    def __init__(self, convolution: nn.Conv2d, *, long_term: nn.Module | None, temporal: nn.Module | None) -> None:
        geometry = (convolution.kernel_size, convolution.stride, convolution.padding)
        super().__init__(convolution.in_channels, convolution.out_channels, *geometry, bias=False)
        self.weight = convolution.weight
        self.long_term = nn.Identity() if long_term is None else long_term
        self.temporal = nn.Identity() if temporal is None else temporal

    def forward(self, x: Tensor) -> Tensor:
        """Return convolution(temporal(long_term(x)))."""
        return super().forward(self.temporal(self.long_term(x)))


class ShortTermFusion(nn.Module):
    """Joins a frame's features F and the motion features H of its neighbours, which are enlarged to F's size.

    With w = `motion_weight`, `fusion` is one of table 1a's rows: `add` (1 - w) F + w H; `attention` F * A and
    `residual_attention` (1 - w) F + w F * A, with A = sigmoid(H); the two `channel` forms have one A per channel.
    """

    def __init__(self, channels: int, *, fusion: str, motion_weight: float, reduction: int = 16) -> None:
        super().__init__()
        if fusion not in SHORT_TERM_FUSIONS:
            raise ValueError(f"short_term_fusion is {fusion!r}; known fusions: {', '.join(SHORT_TERM_FUSIONS)}")
        self.fusion, self.motion_weight = fusion, motion_weight
        self.squeeze = None
        if "channel" in fusion:
            reduced = max(channels // reduction, 1)
            self.squeeze = nn.Sequential(nn.Conv2d(channels, reduced, 1), nn.ReLU(), nn.Conv2d(reduced, channels, 1))
            init_weights(self.squeeze)

    def forward(self, x: Tensor, motion: Tensor) -> Tensor:
        """Return the joined map, of the shape of `x` (N * S, C, H, W)."""
        if self.squeeze is not None:
            motion = self.squeeze(motion.mean((2, 3), keepdim=True))
        if self.fusion != "add":
            motion = x * enlarge(torch.sigmoid(motion), x)
        if not self.fusion.startswith(("add", "residual")):
            return motion
        return torch.lerp(x, enlarge(motion, x), self.motion_weight)


def enlarge(maps: Tensor, like: Tensor) -> Tensor:
    """Return `maps` (N, C, h, w) repeated to the size of `like`, or as they are where they fit or broadcast."""
    if maps.shape[-2:] in (like.shape[-2:], (1, 1)):
        return maps
    return F.interpolate(maps, size=like.shape[-2:])
