"""How good a network can be that adds up scores of single frames: a TSN with perfect vision.

A frame of the built-in set shows, beside looks that are drawn without regard to the class, where the object is, how
large and how turned. Here a small network is given these four numbers themselves, one frame at a time, and its scores
are averaged over all frames of a clip, as a TSN's are. The two classes of a pair have the same frames, so it can be
right half the time at most; it is right less often, because frames of one pair can look like those of another.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.threads import torch_threads
from tdn_data.pipeline.datasets.demo import CLASS_NAMES, draw_states

SIZE = 96
HIDDEN = 64
EPOCHS, BATCH = 20, 64


def single_frame_ceiling(*, num_train: int, num_test: int, seed: int = 0) -> float:
    """Return the share of new clips that a network over the true states of single frames gets right.

    `num_train` and `num_test` are clips of each class. The same arguments give the same number.
    """
    with torch.random.fork_rng(), torch_threads(1):
        torch.manual_seed(seed)
        network = _fitted(*_states(num_train, (seed, 0)))
        states, labels = _states(num_test, (seed, 1))
        with torch.inference_mode():
            return float((network(states).mean(1).argmax(1) == labels).double().mean())


def _states(count: int, seed: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the frames' states (clips, T, 5), scaled and with the angle as sine and cosine, and the labels."""
    drawn = np.stack(
        [
            draw_states(name, seed=(*seed, label, number), size=SIZE)
            for label, name in enumerate(CLASS_NAMES)
            for number in range(count)
        ]
    )
    x, y, radius, angle = np.moveaxis(drawn, 2, 0)
    columns = (8 * (x / SIZE - 0.5), 8 * (y / SIZE - 0.5), 20 * (radius / SIZE - 0.2), np.sin(angle), np.cos(angle))
    return torch.from_numpy(np.stack(columns, 2)).float(), torch.arange(len(CLASS_NAMES)).repeat_interleave(count)


def _fitted(states: Tensor, labels: Tensor) -> nn.Module:
    first, last = nn.Linear(states.shape[2], HIDDEN), nn.Linear(HIDDEN, len(CLASS_NAMES))
    network = nn.Sequential(first, nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), last)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(states)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(network(states[batch]).mean(1), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    return network
