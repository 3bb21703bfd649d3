"""Disentangled components of dynamics: Zhao, Xiong & Lin, "Recognize Actions by Disentangling Components of Dynamics",
CVPR 2018, section 3.

    8 frames -> conv1 -> 64 low-level maps -+-> appearance: BN-Inception with pooling over time -> 1024-d -> scores
                (shared by all)             |
                     cost volume, soft assignment -> displacement maps -> motion: BN-Inception -> 1024-d -> scores
                                            |               |
                     each map less the one before it, warped by it -> change: BN-Inception -> 1024-d -> scores

Scores of the three are averaged, then those of the S snippets of a video (TSN, table 5). Each branch is a whole
BN-Inception of `models.backbones`, so ImageNet weights load into each; conv1 of the appearance branch is the shared
one. With `stride=2`, its own, the low-level maps of 224 x 224 frames are 112 x 112; with `stride=1` they are 224 x 224
(table 3), and the appearance branch reads every second place, which is what its conv1 would give.

Gaps filled, for the paper's supplement is not among the sources. Each pair of frames passes the motion and change
branches by itself, and the pairs' 1024-d vectors are averaged: table 9 gives these branches about three times the time
per frame of the appearance branch, which pools time away on the way. They begin at their own conv1 (2 or 64 channels
in), with a stride that makes its output 112 x 112 at either map size: that a 7x7 convolution of 64 channels costs
about a millisecond more is the table's difference between the two. Pooling over time takes the maximum of two frames
at each of the three places, so 8 frames become one; with more, and for late pooling, the maximum of what is left.
Radius (8 pixels of the frame), temperature (0.05) and dropout (0.8, as TSN's for RGB) are not given in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.backbones import BNInception, build_backbone
from tdn_data.models.networks.base import NUM_CHANNELS, VideoNetwork
from tdn_data.models.networks.cost_volume import check_matching, displacement, warp

BRANCHES = ("appearance", "motion", "change")
LOW_LEVEL, NUM_LOW_LEVEL = "conv1", 64
MIN_SIDE = 32  # pixels; BN-Inception halves a frame five times
POOLED = {"gradual": ("pool2", "inception_3c", "inception_4e"), "late": ()}  # layers that halve time follow


class Disentangled(VideoNetwork):
    """Clip (N, S, K, 3, H, W), K >= 2 consecutive frames, to scores (N, num_classes).

    Rows of the paper's tables: `branches` (table 6), `pooling` `gradual` or `late` (table 1), `stride` 2 or 1 and
    `assignment` `soft` or `hard` (table 3), `warped=False` for plain differences of features (table 4). `radius` is
    that of the search, in places of the low-level maps; by default 8 pixels of the frame.
    """

    gives_flow = True

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: str = "bninception",
        num_segments: int = 3,
        modality: str = "rgb",
        snippet_length: int = 8,
        branches: Sequence[str] = BRANCHES,
        pooling: str = "gradual",
        stride: int = 2,
        radius: int | None = None,
        temperature: float = 0.05,
        assignment: str = "soft",
        warped: bool = True,
        dropout: float = 0.8,
    ) -> None:
        _check_options(backbone=backbone, modality=modality, branches=branches, pooling=pooling, stride=stride)
        super().__init__(num_segments=num_segments, modality=modality, snippet_length=snippet_length)
        self.branches, self.warped, self.stride = tuple(branches), warped, stride
        self.pooled_layers = POOLED[pooling]
        self.matching = {
            "radius": 8 // stride if radius is None else radius,
            "temperature": temperature,
            "assignment": assignment,
        }
        check_matching(**self.matching)
        self.dropout = nn.Dropout(dropout)
        channels = {"appearance": NUM_CHANNELS[modality], "motion": 2, "change": NUM_LOW_LEVEL}
        for name in ("appearance", *branches):
            self.add_module(name, build_backbone(backbone, num_classes=num_classes, in_channels=channels[name]))
            first = self.get_submodule(name).conv1_7x7_s2
            first.stride = (stride,) * 2 if name == "appearance" else (2 // stride,) * 2
        if "appearance" not in branches:
            _keep_first_layer(self.appearance)

    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the video scores of each branch, (N, num_classes): the mean over the snippets."""
        vectors = self.branch_features(clip)
        return {
            name: self.get_submodule(name).last_linear(self.dropout(vector)).mean(1) for name, vector in vectors.items()
        }

    def branch_features(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the vectors of each branch, (N, S, 1024)."""
        low = self.low_level(clip)
        moved = self.displacements(low) if "motion" in self.branches or self._warps else None
        vectors = {}
        for name in self.branches:
            if name == "appearance":
                vectors[name] = self._stable_features(low)
            else:
                vectors[name] = self._mean_features(name, moved if name == "motion" else self.changes(low, moved))
        return {name: vector.unflatten(0, clip.shape[:2]) for name, vector in vectors.items()}

    def flow(self, clip: Tensor) -> Tensor:
        """Return the displacement maps, (N, S, K - 1, 2, h, w): right, then down, in pixels of the frame per step."""
        moved = self.displacements(self.low_level(clip))
        return self.stride * moved.flip(2).unflatten(0, clip.shape[:2])

    def change_maps(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the differences of low-level maps, not warped and warped (figure 5): their mean size over channels."""
        low = self.low_level(clip)
        moved = self.displacements(low)
        kinds = {"not warped": self._changes(low, None), "warped by the displacement": self._changes(low, moved)}
        return {name: maps.abs().mean(2).unflatten(0, clip.shape[:2]) for name, maps in kinds.items()}

    @property
    def _warps(self) -> bool:
        return self.warped and "change" in self.branches

    def low_level(self, clip: Tensor) -> Tensor:
        """Return conv1's maps of all frames, (N * S, K, 64, h, w)."""
        if clip.ndim != 6 or clip.shape[3] != NUM_CHANNELS["rgb"] or clip.shape[1] < 1 or clip.shape[2] < 2:
            raise ValueError(
                f"clip has shape {tuple(clip.shape)}; expected (N, S, K, 3, H, W) with S at least 1 and K at least 2"
            )
        if min(clip.shape[4:]) < MIN_SIDE:
            raise ValueError(
                f"clip has frames of {clip.shape[4]} x {clip.shape[5]}; expected at least {MIN_SIDE} x {MIN_SIDE}"
            )
        run = dict(self.appearance.layers())[LOW_LEVEL]
        return run(clip.flatten(0, 2)).unflatten(0, (-1, clip.shape[2]))

    def displacements(self, low: Tensor) -> Tensor:
        """Return where each place goes from frame to frame, (N * S, K - 1, 2, h, w): down, then right."""
        moved = displacement(low[:, :-1].flatten(0, 1), low[:, 1:].flatten(0, 1), **self.matching)
        return moved.unflatten(0, (len(low), -1))

    def changes(self, low: Tensor, moved: Tensor | None) -> Tensor:
        """Return each frame's map less the one before it, warped if asked for: (N * S, K - 1, 64, h, w)."""
        return self._changes(low, moved if self.warped else None)

    def _changes(self, low: Tensor, moved: Tensor | None) -> Tensor:
        before = low[:, :-1]
        if moved is not None:
            before = warp(before.flatten(0, 1), moved.flatten(0, 1)).unflatten(0, before.shape[:2])
        return low[:, 1:] - before

    def _stable_features(self, low: Tensor) -> Tensor:
        """Return the static appearance, (N * S, 1024): 2D convolutions, maxima over space and time between."""
        num_frames, step = low.shape[1], 2 // self.stride
        x = low[..., ::step, ::step].flatten(0, 1)
        for name, run in self.appearance.layers()[1:]:
            x = run(x)
            if name in self.pooled_layers:
                x = pool_time(x.unflatten(0, (-1, num_frames)))
                num_frames = x.shape[1]
                x = x.flatten(0, 1)
        return _mean_over_space(x).unflatten(0, (-1, num_frames)).amax(1)

    def _mean_features(self, name: str, maps: Tensor) -> Tensor:
        """Return the mean vector of a branch over the pairs, (N * S, 1024), for maps (N * S, K - 1, c, h, w)."""
        x = maps.flatten(0, 1)
        for _, run in self.get_submodule(name).layers():
            x = run(x)
        return _mean_over_space(x).unflatten(0, maps.shape[:2]).mean(1)


def pool_time(x: Tensor) -> Tensor:
    """Return the maximum of each two frames, (B, K, c, h, w) -> (B, (K + 1) // 2, c, h, w); an odd last one stays."""
    if x.shape[1] % 2:
        x = torch.cat([x, x[:, -1:]], 1)
    return x.unflatten(1, (-1, 2)).amax(2)


def _mean_over_space(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


def _keep_first_layer(backbone: BNInception) -> None:
    """Delete all but conv1: low-level maps need no more."""
    for name in [name for name, _ in backbone.named_children() if not name.startswith(LOW_LEVEL)]:
        delattr(backbone, name)


def _check_options(*, backbone: str, modality: str, branches: Sequence[str], pooling: str, stride: int) -> None:
    allowed = {
        "backbone": (backbone, ("bninception",)),
        "modality": (modality, ("rgb",)),
        "pooling": (pooling, tuple(POOLED)),
        "stride": (stride, (1, 2)),
    }
    for name, (value, known) in allowed.items():
        if value not in known:
            raise ValueError(f"{name} is {value!r}; this network takes {' or '.join(map(repr, known))}")
    if not branches or len(set(branches)) < len(branches) or not set(branches) <= set(BRANCHES):
        raise ValueError(f"branches is {branches!r}; it must be one or more of: {', '.join(BRANCHES)}")
