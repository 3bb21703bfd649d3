"""Feature pooling over long videos: Ng et al., "Beyond Short Snippets", CVPR 2015; Ng's dissertation, section 3.3.1.

Every frame passes one network with shared weights; what differs is where the maximum over time is taken (figure 3.2).
C is the convolutional part, FC a fully connected layer with ReLU, [10/5] windows of ten frames that start every five:

    conv_pooling    C -> max -> FC -> FC -> softmax
    late_pooling    C -> FC -> FC -> max -> softmax
    slow_pooling    C -> [10/5] max -> FC -> max -> FC -> softmax
    local_pooling   C -> [10/5] max -> FC -> FC -> one softmax layer over all windows
    time_conv       C -> [10/5] convolution, 256 kernels of 3x3 over ten frames -> max -> FC -> FC -> softmax

With `backbone="alexnet"` (table 3.1) C ends in `pool5` and the FCs are AlexNet's own, so its ImageNet weights serve
them too; with `googlenet` C ends in the mean pooling, and two FCs of 4096 are added. No weight but local pooling's
softmax layer depends on the number of frames: networks grow from 1 to 30 to 120 frames (section 3.3.3), see `expand`.

Departures and gaps filled: the second FC of slow pooling is not in the text; AlexNet has two, so it stands after the
last maximum. Local pooling's windows are slow pooling's. GoogLeNet's pooled vector has the 1024 numbers of the public
weights, not 1000. AlexNet and GoogLeNet are those of `models.backbones`, without local contrast normalisation. Flow has
two channels here, not a third of zeros. A last window that the video does not fill is shorter; the convolution, which
needs ten frames, gets them repeated from the start, as the dissertation fills short videos (section 3.4.1). Section
3.4.1 takes frames one after another from a random start: that is `cut: consecutive` of a training.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.backbones.base import SelfFitting, StateDict
from tdn_data.models.backbones.convolution import Convolution2d
from tdn_data.models.networks.base import check_count
from tdn_data.models.networks.single_frames import FrameNetwork, remove_classifier

WINDOW, STEP = 10, 5  # frames (section 3.3.1)
NUM_KERNELS = 256
POOLINGS = ("max", "average", "fully_connected")
GRIDS = {"alexnet": 6, "vgg16": 7}  # side of the map that these networks' own fully connected layers read


class PoolingNetwork(FrameNetwork):
    """A `FrameNetwork` with two fully connected layers, `hidden` wide and with `dropout`, before the softmax layer."""

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: str = "googlenet",
        hidden: int = 4096,
        dropout: float = 0.6,
        **options: object,
    ) -> None:
        if backbone in GRIDS and hidden != 4096:
            raise ValueError(f"hidden is {hidden!r}; the fully connected layers of {backbone} have 4096")
        own_layers = {"dropout": dropout} if backbone in GRIDS else {}
        super().__init__(backbone, num_classes=num_classes, **own_layers, **options)
        self.grid = GRIDS.get(backbone, 1)
        if not own_layers:
            num_features = remove_classifier(self.backbone)
            self.tail = _build_tail(num_features, hidden, num_classes, dropout)

    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the scores by stream; there is one, `image`."""
        return {"image": self.combine(self.over_frames(self.frame_maps, clip))}

    def frame_maps(self, images: Tensor) -> Tensor:
        """Return what the fully connected layers read of each image: (M, C, H, W) -> (M, c, grid, grid)."""
        for _, run in self.backbone.layers():
            images = run(images)
        return F.adaptive_avg_pool2d(images, self.grid)

    @abstractmethod
    def combine(self, maps: Tensor) -> Tensor:
        """Return scores (N, num_classes) for the frames' maps (N, S, c, grid, grid)."""

    def expand(self, num_segments: int) -> Self:
        """Return a copy for `num_segments` frames that starts from this network's weights (section 3.3.3)."""
        grown = copy.deepcopy(self)
        grown.num_segments = check_count("num_segments", num_segments)
        return grown

    @property
    def fully_connected(self) -> nn.Sequential:
        """The two fully connected layers and the softmax layer, with what stands between."""
        return self.tail if hasattr(self, "tail") else self.backbone.classifier

    @property
    def fully_connected_inputs(self) -> int:
        """How many numbers the first fully connected layer reads."""
        return next(layer.in_features for layer in self.fully_connected if isinstance(layer, nn.Linear))

    def fc(self, number: int, x: Tensor) -> Tensor:
        """Apply fully connected layer 0 or 1 with its ReLU, or softmax layer 2, to vectors (..., num_inputs)."""
        position = 0
        for layer in self.fully_connected:
            if position == number:
                x = layer(x)
            position += isinstance(layer, nn.ReLU)
        return x


