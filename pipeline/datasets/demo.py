"""The built-in data set: rendered clips of eight motions whose optical flow is known exactly.

Four pairs of opposites: an object of random shape, colour and texture moves left or right, up or down, grows or
shrinks, turns clockwise or counter-clockwise before a textured background at rest. Everything that is drawn at random
(start, speed, phase, looks, sensor noise) is drawn before the direction counts, and a class shows the states of its
partner in the opposite order:

    render_clip("move_left", seed=7).frames == render_clip("move_right", seed=7).frames[::-1]

So the two classes of a pair have the same frames, and whoever looks at frames one by one is right half the time at
best. Everything is elementwise float64 arithmetic without library filters, so that the processor does not matter.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_text, write_text
from tdn_data.pipeline.parameters import DemoParameters
from tdn_data.pipeline.progress import OnProgress, reported

PAIRS = (
    ("move_left", "move_right"),
    ("move_up", "move_down"),
    ("grow", "shrink"),
    ("turn_clockwise", "turn_counterclockwise"),
)
CLASS_NAMES = tuple(name for pair in PAIRS for name in pair)
SHAPES = ("bar", "ellipse", "wedge", "hook", "tee")
FPS = 10
VIDEO_LIST, CLASS_LIST, COLUMNS = "videos.csv", "classes.txt", ("path", "split", "labels")
SPLITS = ("train", "val", "test")  # a clip's seed holds its split's number
_VIDEO_ID = re.compile(rf"videos/(?P<name>{'|'.join(CLASS_NAMES)})/(?P<split>{'|'.join(SPLITS)})_(?P<number>\d+)")
TEXTURE_SIZE = 64  # texels along each side; textures repeat
TEXELS_PER_RADIUS = 5.0
NOISE_LEVELS = DemoParameters().noise  # standard deviation of the sensor noise
SIZE = DemoParameters().size  # pixels along each side


@dataclass(frozen=True)
class DemoClip:
    """One rendered clip.

    `frames`: uint8 (T, H, W, 3) RGB. `flow`: float32 (T - 1, H, W, 2), x right, y down, pixels per step, from the
    pixels of frame t to frame t + 1: the object's motion on the object, zero on the background, also where the
    background is about to be covered. `valid`: bool (T - 1, H, W), true where a pixel shows one surface only, and
    that surface's point is seen in frame t + 1; false on the object's rim and at occlusions.
    """

    frames: np.ndarray
    flow: np.ndarray
    valid: np.ndarray
    label: int


@dataclass(frozen=True)
class _Pose:
    """Where the object is: centre and radius in pixels, angle in radians, positive clockwise on screen."""

    x: float
    y: float
    radius: float
    angle: float


def render_clip(
    class_name: str,
    *,
    seed: int | Sequence[int],
    num_frames: int = 16,
    size: int = SIZE,
    object_size: int | None = None,
    noise: float = NOISE_LEVELS,
) -> DemoClip:
    """Render one clip of `class_name`, `size` x `size` pixels, with its exact flow.

    `seed` is whatever `numpy.random.default_rng` takes; the partner class with the same seed gives the reversed clip.
    With `object_size` the object is as large and as fast as in a clip of that size, which may lie anywhere in this one.
    `noise` is the standard deviation of the sensor noise in grey levels. Raises ValueError for an unknown class, fewer
    than two frames, fewer than 16 pixels, an object's size above the clip's, or negative noise.
    """
    _check(class_name, num_frames, size, object_size, noise)
    rng = np.random.default_rng(seed)
    pair = CLASS_NAMES.index(class_name) // 2
    poses = _draw_poses(PAIRS[pair][0], rng, num_frames, size, object_size)
    shape = SHAPES[rng.integers(len(SHAPES))]
    background_color, object_color = _draw_colors(rng)
    background = _paint(_draw_texture(rng, 3), background_color, *_grid(size), amplitude=22.0)
    texture = _draw_texture(rng, 2)
    alphas, frames = [], []
    for pose in poses:
        x, y = _object_coordinates(pose, size)
        alpha = np.clip(0.5 - _signed_distance(shape, x, y) * pose.radius, 0.0, 1.0)
        seen = alpha > 0
        u, v = x[seen] * TEXELS_PER_RADIUS, y[seen] * TEXELS_PER_RADIUS
        clean = background.copy()
        clean[seen] += alpha[seen, None] * (_paint(texture, object_color, u, v, amplitude=50.0) - background[seen])
        alphas.append(alpha)
        frames.append(_expose(clean, rng, noise))
    if class_name != PAIRS[pair][0]:
        poses, alphas, frames = poses[::-1], alphas[::-1], frames[::-1]
    flow, valid = _exact_flow(poses, alphas)
    return DemoClip(np.stack(frames), flow, valid, CLASS_NAMES.index(class_name))


def draw_states(
    class_name: str,
    *,
    seed: int | Sequence[int],
    num_frames: int = 16,
    size: int = SIZE,
    object_size: int | None = None,
) -> np.ndarray:
    """Return what `render_clip` with the same arguments shows of the object in each frame, float64 (T, 4).

    The columns are x and y of its centre and its radius, in pixels, and its angle in radians: all that its class
    decides of a frame.
    """
    _check(class_name, num_frames, size, object_size, 0)
    pair = PAIRS[CLASS_NAMES.index(class_name) // 2]
    poses = _draw_poses(pair[0], np.random.default_rng(seed), num_frames, size, object_size)
    states = np.array([(pose.x, pose.y, pose.radius, pose.angle) for pose in poses])
    return states if class_name == pair[0] else states[::-1]


def states_of_video(video_id: str, parameters: DemoParameters, *, num_frames: int = 16) -> np.ndarray:
    """Return the states of the object in a video of the data set, as `draw_states` does; ValueError for another video.

    `video_id` is the identifier that extraction gives it, e.g. `videos/move_left/test_000`.
    """
    found = _VIDEO_ID.fullmatch(video_id)
    if found is None:
        raise ValueError(f"{video_id!r} is no video of the built-in data set")
    name, split, number = found["name"], SPLITS.index(found["split"]), int(found["number"])
    seed = (parameters.seed, split, CLASS_NAMES.index(name), number)
    sizes = {"size": parameters.size, "object_size": parameters.object_size}
    return draw_states(name, seed=seed, num_frames=num_frames, **sizes)


def render_demo(
    out: str | os.PathLike[str],
    *,
    num_workers: int | None = None,
    on_progress: OnProgress | None = None,
    **parameters: float,
) -> int:
    """Write the data set to the folder `out`: H.264 MP4s, `videos.csv` and `classes.txt`; return the number of clips.

    `parameters` are the fields of `DemoParameters`; ValueError names one that is not allowed. Same seed and library
    versions, same bytes, whatever the number of threads (`num_workers`, by default one for each core). A clip depends
    on the seed, the noise, the sizes, its split, its class and its number alone, so a set of more clips holds those of
    a smaller one.
    The lists are written last.

    The validation clips are those that were the test split before there was validation, while the rendering and the
    recipes were being tuned.
    """
    asked = DemoParameters(**parameters)
    out = Path(out)
    _refuse_other_lists(out)
    jobs = list(_jobs(out, asked.seed, (asked.train_per_class, asked.val_per_class, asked.test_per_class)))
    for folder in {path.parent for path, *_ in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    for _ in reported(_render_all(jobs, asked, num_workers or os.cpu_count() or 1), len(jobs), on_progress):
        pass
    rows = [(path.relative_to(out).as_posix(), split, name) for path, split, name, _ in jobs]
    _write_lists(out, rows)
    return len(jobs)


def _refuse_other_lists(out: Path) -> None:
    """Raise InputError where `out` holds lists that no rendering of this data set has written."""
    row = re.compile(rf"{_VIDEO_ID.pattern}\.mp4,(?P=split),(?P=name)")
    own = {VIDEO_LIST: lambda lines: lines[:1] == [",".join(COLUMNS)] and all(map(row.fullmatch, lines[1:]))}
    own[CLASS_LIST] = lambda lines: tuple(lines) == CLASS_NAMES
    for name, is_own in own.items():
        if os.path.lexists(out / name) and not is_own(read_text(out / name, what="list").splitlines()):
            raise InputError(
                f"{out / name} is a list of your own, and rendering would replace it; give another folder.", path=out
            )


def _check(class_name: str, num_frames: int, size: int, object_size: int | None, noise: float) -> None:
    if class_name not in CLASS_NAMES:
        raise ValueError(f"class_name is {class_name!r}; known classes: {', '.join(CLASS_NAMES)}")
    for name, value, least in (("num_frames", num_frames, 2), ("size", size, 16), ("noise", noise, 0)):
        if value < least:
            raise ValueError(f"{name} is {value!r}; it must be at least {least}")
    if object_size is not None and not 16 <= object_size <= size:
        raise ValueError(f"object_size is {object_size!r}; it must be from 16 to the size, which is {size}")


def _draw_poses(
    first_of_pair: str, rng: np.random.Generator, num_frames: int, size: int, object_size: int | None
) -> list[_Pose]:
    """Draw a motion that is symmetric in time up to its direction, and return its states in order."""
    if object_size is None:
        return _draw_motion(first_of_pair, rng, num_frames, size)
    poses = _draw_motion(first_of_pair, rng, num_frames, object_size)
    x, y = rng.uniform(0, size - object_size, 2)
    return [replace(pose, x=pose.x + x, y=pose.y + y) for pose in poses]


def _draw_motion(first_of_pair: str, rng: np.random.Generator, num_frames: int, size: int) -> list[_Pose]:
    """Draw the states of an object that stays in the middle of a clip of `size`."""
    x, y = rng.uniform(0.34, 0.66, 2) * size  # centre in the middle of the clip
    radius = rng.uniform(0.18, 0.24) * size
    angle = rng.uniform(0, 2 * math.pi)
    speed = rng.uniform(0, 1)
    times = (np.arange(num_frames) / (num_frames - 1) - 0.5).tolist()  # -0.5 ... 0.5
    if first_of_pair in ("move_left", "move_up"):
        travel = (0.3 + 0.25 * speed) * size
        along_x = first_of_pair == "move_left"
        return [_Pose(x - t * travel * along_x, y - t * travel * (not along_x), radius, angle) for t in times]
    if first_of_pair == "grow":
        ratio = 1.8 + 0.8 * speed
        return [_Pose(x, y, radius * ratio**t, angle) for t in times]
    turn = math.radians(60 + 40 * speed)
    return [_Pose(x, y, 1.5 * radius, angle + t * turn) for t in times]


def _draw_colors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the background's and the object's mean colour, at least 60 levels apart in one channel."""
    background = rng.uniform(60, 196, 3)
    while True:
        color = rng.uniform(50, 206, 3)
        if np.abs(color - background).max() >= 60:
            return background, color


