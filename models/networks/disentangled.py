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
Where TV-L1 takes the place of displacement maps (tables 4 and 6), it is that of the clip's own frames, in their size,
and passes no gradient. Differences of frames (RGB-Diff) are those of the normalised clip; displacement maps are read
between their places to warp frames. Radius (8 pixels of the frame), temperature (0.05) and dropout (0.8, as TSN's for
RGB) are not given in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.backbones import BNInception, build_backbone
from tdn_data.models.backbones.base import StateDict
from tdn_data.models.networks.base import NUM_CHANNELS, VideoNetwork
from tdn_data.models.networks.cost_volume import check_matching, displacement, warp
from tdn_data.models.networks.disentangled_start import BRANCHES, LOW_LEVEL, branches_in, weights_of_each
from tdn_data.models.networks.tvl1_displacement import tvl1_displacement

NUM_LOW_LEVEL = 64  # channels
MIN_SIDE = 32  # pixels; BN-Inception halves a frame five times
POOLED = {"gradual": ("pool2", "inception_3c", "inception_4e"), "late": ()}  # layers that halve time follow
ALLOWED = {
    "backbone": ("bninception",),
    "modality": ("rgb",),
    "pooling": tuple(POOLED),
    "stride": (1, 2),
    "motion_by": ("cost_volume", "tvl1"),
    "change_of": ("features", "frames"),
}


