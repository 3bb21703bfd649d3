"""Train a network of your own on shards: the project's clips, your module, a loop of a few lines.

tdn-data demo --out clips
tdn-data extract --dataset demo --root clips --out shards --fps 10 --size 64x64
python examples/train_your_own_network.py shards --epochs 20
"""

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tdn_data.models.clips.augment import Augment
from tdn_data.models.clips.dataset import ClipDataset
from tdn_data.models.networks.base import ClipShape
from tdn_data.pipeline.shards.reader import ShardReader


class Differences(nn.Module):
    """A tiny network that sees only what changes: differences of neighbouring frames, three convolutions, a mean."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        widths = (3, 16, 32, 64)
        layers = [
            layer
            for inside, outside in zip(widths, widths[1:], strict=False)
            for layer in (nn.Conv3d(inside, outside, 3, stride=(1, 2, 2), padding=1), nn.ReLU())
        ]
        self.features, self.classes = nn.Sequential(*layers), nn.Linear(widths[-1], num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        """Return scores (N, num_classes) of clips (N, S, K, C, H, W)."""
        num_videos, num_segments = clips.shape[:2]
        differences = (clips[:, :, 1:] - clips[:, :, :-1]).flatten(0, 1).transpose(1, 2)  # (N S, C, K - 1, H, W)
        scores = self.classes(self.features(differences).mean((2, 3, 4)))
        return scores.view(num_videos, num_segments, -1).mean(1)


def batches(dataset: ClipDataset, epoch: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each video's clip of this epoch once, in a new order: clips (N, S, K, C, H, W) and classes (N,)."""
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(epoch)).tolist()
    for start in range(0, len(order), batch_size):
        clips, targets = zip(*(dataset[epoch, index] for index in order[start : start + batch_size]), strict=True)
        yield torch.stack(clips), torch.stack(targets)


def main() -> None:
    """Train, and print the loss of each epoch and the accuracy on the test split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", help="folder of finished shards")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", type=int, default=56, help="of the crops, in pixels")
    chosen = parser.parse_args()

    torch.manual_seed(0)
    reader, shape = ShardReader(chosen.shards), ClipShape(num_segments=3, snippet_length=4, size=chosen.size)
    train = ClipDataset(reader, split="train", shape=shape, augment=Augment(chosen.size, "random"))
    test = ClipDataset(reader, split="test", shape=shape, augment=Augment(chosen.size, "center"))
    network = Differences(len(reader.info.class_names))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for epoch in range(chosen.epochs):
        total = 0.0
        for clips, targets in batches(train, epoch, batch_size=16):
            loss = cross_entropy(network(clips), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(targets)
        print(f"epoch {epoch + 1}: loss {total / len(train):.3f}")
    network.eval()
    with torch.no_grad():
        right = sum((network(clips).argmax(1) == targets).sum().item() for clips, targets in batches(test, 0, 16))
    print(f"test: {right} of {len(test)} videos right")


if __name__ == "__main__":
    main()
