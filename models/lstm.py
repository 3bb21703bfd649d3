"""Deep LSTM over long videos: Ng et al., "Beyond Short Snippets", CVPR 2015; Ng's dissertation, sections 3.3.2, 3.3.3.

Each frame's convolutional features run through five stacked layers of 512 memory cells, and a softmax layer with
weights shared over time predicts at every frame (figure 3.4):

    frame 1 -> CNN -> LSTM x 5 -> scores 1  (gain 0)
    frame 2 -> CNN -> LSTM x 5 -> scores 2  (gain 1/2)
    frame 3 -> CNN -> LSTM x 5 -> scores 3  (gain 1)    -> one score for the video

Gaps filled: the peephole weights W_c of equations 3.3, 3.4 and 3.6 are diagonal, as in Graves, Mohamed & Hinton 2013,
which the section follows and which says so. What AlexNet hands over is its second fully connected layer (4096),
GoogLeNet its mean pooling (1024). The gain multiplies each frame's loss, which does to the gradients what the text
describes; losses are averaged over the frames. Starting weights are not given: uniform within 1/sqrt(cells), and a
bias of 1 for the forget gate. The "predictions" that are combined over time are probabilities after softmax; the video
score is the logarithm of their combination, so that its softmax is that combination made to sum to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones import build_backbone
from models.pooling import check_count, remove_classifier, run_in_chunks
from models.tsn import count_channels, stack_snippets

State = tuple[Tensor, Tensor]  # hidden vector and cell of one layer, (N, num_cells) each
CONSENSUSES = ("last", "max", "sum", "weighted")


class LSTM(nn.Module):
    """Clip (N, S, K, C, H, W), one snippet per frame, to scores (N, num_classes); any number S >= 1 of frames passes.

    `consensus` turns frame scores into the video's, see `combine_frames`; `num_segments` is the number of frames the
    network is meant for. Outside of training the backbone takes `frames_at_once` frames at a time: 120 frames need no
    more memory than that for its maps. `backbone_options` go to the backbone, e.g. `width=16`.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: str = "googlenet",
        num_segments: int = 30,
        modality: str = "rgb",
        snippet_length: int = 1,
        num_layers: int = 5,
        num_cells: int = 512,
        consensus: str = "weighted",
        frames_at_once: int = 16,
        **backbone_options: object,
    ) -> None:
        super().__init__()
        self.in_channels = count_channels(modality, snippet_length)
        self.num_segments = check_count("num_segments", num_segments)
        self.frames_at_once = check_count("frames_at_once", frames_at_once)
        self.consensus = _checked_consensus(consensus)
        self.backbone = build_backbone(
            backbone, num_classes=num_classes, in_channels=self.in_channels, **backbone_options
        )
        num_features = remove_classifier(self.backbone)
        self.lstm = PeepholeLSTM(num_features, num_cells, num_layers)
        self.classifier = nn.Linear(num_cells, num_classes)

    def forward(self, clip: Tensor) -> Tensor:
        """Return video scores before softmax, (N, num_classes)."""
        return combine_frames(self.frame_scores(clip), self.consensus)

    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the scores by stream; an LSTM has one, `image`."""
        return {"image": self.forward(clip)}

    def frame_scores(self, clip: Tensor) -> Tensor:
        """Return each frame's scores before softmax, (N, S, num_classes); a frame's depend on it and those before."""
        outputs, _ = self.lstm(self.frame_features(clip))
        return self.classifier(outputs)

    def frame_features(self, clip: Tensor) -> Tensor:
        """Return the backbone's vectors of all frames, (N, S, num_features)."""
        snippets = stack_snippets(clip, self.in_channels)
        check_count("S, the number of frames of the clip,", snippets.shape[1])
        at_once = snippets.shape[0] * snippets.shape[1] if self.training else self.frames_at_once
        features = run_in_chunks(self.backbone, snippets.flatten(0, 1), at_once=at_once)
        return features.unflatten(0, snippets.shape[:2])

    def loss(self, clip: Tensor, labels: Tensor, *, criterion: Callable[..., Tensor] = F.cross_entropy) -> Tensor:
        """Return the training loss of section 3.3.3, see `frame_loss`."""
        return frame_loss(self.frame_scores(clip), labels, criterion=criterion)


