"""The first batch of a training as a picture: what the network is given, read back from its own tensors.

move_left   videos/move_left/train_003        a clip's class and video
[f][f]  [f][f]  [f][f]  [f][f]                its snippets of K frames (K = 2, S = 4); flow in colour
[u]     [u]     [u]     [u]                   under them the flow that a network learns beside the classes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from tdn_data.models.clips.pixels import levels
from tdn_data.models.training.batches import EpochBatches
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.phases import Phase
from tdn_data.pipeline.flow import flow_to_color
from tdn_data.pipeline.images import write_png
from tdn_data.pipeline.shards.reader import DatasetInfo
from tdn_data.pipeline.view.flow_pictures import flow_scale, visible_flow
from tdn_data.pipeline.view.sheet import MARGIN, PAPER, flow_key, stack_bands

FIRST_BATCH = "training/first_batch.png"  # of a run's folder
MAX_CLIPS = 6
MAX_COLUMNS = 24  # frames side by side, but at least one snippet
HEIGHT = 112  # pixels, of a frame; smaller ones are enlarged by a whole number


@dataclass(frozen=True)
class _Clip:
    """One clip: its caption and its rows of snippets, each uint8 RGB or float32 flow (S, K, H, W, C)."""

    caption: str
    rows: list[np.ndarray]


def write_first_batch(path: Path, phase: Phase, config: TrainConfig, info: DatasetInfo) -> None:
    """Write the first clips of the first batch of `phase` as a PNG; drawing them changes nothing in the training.

    They are what the loader gives: cropped, mirrored and in changed colours where the configuration says so, before
    `mixup`. `info` names the classes and, for flow, the bound. Raises StorageError where the disk takes no more.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, first_batch_picture(phase, config, info))


def first_batch_picture(phase: Phase, config: TrainConfig, info: DatasetInfo) -> np.ndarray:
    """Return the picture, uint8 (H, W, 3) RGB: a row per clip with its classes, a column per frame."""
    batches = EpochBatches(phase.clips, config.batch_size, seed=config.seed, first_epoch=phase.epochs.start)
    keys = next(iter(batches))[:MAX_CLIPS]
    bound = info.parameters.get("bound")
    clips = [_clip(phase, key, info.class_names, bound) for key in keys]
    fields = [field for clip in clips for row in clip.rows if row.shape[-1] == 2 for field in _pictures(row)]
    scale = flow_scale([np.nan_to_num(field) for field in fields], bound=bound or 0.0)
    bands = [(_band(clip.rows, scale), clip.caption) for clip in clips]
    if fields:
        bands.append((flow_key(scale, max(band.shape[1] for band, _ in bands)), "key to the flow"))
    return stack_bands(bands)


def _clip(phase: Phase, key: tuple[int, int], class_names: Sequence[str], bound: float | None) -> _Clip:
    clip, *others = phase.dataset[key]
    target = next((one for one in others if one.ndim < 2), None)  # image pairs have none
    flow = next((one for one in others if one.ndim > 2), None)
    shown = clip.numpy() if clip.dtype == torch.uint8 else levels(clip)
    if shown.shape[-1] == 2:
        shown = visible_flow(shown, bound)
    rows = [shown] if flow is None else [shown, flow.movedim(-3, -1).numpy()]
    num_snippets, length = shown.shape[:2]
    chosen = np.unique(np.linspace(0, num_snippets - 1, min(num_snippets, max(1, MAX_COLUMNS // length))).round())
    names = [*_labels(target, class_names), *phase.names([key[1]])]
    if len(chosen) < num_snippets:
        names.append(f"{len(chosen)} of {num_snippets} snippets")
    return _Clip("   ".join(names), [row[chosen.astype(int)] for row in rows])


def _labels(target: Tensor | None, class_names: Sequence[str]) -> list[str]:
    """Return the classes of a target, together one word."""
    if target is None:
        return []
    numbers = target.nonzero().flatten().tolist() if target.ndim else [int(target)]
    return [", ".join(class_names[number] for number in numbers) or "no class"]


def _pictures(row: np.ndarray) -> np.ndarray:
    return row.reshape(-1, *row.shape[2:])


def _band(rows: Sequence[np.ndarray], scale: float) -> np.ndarray:
    """Return a clip's rows under each other; the snippets' beginnings stand in one column."""
    length = max(row.shape[1] for row in rows)
    return np.concatenate([_row(row, length, scale) for row in rows])


def _row(row: np.ndarray, length: int, scale: float) -> np.ndarray:
    """Return snippets side by side, each with room for `length` pictures and a margin behind it."""
    snippets = []
    for snippet in row:
        pictures = [flow_to_color(one, max_magnitude=scale) if row.shape[-1] == 2 else one for one in snippet]
        cells = [cv2.copyMakeBorder(_sized(one), 0, 2, 0, 2, cv2.BORDER_CONSTANT, value=PAPER) for one in pictures]
        cells += [np.full_like(cells[0], PAPER)] * (length - len(cells))
        snippets.append(cv2.copyMakeBorder(np.hstack(cells), 0, 0, MARGIN, 0, cv2.BORDER_CONSTANT, value=PAPER))
    return np.hstack(snippets)


def _sized(picture: np.ndarray) -> np.ndarray:
    """Return a square picture near HEIGHT: pixels of a small one stay what they are."""
    side = picture.shape[0]
    if side > HEIGHT:
        return cv2.resize(picture, (HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA)
    return picture.repeat(HEIGHT // side, 0).repeat(HEIGHT // side, 1)