class ConvPooling(PoolingNetwork):
    """Maximum over all frames of the last convolutional map, place by place.

    `pooling` names what section 3.3.1 tried in its place: `average` over the frames, or `fully_connected`, where the
    first fully connected layer reads the maps of all `num_segments` frames, and no other number of them.
    """

    def __init__(self, *, num_classes: int, num_segments: int = 30, pooling: str = "max", **options: object) -> None:
        if pooling not in POOLINGS:
            raise ValueError(f"pooling is {pooling!r}; known poolings: {', '.join(POOLINGS)}")
        super().__init__(num_classes=num_classes, num_segments=num_segments, **options)
        self.pooling = pooling
        if pooling == "fully_connected":
            _set_first_layer(self.fully_connected, num_segments * self.fully_connected_inputs)

    def combine(self, maps: Tensor) -> Tensor:
        """Return scores (N, num_classes) for the frames' maps (N, S, c, grid, grid)."""
        if self.pooling == "fully_connected":
            if maps.shape[1] != self.num_segments:
                words = f"clip has {maps.shape[1]} frames; this network's pooling layer reads {self.num_segments}"
                raise ValueError(words)
            x = maps.flatten(1)
        else:
            x = (maps.amax(1) if self.pooling == "max" else maps.mean(1)).flatten(1)
        return self.fc(2, self.fc(1, self.fc(0, x)))


class LatePooling(PoolingNetwork):
    """Maximum over all frames of the second fully connected layer."""

    def combine(self, maps: Tensor) -> Tensor:
        """Return scores (N, num_classes) for the frames' maps (N, S, c, grid, grid)."""
        x = self.fc(1, self.fc(0, maps.flatten(2)))
        return self.fc(2, x.amax(1))


class SlowPooling(PoolingNetwork):
    """Maximum over windows of ten frames, a fully connected layer, maximum over the windows."""

    def combine(self, maps: Tensor) -> Tensor:
        """Return scores (N, num_classes) for the frames' maps (N, S, c, grid, grid)."""
        x = self.fc(0, pool_windows(maps).flatten(2))  # (N, windows, hidden)
        return self.fc(2, self.fc(1, x.amax(1)))


class LocalPooling(PoolingNetwork):
    """Maximum over windows of ten frames, two fully connected layers, one softmax layer that reads every window.

    Another number of windows than the network was built for takes the softmax weights of the windows at the same
    place of the video, see `Towers`; so do weights loaded from a network for another number of frames.
    """

    def __init__(self, *, num_classes: int, num_segments: int = 30, **options: object) -> None:
        super().__init__(num_classes=num_classes, num_segments=num_segments, **options)
        self.fully_connected[-1] = Towers(
            self.fully_connected[-1].in_features, num_classes, count_windows(num_segments)
        )

    def combine(self, maps: Tensor) -> Tensor:
        """Return scores (N, num_classes) for the frames' maps (N, S, c, grid, grid)."""
        x = pool_windows(maps).flatten(2)
        return self.fc(2, self.fc(1, self.fc(0, x)))

    def expand(self, num_segments: int) -> Self:
        """Return a copy for `num_segments` frames; the softmax layer grows to its windows."""
        grown = super().expand(num_segments)
        grown.fully_connected[-1] = self.fully_connected[-1].resize(count_windows(num_segments))
        return grown


class TimeConvolution(PoolingNetwork):
    """A convolution over windows of ten frames before the maximum over time."""

    def __init__(self, *, num_classes: int, **options: object) -> None:
        super().__init__(num_classes=num_classes, **options)
        # a 10 x 3 x 3 kernel over frames stepped by five is a 3 x 3 kernel over windows stacked as channels
        self.convolution = Convolution2d(WINDOW * self.backbone.num_features, NUM_KERNELS, 3, padding=1)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.convolution.bias)
        _set_first_layer(self.fully_connected, NUM_KERNELS * self.grid**2)

    def frame_maps(self, images: Tensor) -> Tensor:
        """Return the last convolutional map of each image: (M, C, H, W) -> (M, c, h, w)."""
        for _, run in self.backbone.layers():
            images = run(images)
        return images

    def combine(self, maps: Tensor) -> Tensor:
        """Return scores (N, num_classes) for the frames' maps (N, S, c, h, w)."""
        windows = stack_windows(maps)  # (N, windows, 10 * c, h, w)
        x = F.relu(self.convolution(windows.flatten(0, 1)))
        x = F.adaptive_avg_pool2d(x, self.grid).unflatten(0, windows.shape[:2]).amax(1).flatten(1)
        return self.fc(2, self.fc(1, self.fc(0, x)))


