"""How much of a network's class activation maps lies on the object, whose place in the rendered clips is known.

Ng & Davis, figure 3, shows maps of both subnetworks: the image subnetwork's on a scene, the difference subnetwork's on
what moves in it. Here each map of the true class, its positive part enlarged bilinearly to the frame, is summed up
inside the object's box and divided by its whole sum. The box is upright and drawn around the object in all frames that
the network sees of the clip, the same for both subnetworks; an even map has the box's share of the frame.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from tdn_data.models.clips.cut import Cut
from tdn_data.models.clips.dataset import split_videos
from tdn_data.models.clips.pixels import normalize_batch
from tdn_data.models.evaluation.explain.maps import activation_maps
from tdn_data.models.evaluation.explain.seen import seen_clip
from tdn_data.models.networks.base import ClipShape, VideoNetwork
from tdn_data.models.threads import torch_threads
from tdn_data.pipeline.datasets.demo import states_of_video
from tdn_data.pipeline.parameters import DemoParameters
from tdn_data.pipeline.shards.reader import ShardReader

EVEN = "even"


def shares_in_box(
    model: VideoNetwork, reader: ShardReader, demo: DemoParameters, *, split: str, size: int
) -> dict[str, np.ndarray]:
    """Return the share of each video's maps that lies in its object's box, in [0, 1].

    Args:
        model: A network with class activation maps, in evaluation mode.
        reader: Frames of the built-in data set, stored as large as it was rendered.
        demo: How it was rendered.
        split: Which of its videos.
        size: The side of the centre crop that the network sees, in pixels.

    Returns:
        Subnetwork -> float64 (videos,), in order of identifier, and under `even` the box's share of the crop.

    Raises:
        InputError: The split has no videos, or the network no class activation maps.
        ValueError: The frames are stored at another size.
    """
    shares: dict[str, list[float]] = {}
    for video in split_videos(reader, split):
        seen = seen_clip(reader, video, ClipShape.of(model, size), Cut("segments"))
        if seen.frame_size != (demo.size, demo.size):
            raise ValueError(f"frames are stored as {seen.frame_size}; they were rendered at {demo.size} pixels square")
        states = states_of_video(video.video_id, demo, num_frames=video.num_rows)[seen.rows.ravel()]
        box = object_box(states, margin=(demo.size - size) // 2, size=size)
        with torch_threads(1):
            maps = activation_maps(model, normalize_batch(torch.from_numpy(seen.levels)[None]), video.labels[0])
        for name, one in (maps | {EVEN: np.ones((1, 1, 1), np.float32)}).items():
            shares.setdefault(name, []).append(share_inside(one, box, size))
    return {name: np.array(values) for name, values in shares.items()}


def object_box(states: np.ndarray, *, margin: int, size: int) -> tuple[slice, slice]:
    """Return rows and columns of the box around the object in all its states (N, 4), cut to a crop of `size`.

    It holds the circle of the object's radius; corners of some shapes stick out of that by up to a third of it.
    `margin` is how many pixels of the frame lie above and to the left of the crop.
    """
    centres, radii = states[:, :2] - margin, states[:, 2:3]
    left, top = np.floor((centres - radii).min(0)).clip(0, size).astype(int)
    right, bottom = np.ceil((centres + radii).max(0)).clip(0, size).astype(int)
    return slice(top, bottom), slice(left, right)


def share_inside(maps: np.ndarray, box: tuple[slice, slice], size: int) -> float:
    """Return the share of the positive part of maps (M, h, w), enlarged to `size`, that lies in a box; 0 for none."""
    wide = [cv2.resize(one.clip(0), (size, size), interpolation=cv2.INTER_LINEAR) for one in maps]
    total = sum(float(one.sum(dtype=np.float64)) for one in wide)
    return sum(float(one[box].sum(dtype=np.float64)) for one in wide) / total if total > 0 else 0.0