class PeepholeLSTM(nn.Module):
    """Stacked layers: vectors (N, T, num_inputs) to the last layer's hidden vectors (N, T, num_cells)."""

    def __init__(self, num_inputs: int, num_cells: int, num_layers: int) -> None:
        super().__init__()
        check_count("num_cells", num_cells)
        sizes = [num_inputs] + [num_cells] * (check_count("num_layers", num_layers) - 1)
        self.layers = nn.ModuleList(PeepholeLayer(size, num_cells) for size in sizes)

    def forward(self, x: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """Return hidden vectors and the states after the last step; give those back to go on with a video."""
        after = []
        for layer, state in zip(self.layers, states or [None] * len(self.layers), strict=True):
            x, state = layer(x, state)
            after.append(state)
        return x, after


class PeepholeLayer(nn.Module):
    """One layer, equations 3.3 to 3.7; the rows of its weights are input gate, forget gate, cell, output gate.

    What the inputs add to the gates is one product for all steps; within a step remains one product with the hidden
    vector.
    """

    def __init__(self, num_inputs: int, num_cells: int) -> None:
        super().__init__()
        self.weight_input = nn.Parameter(torch.empty(4 * num_cells, num_inputs))
        self.weight_hidden = nn.Parameter(torch.empty(4 * num_cells, num_cells))
        self.peephole = nn.Parameter(torch.empty(3, num_cells))  # input, forget, output gate
        self.bias = nn.Parameter(torch.zeros(4 * num_cells))
        for weight in (self.weight_input, self.weight_hidden, self.peephole):
            nn.init.uniform_(weight, -1 / math.sqrt(num_cells), 1 / math.sqrt(num_cells))
        with torch.no_grad():
            self.bias[num_cells : 2 * num_cells] = 1

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return hidden vectors (N, T, num_cells) for inputs (N, T, num_inputs), and the state after the last step."""
        num_cells = self.peephole.shape[1]
        hidden = cell = x.new_zeros(len(x), num_cells)
        if state is not None:
            hidden, cell = state
        both, output = self.peephole[:2], self.peephole[2]
        outputs = []
        for gates in F.linear(x, self.weight_input, self.bias).unbind(1):
            gates = (gates + F.linear(hidden, self.weight_hidden)).unflatten(1, (4, num_cells))
            enter, forget = torch.sigmoid(gates[:, :2] + both * cell[:, None]).unbind(1)  # 3.3, 3.4
            cell = forget * cell + enter * torch.tanh(gates[:, 2])  # 3.5
            hidden = torch.sigmoid(gates[:, 3] + output * cell) * torch.tanh(cell)  # 3.6, 3.7
            outputs.append(hidden)
        return torch.stack(outputs, 1), (hidden, cell)


def frame_gains(num_frames: int, *, device: torch.device | None = None) -> Tensor:
    """Return the gain g of each frame, (T,): from 0 at the first to 1 at the last; 1 for a single frame."""
    return torch.linspace(0, 1, num_frames, device=device) if num_frames > 1 else torch.ones(1, device=device)


def frame_loss(scores: Tensor, labels: Tensor, *, criterion: Callable[..., Tensor] = F.cross_entropy) -> Tensor:
    """Return the mean over videos and frames of g times the frame's loss; the video's label counts at every frame.

    `scores` is (N, T, num_classes). `labels` is (N,) for `cross_entropy` or (N, num_classes) with
    `binary_cross_entropy_with_logits`; `criterion` must take `reduction="none"`.
    """
    num_videos, num_frames = scores.shape[:2]
    repeated = labels.repeat_interleave(num_frames, 0)
    losses = criterion(scores.flatten(0, 1), repeated, reduction="none")  # (N * T,) or (N * T, num_classes)
    losses = losses.reshape(num_videos, num_frames, -1).mean(2)
    return (losses * frame_gains(num_frames, device=losses.device)).mean()


def combine_frames(scores: Tensor, consensus: str) -> Tensor:
    """Return video scores (N, num_classes) from frame scores (N, T, num_classes), in one of four ways (section 3.3.3).

    `last`: the last frame's; `max`, `sum`: maximum or sum of the probabilities over time; `weighted`: their sum
    weighted by the gain. The result is the logarithm; sums are divided by the sum of their weights. Raises ValueError
    for another name.
    """
    logs = F.log_softmax(scores, 2)
    if _checked_consensus(consensus) == "last":
        return logs[:, -1]
    if consensus == "max":
        return logs.amax(1)
    weights = frame_gains(scores.shape[1], device=scores.device)
    if consensus == "sum":
        weights = torch.ones_like(weights)
    return torch.logsumexp(logs + (weights / weights.sum()).log()[:, None], 1)


def _checked_consensus(consensus: str) -> str:
    if consensus not in CONSENSUSES:
        raise ValueError(f"consensus is {consensus!r}; known ways: {', '.join(CONSENSUSES)}")
    return consensus