class Towers(SelfFitting):
    """The "larger softmax layer" of local pooling: (N, windows, num_inputs) -> (N, num_classes), one tower a window.

    For another number of windows each takes the tower nearest to its place in the video, and weights are scaled by
    towers / windows, so that a video that looks the same everywhere keeps its scores:

        2 towers  A A B B  for 4 windows, each times 2 / 4
    """

    def __init__(self, num_inputs: int, num_classes: int, num_towers: int) -> None:
        super().__init__()
        self.in_features = num_inputs
        self.weight = nn.Parameter(torch.empty(num_towers, num_classes, num_inputs).normal_(std=0.01))
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (N, num_classes) for vectors (N, windows, num_inputs)."""
        return torch.einsum("nwi,wci->nc", x, resample_towers(self.weight, x.shape[1])) + self.bias

    def fit_state(self, state: StateDict, prefix: str) -> None:
        """Fit the towers in a file's `state` to this layer's number of windows."""
        weight = state.get(f"{prefix}weight")
        if weight is not None and weight.ndim == 3:
            state[f"{prefix}weight"] = resample_towers(weight, len(self.weight))

    def resize(self, num_towers: int) -> Towers:
        """Return the layer for `num_towers` windows that gives the scores which this one gives for as many."""
        resized = Towers(self.in_features, len(self.bias), num_towers).to(self.weight)
        resized.load_state_dict(self.state_dict())
        return resized


def resample_towers(weight: Tensor, num_towers: int) -> Tensor:
    """Return softmax weights (towers, classes, inputs) for `num_towers` windows, see `Towers`."""
    if len(weight) == num_towers:
        return weight
    place = (torch.arange(num_towers, device=weight.device) * 2 + 1) * len(weight) // (2 * num_towers)
    return weight[place] * (len(weight) / num_towers)


def count_windows(num_frames: int) -> int:
    """Return the number of windows of ten frames, one every five, that cover `num_frames`: 1 -> 1, 30 -> 5, 120 -> 23.

    The last may reach past the end.
    """
    return 1 + max(0, -((WINDOW - num_frames) // STEP))


def pool_windows(maps: Tensor) -> Tensor:
    """Return the maximum over each window: (N, S, ...) -> (N, windows, ...)."""
    starts = [STEP * window for window in range(count_windows(maps.shape[1]))]
    return torch.stack([maps[:, start : start + WINDOW].amax(1) for start in starts], 1)


def stack_windows(maps: Tensor) -> Tensor:
    """Return each window's frames as channels, (N, S, c, h, w) -> (N, windows, 10 * c, h, w).

    Frames that the last window lacks are repeated from the start of the video.
    """
    windows = torch.arange(count_windows(maps.shape[1]), device=maps.device)
    frames = windows[:, None] * STEP + torch.arange(WINDOW, device=maps.device)  # (windows, 10)
    return maps[:, frames % maps.shape[1]].flatten(2, 3)


def _build_tail(num_inputs: int, hidden: int, num_classes: int, dropout: float) -> nn.Sequential:
    """Return two fully connected layers with dropout on what they give, and the softmax layer (section 3.3)."""
    softmax = nn.Linear(hidden, num_classes)
    nn.init.normal_(softmax.weight, std=0.01)
    nn.init.zeros_(softmax.bias)
    first, second = _build_linear(num_inputs, hidden), _build_linear(hidden, hidden)
    relu, drop = nn.ReLU(inplace=True), nn.Dropout(dropout)
    return nn.Sequential(first, relu, drop, second, relu, drop, softmax)


def _build_linear(num_inputs: int, num_outputs: int) -> nn.Linear:
    """Return a linear layer before a ReLU: He's normal weights, zero biases."""
    layer = nn.Linear(num_inputs, num_outputs)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def _set_first_layer(layers: nn.Sequential, num_inputs: int) -> None:
    """Put a new first linear layer in place when it does not read `num_inputs` numbers."""
    position = next(place for place, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    if layers[position].in_features != num_inputs:
        layers[position] = _build_linear(num_inputs, layers[position].out_features)