class Disentangled(VideoNetwork):
    """Clip (N, S, K, 3, H, W), K >= 2 consecutive frames, to scores (N, num_classes).

    Rows of the paper's tables: `branches` (table 6), `pooling` `gradual` or `late` (table 1), `stride` 2 or 1 and
    `assignment` `soft` or `hard` (table 3); of tables 4 and 6 `warped=False` for plain differences, `change_of`
    `features` or `frames`, which together are RGB-Diff, and `motion_by` `cost_volume` or `tvl1`. `radius` is that of
    the search, in places of the low-level maps; by default 8 pixels of the frame.

    It starts from files of single branches, each with its classifier, or of several. The shared layer is that of the
    file with the appearance branch, else of the first one; a network without that branch may take it alone.
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
        motion_by: str = "cost_volume",
        change_of: str = "features",
        dropout: float = 0.8,
    ) -> None:
        chosen = {"pooling": pooling, "stride": stride, "motion_by": motion_by, "change_of": change_of}
        _check_options(backbone=backbone, modality=modality, branches=branches, **chosen)
        super().__init__(num_segments=num_segments, modality=modality, snippet_length=snippet_length)
        self.branches, self.warped, self.stride = tuple(branches), warped, stride
        self.motion_by, self.change_of = motion_by, change_of
        self.pooled_layers = POOLED[pooling]
        self.matching = {
            "radius": 8 // stride if radius is None else radius,
            "temperature": temperature,
            "assignment": assignment,
        }
        check_matching(**self.matching)
        self.dropout = nn.Dropout(dropout)
        of_frames = {"motion": motion_by == "tvl1", "change": change_of == "frames"}  # their maps have the frames' size
        channels = {
            "appearance": NUM_CHANNELS[modality],
            "motion": 2,
            "change": NUM_CHANNELS[modality] if of_frames["change"] else NUM_LOW_LEVEL,
        }
        for name in (*(["appearance"] if self._has_features else []), *branches):
            self.add_module(name, build_backbone(backbone, num_classes=num_classes, in_channels=channels[name]))
            first = self.get_submodule(name).conv1_7x7_s2
            first.stride = (stride if name == "appearance" else 2 if of_frames[name] else 2 // stride,) * 2
        if self._has_features and "appearance" not in branches:
            _keep_first_layer(self.appearance)
        self.gives_flow = motion_by == "tvl1" or self._has_features

    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the video scores of each branch, (N, num_classes): the mean over the snippets."""
        vectors = self.branch_features(clip)
        return {
            name: self.get_submodule(name).last_linear(self.dropout(vector)).mean(1) for name, vector in vectors.items()
        }

    def branch_features(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the vectors of each branch, (N, S, 1024)."""
        frames = _frames_of(clip)
        low = self._features(frames) if self._has_features else None
        moved = self._moved(frames, low) if "motion" in self.branches or self._warps else None
        vectors = {}
        for name in self.branches:
            if name == "appearance":
                vectors[name] = self._stable_features(low)
            elif name == "motion":
                vectors[name] = self._mean_features(name, moved)
            else:
                changing = frames if self.change_of == "frames" else low
                vectors[name] = self._mean_features(name, self.changes(changing, moved))
        return {name: vector.unflatten(0, clip.shape[:2]) for name, vector in vectors.items()}

    def flow(self, clip: Tensor) -> Tensor:
        """Return the displacement maps, (N, S, K - 1, 2, h, w): right, then down, in pixels of the frame per step."""
        frames = _frames_of(clip)
        moved = self._moved(frames, None if self.motion_by == "tvl1" else self._features(frames))
        pixels = 1 if self.motion_by == "tvl1" else self.stride  # of a place
        return pixels * moved.flip(2).unflatten(0, clip.shape[:2])

    def change_maps(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the differences of low-level maps, not warped and warped (figure 5): their mean size over channels.

        There are none where nothing in the network reads such maps.
        """
        if not self._has_features:
            return {}
        frames = _frames_of(clip)
        low = self._features(frames)
        kinds = {
            "not warped": _changes(low, None),
            "warped by the displacement": _changes(low, self._moved(frames, low)),
        }
        return {name: maps.abs().mean(2).unflatten(0, clip.shape[:2]) for name, maps in kinds.items()}

    def start_from(self, files: Sequence[tuple[object, StateDict]]) -> list[StateDict]:
        """Return what each file gives: its branches, and one of them the shared layer; see `weights_of_each`."""
        return weights_of_each(files, self.branches, has_layer=self._has_features)

    def parts_for(self, state: StateDict) -> list[tuple[nn.Module, StateDict]]:
        """Return the (part, its weights) pairs that a file's weights go into: its branches stand for themselves.

        What the file does not hold stays as it is, and a branch that the network does not have is left out. ImageNet
        weights go into each branch, and into the shared layer where that is all that is there of the appearance branch.
        """
        held, own = branches_in(state), self.state_dict()
        if not held:
            return [(part, self._for_layers_kept(part, weights)) for part, weights in super().parts_for(state)]
        served = tuple(f"{name}." for name in held if name in self.branches)
        absent = tuple(f"{name}." for name in BRANCHES if name not in self.branches)
        kept = {name: value for name, value in own.items() if not name.startswith(served)}
        given = {name: value for name, value in state.items() if name in own or not name.startswith(absent)}
        return [(self, kept | given)]

    def _for_layers_kept(self, part: nn.Module, weights: StateDict) -> StateDict:
        """Return a backbone's weights, for the appearance branch without those of layers that are not kept."""
        if "appearance" in self.branches or not self._has_features or part is not self.appearance:
            return weights
        return {name: value for name, value in weights.items() if name.startswith(LOW_LEVEL)}

    @property
    def _warps(self) -> bool:
        return self.warped and "change" in self.branches

    @property
    def _has_features(self) -> bool:
        """Whether anything reads low-level maps."""
        matched = self.motion_by == "cost_volume" and ("motion" in self.branches or self._warps)
        return matched or "appearance" in self.branches or (self.change_of == "features" and "change" in self.branches)

    def low_level(self, clip: Tensor) -> Tensor:
        """Return conv1's maps of all frames, (N * S, K, 64, h, w)."""
        return self._features(_frames_of(clip))

    def _features(self, frames: Tensor) -> Tensor:
        run = dict(self.appearance.layers())[LOW_LEVEL]
        return run(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def _moved(self, frames: Tensor, low: Tensor | None) -> Tensor:
        """Return the displacement maps, (N * S, K - 1, 2, h, w): down, then right, in places of their own."""
        return tvl1_displacement(frames.detach()) if self.motion_by == "tvl1" else self.displacements(low)

    def displacements(self, low: Tensor) -> Tensor:
        """Return where each place goes from frame to frame, (N * S, K - 1, 2, h, w): down, then right."""
        moved = displacement(low[:, :-1].flatten(0, 1), low[:, 1:].flatten(0, 1), **self.matching)
        return moved.unflatten(0, (len(low), -1))

    def changes(self, maps: Tensor, moved: Tensor | None) -> Tensor:
        """Return each frame's map less the one before it, warped if asked for: (N * S, K - 1, c, h, w)."""
        return _changes(maps, moved if self.warped else None)

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


def _frames_of(clip: Tensor) -> Tensor:
    """Return the frames of each snippet, (N * S, K, 3, H, W); raise ValueError for what is no clip of frames."""
    if clip.ndim != 6 or clip.shape[3] != NUM_CHANNELS["rgb"] or clip.shape[1] < 1 or clip.shape[2] < 2:
        raise ValueError(
            f"clip has shape {tuple(clip.shape)}; expected (N, S, K, 3, H, W) with S at least 1 and K at least 2"
        )
    if min(clip.shape[4:]) < MIN_SIDE:
        raise ValueError(
            f"clip has frames of {clip.shape[4]} x {clip.shape[5]}; expected at least {MIN_SIDE} x {MIN_SIDE}"
        )
    return clip.flatten(0, 1)


def _changes(maps: Tensor, moved: Tensor | None) -> Tensor:
    before = maps[:, :-1]
    if moved is not None:
        places = fit_motion(moved.flatten(0, 1), maps.shape[3:])
        before = warp(before.flatten(0, 1), places).unflatten(0, before.shape[:2])
    return maps[:, 1:] - before


def fit_motion(moved: Tensor, size: Sequence[int]) -> Tensor:
    """Return displacement maps (B, 2, h, w) for maps of another size (H, W), in places of those.

    One of the two has about half the side of the other: its place i lies at place 2 i there.
    """
    if moved.shape[2:] == torch.Size(size):
        return moved
    if moved.shape[2] > size[0]:
        return moved[:, :, ::2, ::2] / 2
    reached = [2 * side - 1 for side in moved.shape[2:]]
    between = 2 * F.interpolate(moved, reached, mode="bilinear", align_corners=True)
    return F.pad(between, (0, size[1] - reached[1], 0, size[0] - reached[0]), mode="replicate")


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


def _check_options(*, branches: Sequence[str], **chosen: object) -> None:
    for name, value in chosen.items():
        if value not in ALLOWED[name]:
            raise ValueError(f"{name} is {value!r}; this network takes {' or '.join(map(repr, ALLOWED[name]))}")
    if not branches or len(set(branches)) < len(branches) or not set(branches) <= set(BRANCHES):
        raise ValueError(f"branches is {branches!r}; it must be one or more of: {', '.join(BRANCHES)}")
