"""The modules of TDN: Wang et al., "TDN: Temporal Difference Networks for Efficient Action Recognition", CVPR 2021.

S-TDM's fusion (section 3.2, table 1a), L-TDM (section 3.3, equations 2 and 4 to 6, table 1b) and the temporal
convolution (section 3.4). Maps are (N * S, C, H, W), S segments of a video after one another, and stay channels-last:
every module here hands on the memory format that it was given.

Departures, all on the side of the authors' published weights; the option `equations` names those of 1, 4 and 5 that are
computed as the text has them (a sum without weights; F - Conv(F'); the sum of the scales, the coarser one enlarged
bilinearly, and the sigmoid alone):
- L-TDM's attention is sigmoid - 1/2, so that no motion leaves the features nearly alone; equation 5 has the sigmoid.
- The aligned difference is Conv(F') - F (equation 4 has the other sign), and the three scales are averaged, not summed.
- What comes from a coarser map is repeated (nearest neighbour); section 3.3 has bilinear upsampling.
- A segment at the end has no neighbour in one direction; its difference is zero.
The paper leaves open how H(X) turns into an attention in table 1a: here by a sigmoid, and per channel as in SENet.

For speed, with the same numbers: in evaluation both directions of L-TDM are one batch; motion is joined to a larger map
without being enlarged first; large maps are added in as few passes over memory as autograd allows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.backbones.base import init_weights
from tdn_data.models.backbones.convolution import Convolution2d

LONG_TERM_FUSIONS = ("attention", "add", "channel_attention")
SHORT_TERM_FUSIONS = ("add", "attention", "residual_attention", "channel_attention", "residual_channel_attention")


class NormalizedConvolution(nn.Module):
    """A convolution without bias that keeps the size, then batch normalisation: (N, C, H, W) -> (N, C', H, W)."""

    def __init__(self, num_inputs: int, num_outputs: int, size: int) -> None:
        super().__init__()
        self.convolution = Convolution2d(num_inputs, num_outputs, size, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return norm(convolution(x))."""
        return self.norm(self.convolution(x))


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
        """Return the map (N * S, C, H, W) mixed over its segments, in the layout that it has: nothing is transposed."""
        clips = x.unflatten(0, (-1, self.num_segments))  # (N, S, C, H, W)
        mixed = convolved_columns if x.device.type == "cpu" else shifted_sum
        return mixed(clips, self.weight).flatten(0, 1)


def convolved_columns(clips: Tensor, weight: Tensor) -> Tensor:
    """Return clips (N, S, C, H, W) convolved over S with `weight` (C, 1, 3), by a depthwise convolution of "images".

    Such an image has S rows and H * W columns; a channels-last clip already lies in memory like that. On a CPU it is
    read once, and gradients cost a seventh of those of `shifted_sum`.
    """
    images = clips.flatten(3).transpose(1, 2)  # (N, C, S, H * W)
    out = F.conv2d(images, weight.unsqueeze(-1), padding=(1, 0), groups=len(weight))
    return out.transpose(1, 2).unflatten(3, clips.shape[3:])


def shifted_sum(clips: Tensor, weight: Tensor) -> Tensor:
    """Return the same as a sum of three slices, each with its weight, for GPUs: they have no fast convolution of it."""
    # (C, 1, 1) each, without gaps in memory: a third of the time of strided weights
    before, here, after = weight.movedim(2, 0).unsqueeze(-1).contiguous()
    out = clips * here
    out[:, 1:].addcmul_(clips[:, :-1], before)
    out[:, :-1].addcmul_(clips[:, 1:], after)
    return out


class LongTermDifference(nn.Module):
    """L-TDM: x + x * attention, the attention computed from the aligned differences to the neighbouring segments.

    `num_scales` keeps the first 1 to 3 branches of equation 5: the difference itself, a 3x3 convolution of it, a 3x3
    convolution at half the resolution. `bidirectional=False` leaves the next segment only. `fusion` is `attention`,
    `add` (the difference is added, no attention) or `channel_attention` (one number per channel). `equations` names
    those of 4 and 5 that are the text's, not the authors' code's.
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
        equations: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.sign, self.as_written = -1 if 4 in equations else 1, 5 in equations
        if fusion not in LONG_TERM_FUSIONS:
            raise ValueError(f"long_term_fusion is {fusion!r}; known fusions: {', '.join(LONG_TERM_FUSIONS)}")
        if num_scales not in (1, 2, 3):
            raise ValueError(f"num_scales is {num_scales!r}; allowed: 1, 2, 3")
        self.num_segments, self.num_scales = num_segments, num_scales
        self.bidirectional, self.fusion = bidirectional, fusion
        reduced = max(channels // reduction, 1)
        self.reduce = NormalizedConvolution(channels, reduced, 1)
        self.align = Convolution2d(reduced, reduced, 3, padding=1, groups=reduced, bias=False)
        self.full_scale = NormalizedConvolution(reduced, reduced, 3) if num_scales > 1 else None
        self.half_scale = NormalizedConvolution(reduced, reduced, 3) if num_scales > 2 else None
        self.expand = NormalizedConvolution(reduced, channels, 1)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map (N * S, C, H, W) enhanced where neighbouring segments differ."""
        motions = self._motions(self.differences(x))
        if self.fusion == "add":
            return torch.add(x, functools.reduce(torch.add, motions), alpha=1 / len(motions))
        return attended(x, motions, less=0.0 if self.as_written else 0.5)

    def differences(self, x: Tensor) -> Tensor:
        """Return equation 4's aligned differences, (D * N * S, c, H, W): to the next segments, then to those before.

        A segment without a neighbour stands in for it, so that its difference is zero.
        """
        here = self.reduce(x)
        rows, aligned = here.split(self.num_segments), self.align(here).split(self.num_segments)
        neighbors = [piece for own, other in zip(rows, aligned, strict=True) for piece in (other[1:], own[-1:])]
        if self.bidirectional:
            neighbors += [piece for own, other in zip(rows, aligned, strict=True) for piece in (own[:1], other[:-1])]
        ahead = torch.cat(neighbors).unflatten(0, (-1, len(here)))
        return (ahead - here if self.sign > 0 else here - ahead).flatten(0, 1)

    def _motions(self, differences: Tensor) -> tuple[Tensor, ...]:
        """Return, of each direction, what equation 5 has inside its sigmoid."""
        num_directions = 1 + self.bidirectional
        if self.training:  # each direction is normalised by its own statistics
            return tuple(self._motion(difference) for difference in differences.chunk(num_directions))
        return self._motion(differences).chunk(num_directions)

    def _motion(self, difference: Tensor) -> Tensor:
        motion = self.mix_scales(difference)
        return self.expand(motion.mean((2, 3), keepdim=True) if self.fusion == "channel_attention" else motion)

    def mix_scales(self, difference: Tensor) -> Tensor:
        """Return the mean of the branches of equation 5, as written their sum."""
        branches = [difference]
        if self.full_scale is not None:
            branches.append(self.full_scale(difference))
        if self.half_scale is not None:
            size = difference.shape[-2:]
            pooled = F.avg_pool2d(difference, [min(2, length) for length in size])
            how = {"mode": "bilinear", "align_corners": False} if self.as_written else {}
            branches.append(F.interpolate(self.half_scale(pooled), size=size, **how))
        total = functools.reduce(torch.add, branches)
        return total if self.as_written else total / self.num_scales


def attended(x: Tensor, motions: Sequence[Tensor], *, less: float = 0.5) -> Tensor:
    """Return x + x * mean(sigmoid(motion) - less); without autograd it is built in the memory of the motions.

    A compiler, which takes no `out` of this layout, plans the memory itself.
    """
    share = 1 / len(motions)
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        gates = [torch.sigmoid(motion) for motion in motions]
        return torch.addcmul(x, x, functools.reduce(torch.add, gates) - less / share, value=share)
    gates = [motion.sigmoid_() for motion in motions]
    out = functools.reduce(Tensor.add_, gates).sub_(less / share)
    return torch.addcmul(x, x, out, value=share, out=out if out.shape == x.shape else None)


class MotionConvolution(Convolution2d):
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
    `residual_attention` (1 - w) F + w F * A, with A = sigmoid(H); the two `channel` forms have one A per channel. None
    for w is a sum without weights, F + H, as equation 1 is written.
    """

    def __init__(self, channels: int, *, fusion: str, motion_weight: float | None, reduction: int = 16) -> None:
        super().__init__()
        if fusion not in SHORT_TERM_FUSIONS:
            raise ValueError(f"short_term_fusion is {fusion!r}; known fusions: {', '.join(SHORT_TERM_FUSIONS)}")
        if motion_weight is None and not fusion.startswith(("add", "residual")):
            raise ValueError(f"equations names 1, a sum, and short_term_fusion {fusion!r} is none")
        self.fusion, self.motion_weight = fusion, motion_weight
        self.squeeze = None
        if "channel" in fusion:
            reduced = max(channels // reduction, 1)
            self.squeeze = nn.Sequential(
                Convolution2d(channels, reduced, 1), nn.ReLU(), Convolution2d(reduced, channels, 1)
            )
            init_weights(self.squeeze)

    def forward(self, x: Tensor, motion: Tensor) -> Tensor:
        """Return the joined map, of the shape of `x` (N * S, C, H, W)."""
        if self.squeeze is not None:
            motion = self.squeeze(motion.mean((2, 3), keepdim=True))
        cells, motion = in_cells(x, motion)
        if self.fusion != "add":
            motion = cells * torch.sigmoid(motion)
        if self.fusion.startswith(("add", "residual")):
            weight = self.motion_weight
            motion = cells + motion if weight is None else torch.lerp(cells, motion, weight)
        return motion.flatten(4).flatten(2, 3)


def in_cells(x: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Return views of a map and of a smaller one that broadcast: (N, C, h, H / h, w, W / w) and (N, C, h, 1, w, 1).

    Each pixel of the smaller map meets the cell of pixels that it covers. Where sizes are no multiples, the nearest
    pixels of `motion` are copied to the full size first.
    """
    height, width = motion.shape[-2:]
    if x.shape[-2] % height or x.shape[-1] % width:
        motion = F.interpolate(motion, size=x.shape[-2:])
        height, width = motion.shape[-2:]
    cells = x.unflatten(3, (width, -1)).unflatten(2, (height, -1))
    return cells, motion.unsqueeze(4).unsqueeze(3)
