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

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tdn_data.models.networks.base import Criterion, Losses, check_count
from tdn_data.models.networks.single_frames import FrameNetwork, remove_classifier

State = tuple[Tensor, Tensor]  # hidden vector and cell of one layer, (N, num_cells) each
CONSENSUSES = ("last", "max", "sum", "weighted")
GAINS = ("rising", "one", "last")  # section 3.3.3: from 0 to 1, as chosen; 1 at all frames; at the last frame alone


class LSTM(FrameNetwork):
    """A `FrameNetwork` that reads the frames in order; `consensus` makes the video's score, see `combine_frames`.

    `gain` is that of each frame's loss, see `frame_gains`.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: str = "googlenet",
        num_layers: int = 5,
        num_cells: int = 512,
        consensus: str = "weighted",
        gain: str = "rising",
        **options: object,
    ) -> None:
        super().__init__(backbone, num_classes=num_classes, **options)
        self.consensus, self.gain = _checked_consensus(consensus), gain
        frame_gains(1, gain)
        self.lstm = PeepholeLSTM(remove_classifier(self.backbone), num_cells, num_layers)
        self.classifier = nn.Linear(num_cells, num_classes)

    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the scores by stream; there is one, `image`."""
        return {"image": combine_frames(self.frame_scores(clip), self.consensus)}

    def frame_scores(self, clip: Tensor) -> Tensor:
        """Return each frame's scores before softmax, (N, S, num_classes); a frame's depend on it and those before."""
        outputs, _ = self.lstm(self.frame_features(clip))
        return self.classifier(outputs)

    def frame_features(self, clip: Tensor) -> Tensor:
        """Return the backbone's vectors of all frames, (N, S, num_features)."""
        return self.over_frames(self.backbone, clip)

    def class_losses(self, clips: Tensor, targets: Tensor, *, criterion: Criterion = F.cross_entropy) -> Losses:
        """Return the training loss over the frames' scores (section 3.3.3, `frame_loss`), and the videos' scores."""
        frames = self.frame_scores(clips)
        loss = frame_loss(frames, targets, criterion=criterion, gain=self.gain)
        return Losses(loss, combine_frames(frames, self.consensus).detach())


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
    vector. The steps are computed in float32, under autocast too: errors of many steps add up in the cell.
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
        added = F.linear(x, self.weight_input, self.bias).to(self.peephole.dtype)
        if state is None:
            state = (added.new_zeros(len(x), self.peephole.shape[1]),) * 2
        with torch.autocast(x.device.type, enabled=False):
            hiddens, cells = Recurrence.apply(added.transpose(0, 1), self.weight_hidden, self.peephole, *state)
        return hiddens.transpose(0, 1), (hiddens[-1], cells[-1])


class Recurrence(torch.autograd.Function):
    """All steps of one layer, and their gradients.

    Automatic differentiation would add up the gradient of the weights step by step, which costs more than all else;
    here it is one product over all steps at the end.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        added: Tensor,
        weight: Tensor,
        peephole: Tensor,
        hidden: Tensor,
        cell: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return hidden vectors and cells, (T, N, num_cells) each, for what inputs add to the gates, (T, N, 4 cells).

        `weight` is (4 cells, cells), `peephole` (3, cells), `hidden` and `cell` (N, cells) the state before.
        """
        num_cells = peephole.shape[1]
        hiddens, cells, gates = [hidden], [cell], []
        for step in added.unbind(0):
            z = torch.addmm(step, hidden, weight.t()).unflatten(1, (4, num_cells))
            i, f = torch.sigmoid(torch.addcmul(z[:, :2], peephole[:2], cell[:, None])).unbind(1)  # 3.3, 3.4
            g = torch.tanh(z[:, 2])
            cell = torch.addcmul(f * cell, i, g)  # 3.5
            o = torch.sigmoid(torch.addcmul(z[:, 3], peephole[2], cell))  # 3.6
            hidden = o * torch.tanh(cell)  # 3.7
            hiddens.append(hidden)
            cells.append(cell)
            gates += [i, f, g, o]
        hiddens, cells = torch.stack(hiddens), torch.stack(cells)
        if gates and any(ctx.needs_input_grad):
            ctx.save_for_backward(weight, peephole, hiddens, cells, torch.stack(gates).unflatten(0, (-1, 4)))
        return hiddens[1:], cells[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, to_hiddens: Tensor, to_cells: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of the five inputs, by the chain rule from the last step to the first."""
        weight, peephole, hiddens, cells, gates = ctx.saved_tensors
        to_hidden, to_cell = torch.zeros_like(hiddens[0]), torch.zeros_like(cells[0])
        to_added = []
        squashed = torch.tanh(cells[1:])
        for t in reversed(range(len(gates))):
            i, f, g, o = gates[t]
            to_hidden = to_hidden + to_hiddens[t]
            to_o = to_hidden * squashed[t] * o * (1 - o)
            to_cell = to_cell + to_cells[t] + to_hidden * o * (1 - squashed[t] ** 2) + to_o * peephole[2]
            to_i = to_cell * g * i * (1 - i)
            to_f = to_cell * cells[t] * f * (1 - f)
            to_g = to_cell * i * (1 - g**2)
            to_cell = to_cell * f + to_i * peephole[0] + to_f * peephole[1]
            to_added.append(torch.cat([to_i, to_f, to_g, to_o], 1))
            to_hidden = to_added[-1] @ weight
        to_added = torch.stack(to_added[::-1])  # (T, N, 4 cells)
        to_weight = to_added.flatten(0, 1).t() @ hiddens[:-1].flatten(0, 1)
        to_i, to_f, _, to_o = to_added.chunk(4, 2)
        seen = torch.stack([to_i * cells[:-1], to_f * cells[:-1], to_o * cells[1:]])
        return to_added, to_weight, seen.sum((1, 2)), to_hidden, to_cell


def frame_gains(num_frames: int, kind: str = "rising", *, device: torch.device | None = None) -> Tensor:
    """Return the gain g of each frame, (T,).

    `rising` from 0 at the first to 1 at the last, 1 for a single frame; `one` 1 everywhere; `last` 0 but at the last.
    Raises ValueError for another kind.
    """
    if kind not in GAINS:
        raise ValueError(f"gain is {kind!r}; known gains: {', '.join(GAINS)}")
    if kind == "one":
        return torch.ones(num_frames, device=device)
    if kind == "last":
        return (torch.arange(num_frames, device=device) == num_frames - 1).float()
    return torch.linspace(0, 1, num_frames, device=device) if num_frames > 1 else torch.ones(1, device=device)


def frame_loss(
    scores: Tensor, labels: Tensor, *, criterion: Criterion = F.cross_entropy, gain: str = "rising"
) -> Tensor:
    """Return the mean over videos and frames of g times the frame's loss; the video's label counts at every frame.

    `scores` is (N, T, num_classes). `labels` is (N,) for `cross_entropy` or (N, num_classes) with
    `binary_cross_entropy_with_logits`; `criterion` must take `reduction="none"`.
    """
    num_videos, num_frames = scores.shape[:2]
    repeated = labels.repeat_interleave(num_frames, 0)
    losses = criterion(scores.flatten(0, 1), repeated, reduction="none")  # (N * T,) or (N * T, num_classes)
    losses = losses.reshape(num_videos, num_frames, -1).mean(2)
    return (losses * frame_gains(num_frames, gain, device=losses.device)).mean()


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