def _draw_texture(rng: np.random.Generator, num_smoothings: int) -> np.ndarray:
    """Draw a periodic texture (TEXTURE_SIZE, TEXTURE_SIZE, 3) of zero mean and unit variance: smoothed white noise."""
    texture = rng.standard_normal((TEXTURE_SIZE, TEXTURE_SIZE, 3))
    for axis in (0, 1):
        for _ in range(num_smoothings):
            texture = (np.roll(texture, 1, axis) + 2 * texture + np.roll(texture, -1, axis)) / 4
    taps = 4 * num_smoothings  # a binomial filter's squared weights sum to C(2m, m) / 4^m, m its order, per axis
    return texture * (2**taps / math.comb(taps, taps // 2))


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels' x and y, float64 (size, size) each."""
    return np.meshgrid(np.arange(size, dtype=np.float64), np.arange(size, dtype=np.float64))


def _object_coordinates(pose: _Pose, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's place on the object, in units of its radius, unturned."""
    x, y = _grid(size)
    x, y = (x - pose.x) / pose.radius, (y - pose.y) / pose.radius
    cosine, sine = math.cos(pose.angle), math.sin(pose.angle)
    return cosine * x + sine * y, cosine * y - sine * x


def _signed_distance(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the distance to the shape's edge in units of its radius, negative inside (roughly, away from the edge).

    Each shape is longer than wide, or bent: one whose outline looks alike after a small turn would hide the turn.
    """
    if shape == "ellipse":
        return (np.sqrt(x * x + (y * 2.5) ** 2) - 1.0) / 2.5
    if shape == "wedge":
        return np.maximum(np.abs(y) - 0.25 * (1.0 + x), np.abs(x) - 1.0)
    bar = np.maximum(np.abs(x) - 1.0, np.abs(y) - 0.3)
    if shape == "hook":
        return np.minimum(bar, np.maximum(np.abs(x - 0.7) - 0.3, np.abs(y - 0.3) - 0.6))
    if shape == "tee":
        return np.minimum(bar, np.maximum(np.abs(x - 0.7) - 0.3, np.abs(y) - 0.8))
    return bar


def _paint(texture: np.ndarray, color: np.ndarray, x: np.ndarray, y: np.ndarray, *, amplitude: float) -> np.ndarray:
    """Return colours float64 (..., 3): the texture, read bilinearly at texels x, y (...), around a mean colour."""
    left, top = np.floor(x), np.floor(y)
    u, v = (x - left)[..., None], (y - top)[..., None]
    left, top = left.astype(np.int64) % TEXTURE_SIZE, top.astype(np.int64) % TEXTURE_SIZE
    right, bottom = (left + 1) % TEXTURE_SIZE, (top + 1) % TEXTURE_SIZE
    upper = texture[top, left] * (1 - u) + texture[top, right] * u
    lower = texture[bottom, left] * (1 - u) + texture[bottom, right] * u
    return color + amplitude * (upper * (1 - v) + lower * v)


def _expose(clean: np.ndarray, rng: np.random.Generator, noise: float) -> np.ndarray:
    noisy = clean + noise * rng.standard_normal(clean.shape)
    return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)


def _exact_flow(poses: list[_Pose], alphas: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the flow (T - 1, H, W, 2) and where it can be seen (T - 1, H, W); an object's pixel has alpha >= 0.5."""
    size = alphas[0].shape[0]
    grid_x, grid_y = _grid(size)
    flows, valids = [], []
    for before, after, alpha, next_alpha in zip(poses, poses[1:], alphas, alphas[1:], strict=False):
        ratio = after.radius / before.radius
        turn = after.angle - before.angle
        x, y = (grid_x - before.x) * ratio, (grid_y - before.y) * ratio
        new_x = after.x + math.cos(turn) * x - math.sin(turn) * y
        new_y = after.y + math.sin(turn) * x + math.cos(turn) * y
        on_object = alpha >= 0.5
        flow = np.stack([new_x - grid_x, new_y - grid_y], axis=-1) * on_object[..., None]
        inside = (new_x >= 0) & (new_x <= size - 1) & (new_y >= 0) & (new_y <= size - 1)
        flows.append(flow.astype(np.float32))
        valids.append(((alpha == 1) & inside) | ((alpha == 0) & (next_alpha == 0)))
    return np.stack(flows), np.stack(valids)


_Job = tuple[Path, str, str, tuple[int, ...]]  # file, split, class name, the clip's own seed


def _jobs(out: Path, seed: int, counts: tuple[int, int, int]) -> Iterator[_Job]:
    for split_number, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        for label, name in enumerate(CLASS_NAMES):
            for number in range(count):
                path = out / "videos" / name / f"{split}_{number:03d}.mp4"
                yield path, split, name, (seed, split_number, label, number)


def _render_all(jobs: list[_Job], asked: DemoParameters, num_workers: int) -> Iterator[None]:
    """Render every job in threads (array arithmetic and the encoder let go of the interpreter); order as given."""
    with ThreadPoolExecutor(num_workers) as pool:
        yield from pool.map(partial(_render_file, asked=asked), jobs)


def _render_file(job: _Job, *, asked: DemoParameters) -> None:
    from tdn_data.pipeline.video import write_video

    path, _, name, seed = job
    look = {"size": asked.size, "object_size": asked.object_size, "noise": asked.noise}
    write_video(path, render_clip(name, seed=seed, **look).frames, fps=FPS)


def _write_lists(out: Path, rows: list[tuple[str, str, str]]) -> None:
    write_text(out / CLASS_LIST, "".join(f"{name}\n" for name in CLASS_NAMES))
    write_text(out / VIDEO_LIST, "".join(f"{','.join(row)}\n" for row in (COLUMNS, *rows)))
