"""TV-L1 flow of a network's own frames: what Zhao, Xiong & Lin compare their displacement maps with (tables 3, 4, 6).

It is computed from the clip as the network gets it, cropped and mirrored, so that no stored flow has to fit it; the
gradient ends there. In a compiled or exported network it stays one operation, `tdn_data::tvl1_displacement`, which
ONNX does not know.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from tdn_data.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from tdn_data.pipeline.flow import optical_flow


@torch.library.custom_op("tdn_data::tvl1_displacement", mutates_args=(), schema="(Tensor frames) -> Tensor")
def tvl1_displacement(frames: Tensor) -> Tensor:
    """Return where each pixel of normalised RGB frames (B, K, 3, H, W) goes from frame to frame, by TV-L1.

    The result is float32 (B, K - 1, 2, H, W), pixels down, then to the right, on the device of the frames.
    """
    grey = _grey(frames)
    shape = (-1, *grey.shape[2:])
    device = "cuda" if frames.is_cuda else "cpu"
    flow = optical_flow(grey[:, :-1].reshape(shape), grey[:, 1:].reshape(shape), device=device)  # right, down
    moved = torch.from_numpy(np.ascontiguousarray(flow[..., ::-1])).movedim(-1, 1)
    return moved.unflatten(0, (len(grey), -1)).contiguous().to(frames.device)


@tvl1_displacement.register_fake
def _shape_of(frames: Tensor) -> Tensor:
    num_clips, num_frames, _, height, width = frames.shape
    return frames.new_empty((num_clips, num_frames - 1, 2, height, width), dtype=torch.float32)


def _grey(frames: Tensor) -> np.ndarray:
    """Return the frames as the grey levels that they were, uint8 (B, K, H, W)."""
    mean, std = (torch.tensor(values, device=frames.device)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    levels = ((frames.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    pictures = levels.movedim(-3, -1).contiguous().cpu().numpy()
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures.reshape(-1, *pictures.shape[2:])]
    return np.stack(grey).reshape(pictures.shape[:-1])
