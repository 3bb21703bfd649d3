"""Read shards in PyTorch: batches of clips with their classes, from a plain Dataset of your own.

tdn-data demo --out clips
tdn-data extract --dataset demo --root clips --out shards
python examples/read_shards.py shards
"""

import argparse

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tdn_data.pipeline.shards.reader import ShardReader


class Clips(Dataset):
    """Some frames of each video of a split, evenly spread: (float32 (T, 3, H, W) from 0 to 1, class number)."""

    def __init__(self, shards: str, *, split: str, num_frames: int) -> None:
        self.reader = ShardReader(shards, modality="rgb")  # goes into the loader's workers as it is
        self.videos = [video for video in self.reader.videos if video.split == split]
        self.num_frames = num_frames

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        video = self.videos[index]
        rows = np.linspace(0, video.num_rows - 1, self.num_frames).round().astype(int)
        frames = self.reader.read(video.video_id, rows=rows.tolist()).data  # uint8 (T, H, W, 3), only these are decoded
        return torch.from_numpy(frames).permute(0, 3, 1, 2) / 255, video.labels[0]


def main() -> None:
    """Print the shape and the classes of each batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", help="folder of finished shards")
    parser.add_argument("--split", default="train")
    parser.add_argument("--num-workers", type=int, default=2)
    chosen = parser.parse_args()

    clips = Clips(chosen.shards, split=chosen.split, num_frames=8)
    names = clips.reader.info.class_names
    for frames, labels in DataLoader(clips, batch_size=4, num_workers=chosen.num_workers):
        print(tuple(frames.shape), ", ".join(names[label] for label in labels))


if __name__ == "__main__":
    main()
