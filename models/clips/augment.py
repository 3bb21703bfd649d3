"""Crops, mirrors and colours for clips, as in TSN (Wang et al., ECCV 2016), which Ng & Davis follow (section 4.2).

A clip is uint8 (S, K, H, W, C) here: all its frames get the same crop, the same mirror and the same change of colour.
Flow that a network learns beside the frames goes through the frames' `View`, so that it stays the flow of what is seen.

Colour jitter: Ng & Davis name it (section 4.2; dissertation, sections 4.4.2 and 5.4.2) and refer to GoogLeNet's paper
for it, which gives no numbers. Brightness, contrast and saturation in random order are those of fb.resnet.torch, the
Torch7 code of the time, where `strength` is 0.4; the contrast's mean is the clip's here, not each frame's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

SCALES = (1.0, 0.875, 0.75, 0.66)  # of the shorter side, scale jittering
TRAINING_CROPS = ("corner", "scaled", "random", "center")
SHORTER_SIDES = (256, 320)  # pixels, for crops of SCALED_SIZE
SCALED_SIZE = 224
NUM_UPRIGHT = 5  # of ten crops; the others are their reflections


@dataclass(frozen=True)
class View:
    """What is seen of a clip's frames: a window in pixels, the side it is resized to, whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    size: int
    mirrored: bool = False

    def of(self, clip: np.ndarray) -> np.ndarray:
        """Return (S, K, size, size, C) of a clip (S, K, H, W, C)."""
        return self.of_pictures(clip.reshape(-1, *clip.shape[2:])).reshape(*clip.shape[:2], self.size, self.size, -1)

    def of_pictures(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Return (N, size, size, C) of N pictures (H, W, C), uint8 or float32; only the window is computed with."""
        shown = np.empty((len(pictures), self.size, self.size, pictures[0].shape[-1]), pictures[0].dtype)
        rows, columns = slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
        for picture, out in zip(pictures, shown, strict=True):
            resize_picture(picture[rows, columns], out)
            if self.mirrored:
                cv2.flip(out, 1, dst=out)
        if self.mirrored and shown.shape[-1] == 2:
            _turn_x(shown)
        return shown

    def of_flow(self, flow: np.ndarray) -> np.ndarray:
        """Return the flow of what `of` shows, for the frames' flow float32 (S, K, H, W, 2) in pixels of the frame.

        The result is in pixels of the view: where the window is enlarged, vectors grow with it.
        """
        scale = np.array([self.size / self.width, self.size / self.height], np.float32)
        return self.of(flow) * scale


@dataclass(frozen=True)
class Augment:
    """What training does to a clip: a crop and, with `mirror`, a horizontal reflection half of the time.

    `crop` is `corner` (four corners and centre, sides jittered over SCALES, resized to `size`; TSN), `scaled` (anywhere
    in frames whose shorter side has any length in SHORTER_SIDES; Wang et al., section 4.1), `random` (anywhere, no
    resizing) or `center`. `size` is the side of the square that comes out, in pixels. `color_jitter` is the largest
    change of brightness, contrast and saturation of RGB frames, as a share; 0 leaves them as they are.
    """

    size: int
    crop: str = "corner"
    mirror: bool = False
    color_jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.crop not in TRAINING_CROPS:
            raise ValueError(f"crop is {self.crop!r}; known crops: {', '.join(TRAINING_CROPS)}")
        if not 0 <= self.color_jitter < 1:
            raise ValueError(f"color_jitter is {self.color_jitter!r}; it must be at least 0 and below 1")

    def __call__(
        self, pictures: Sequence[np.ndarray], places: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, View]:
        """Return the augmented clip uint8 (S, K, size, size, C), and the view of the frames that it shows.

        `pictures` are the frames, uint8 (H, W, C), of which `places` (S, K) says where each stands in the clip.
        """
        view = self.draw_view(*pictures[0].shape[:2], generator)
        clip = view.of_pictures(pictures)
        in_order = places.ravel().tolist() == list(range(len(pictures)))
        clip = clip.reshape(*places.shape, *clip.shape[1:]) if in_order else clip[places]
        if self.color_jitter and clip.shape[-1] == 3:
            clip = jitter_colors(clip, self.color_jitter, generator)
        return clip, view

    def draw_view(self, height: int, width: int, generator: np.random.Generator) -> View:
        """Draw a crop of frames of `height` x `width` pixels; raise ValueError where it does not fit into them."""
        if self.crop == "corner":
            window = _corner_window(height, width, generator)
        elif self.crop == "scaled":
            window = _scaled_window(height, width, self.size, generator)
        else:
            bottom, right = _room(height, width, self.size)
            top, left = bottom // 2, right // 2
            if self.crop == "random":
                top, left = generator.integers(bottom + 1), generator.integers(right + 1)
            window = (int(top), int(left), self.size, self.size)
        return View(*window, self.size, bool(self.mirror and generator.random() < 0.5))


def mirror(clip: np.ndarray) -> np.ndarray:
    """Return the clip reflected left to right; flow (C = 2), discretised or not, also changes the sign of its x."""
    clip = clip[..., ::-1, :]
    if clip.shape[-1] == 2:
        clip = clip.copy()
        _turn_x(clip)
    return clip


def _turn_x(out: np.ndarray) -> None:
    """Change the sign of the x of flow (..., 2) in place; levels count from the other end."""
    x = out[..., 0]
    if out.dtype == np.uint8:
        np.subtract(255, x, out=x)
    else:
        np.negative(x, out=x)


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
    bottom, right = _room(*clip.shape[2:4], size)
    if right >= bottom:
        corners = [(bottom // 2, 0), (bottom // 2, right // 2), (bottom // 2, right)]
    else:
        corners = [(0, right // 2), (bottom // 2, right // 2), (bottom, right // 2)]
    return [clip[:, :, y : y + size, x : x + size] for y, x in corners]


def ten_crops(clip: np.ndarray, size: int) -> list[np.ndarray]:
    """Return four corners and the centre, then their reflections (Ng & Davis, section 4.2)."""
    bottom, right = _room(*clip.shape[2:4], size)
    crops = [clip[:, :, y : y + size, x : x + size] for y, x in _corners(bottom, right)]
    return crops + [mirror(crop) for crop in crops]


CROPS = {1: lambda clip, size: [center_crop(clip, size)], 3: three_crops, 10: ten_crops}


def _room(height: int, width: int, size: int) -> tuple[int, int]:
    """Return how far down and to the right a crop can lie; raise ValueError when it does not fit."""
    if height < size or width < size:
        raise ValueError(f"the clip is {height} x {width} pixels; a crop of {size} does not fit into it")
    return height - size, width - size


def _corners(bottom: int, right: int) -> list[tuple[int, int]]:
    """Return where a crop starts at the four corners and in the centre, if it can start up to `bottom` and `right`."""
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]


def _corner_window(height: int, width: int, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a window (top, left, height, width) with jittered sides at a corner or the centre."""
    sides = [round(min(height, width) * scale) for scale in SCALES]
    first = generator.integers(len(sides))
    second = first + generator.integers(-1, 2)  # neighbouring scales: little distortion
    crop_height, crop_width = sides[first], sides[min(max(second, 0), len(sides) - 1)]
    corners = _corners(height - crop_height, width - crop_width)
    return *corners[generator.integers(len(corners))], crop_height, crop_width


def _scaled_window(height: int, width: int, size: int, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a window (top, left, height, width) of which `size` pixels square are left when frames are resized.

    Wang et al., section 4.1: "each video is resized to have shorter side in [256, 320] and a crop of 224 x 224 was
    randomly cropped"; for another `size` in proportion. Only the crop is resized, so its side is rounded to whole
    pixels of the frame. A frame with a shorter side of 256: 256 gives a window of 224, 320 one of 179.
    """
    least, most = (round(side * size / SCALED_SIZE) for side in SHORTER_SIDES)
    side = round(size * min(height, width) / generator.integers(least, most + 1))
    top, left = generator.integers(0, height - side + 1), generator.integers(0, width - side + 1)
    return int(top), int(left), side, side


def resize_clip(clip: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the clip (S, K, height, width, C), uint8 or float32, resized bilinearly."""
    resized = np.empty((*clip.shape[:2], height, width, clip.shape[-1]), clip.dtype)
    for picture, out in zip(clip.reshape(-1, *clip.shape[2:]), resized.reshape(-1, *resized.shape[2:]), strict=True):
        resize_picture(picture, out)
    return resized


def resize_picture(picture: np.ndarray, out: np.ndarray) -> None:
    """Write a picture (H, W, C), uint8 or float32, into `out` (height, width, C), resized bilinearly."""
    if picture.shape == out.shape:
        np.copyto(out, picture)
    else:
        cv2.resize(picture, out.shape[1::-1], dst=out, interpolation=cv2.INTER_LINEAR)


def resize_flow(flow: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return flow float32 (S, K, h, w, 2) for frames of `height` x `width` pixels, in which its vectors are counted."""
    if flow.shape[2:4] == (height, width):
        return flow
    scale = np.array([width / flow.shape[3], height / flow.shape[2]], np.float32)
    return resize_clip(flow, height, width) * scale


def jitter_colors(clip: np.ndarray, strength: float, generator: np.random.Generator) -> np.ndarray:
    """Return an RGB clip (S, K, H, W, 3) with brightness, contrast and saturation changed, in random order.

    Each is blended with black, the clip's mean grey or the pixel's own grey, by a factor of 1 +- `strength` at most.
    All three are affine in a pixel's colour, so they are gathered in one matrix and rounded once.
    """
    rows = np.ascontiguousarray(clip).reshape(-1, clip.shape[-2], 3)
    grey, mean = np.array([0.299, 0.587, 0.114]), np.array(cv2.sumElems(rows)[:3]) / (rows.size / 3)
    matrix, offset = np.eye(3), np.zeros(3)
    for kind in generator.permutation(3):
        factor = 1 + generator.uniform(-strength, strength)
        added = (1 - factor) * (grey @ (matrix @ mean + offset)) if kind == 1 else 0.0
        blend = factor * np.eye(3) + ((1 - factor) * np.tile(grey, (3, 1)) if kind == 2 else 0.0)
        matrix, offset = blend @ matrix, blend @ offset + added
    return cv2.transform(rows, np.column_stack([matrix, offset])).reshape(clip.shape)
