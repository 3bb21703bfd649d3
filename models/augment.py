"""Crops and mirrors for clips, as in TSN (Wang et al., ECCV 2016), which Ng & Davis follow (section 4.2).

A clip is uint8 (S, K, H, W, C) here: all its frames get the same crop and the same mirror.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SCALES = (1.0, 0.875, 0.75, 0.66)  # of the shorter side, scale jittering


@dataclass(frozen=True)
class Augment:
    """What training does to a clip: a crop and, with `mirror`, a horizontal reflection half of the time.

    `crop` is `corner` (four corners and centre, sides jittered over SCALES, resized to `size`), `random` (anywhere, no
    resizing) or `center`. `size` is the side of the square that comes out, in pixels.
    """

    size: int
    crop: str = "corner"
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.crop not in ("corner", "random", "center"):
            raise ValueError(f"crop is {self.crop!r}; known crops: corner, random, center")

    def __call__(self, clip: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, bool]:
        """Return the augmented clip (S, K, size, size, C), and whether it was mirrored."""
        if self.crop == "center":
            clip = center_crop(clip, self.size)
        elif self.crop == "random":
            clip = _random_crop(clip, self.size, generator)
        else:
            clip = _corner_crop(clip, self.size, generator)
        mirrored = bool(self.mirror and generator.random() < 0.5)
        return (mirror(clip) if mirrored else clip), mirrored


def mirror(clip: np.ndarray) -> np.ndarray:
    """Return the clip reflected left to right; discretised flow (C = 2) also changes the sign of its x component."""
    clip = clip[..., ::-1, :]
    if clip.shape[-1] == 2:
        clip = np.stack([255 - clip[..., 0], clip[..., 1]], axis=-1)
    return clip


def crops_of(clip: np.ndarray, size: int, num_crops: int) -> list[np.ndarray]:
    """Return the crops (S, K, size, size, C) in which a test clip is seen, see CROPS; ValueError if it is too small."""
    if num_crops not in CROPS:
        raise ValueError(f"num_crops is {num_crops!r}; it must be 1, 3 or 10")
    return CROPS[num_crops](clip, size)


def center_crop(clip: np.ndarray, size: int) -> np.ndarray:
    """Return the centre (S, K, size, size, C) of a clip."""
    return ten_crops(clip, size)[4]


def three_crops(clip: np.ndarray, size: int) -> list[np.ndarray]:
    """Return start, middle and end of the longer side, each in the middle of the shorter (Wang et al., section 4.1)."""
    bottom, right = _room(clip, size)
    if right >= bottom:
        corners = [(bottom // 2, 0), (bottom // 2, right // 2), (bottom // 2, right)]
    else:
        corners = [(0, right // 2), (bottom // 2, right // 2), (bottom, right // 2)]
    return [clip[:, :, y : y + size, x : x + size] for y, x in corners]


def ten_crops(clip: np.ndarray, size: int) -> list[np.ndarray]:
    """Return four corners and the centre, then their reflections (Ng & Davis, section 4.2)."""
    bottom, right = _room(clip, size)
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    crops = [clip[:, :, y : y + size, x : x + size] for y, x in corners]
    return crops + [mirror(crop) for crop in crops]


CROPS = {1: lambda clip, size: [center_crop(clip, size)], 3: three_crops, 10: ten_crops}


def _room(clip: np.ndarray, size: int) -> tuple[int, int]:
    """Return how far down and to the right a crop can lie; raise ValueError when it does not fit."""
    height, width = clip.shape[2:4]
    if height < size or width < size:
        raise ValueError(f"the clip is {height} x {width} pixels; a crop of {size} does not fit into it")
    return height - size, width - size


def _random_crop(clip: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    bottom, right = _room(clip, size)
    y, x = generator.integers(bottom + 1), generator.integers(right + 1)
    return clip[:, :, y : y + size, x : x + size]


def _corner_crop(clip: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """Return a crop with jittered sides at a corner or the centre, resized to (size, size)."""
    height, width = clip.shape[2:4]
    sides = np.round(min(height, width) * np.array(SCALES)).astype(int)
    first = generator.integers(len(sides))
    second = np.clip(first + generator.integers(-1, 2), 0, len(sides) - 1)  # neighbouring scales: little distortion
    crop_height, crop_width = sides[first], sides[second]
    bottom, right = height - crop_height, width - crop_width
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    y, x = corners[generator.integers(len(corners))]
    return resize_clip(clip[:, :, y : y + crop_height, x : x + crop_width], size)


def resize_clip(clip: np.ndarray, size: int) -> np.ndarray:
    """Return the clip (S, K, size, size, C), resized bilinearly."""
    frames = clip.reshape(-1, *clip.shape[2:])
    resized = [
        cv2.resize(np.ascontiguousarray(frame), (size, size), interpolation=cv2.INTER_LINEAR) for frame in frames
    ]
    return np.stack(resized).reshape(*clip.shape[:2], size, size, clip.shape[-1])
