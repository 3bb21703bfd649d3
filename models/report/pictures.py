"""The report's pictures of videos: one of each class with its flow, and the frames of what a run got wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tdn_data.models.evaluation.mistakes import Mistake, mistake_frames
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.view.inspect import pictures_at
from tdn_data.pipeline.view.sheet import resize_to_height

GAP = 3  # white pixels between the pictures of a strip
NUM_COLUMNS, HEIGHT = 6, 96  # of a strip: its pictures, and their height in pixels


@dataclass(frozen=True)
class Sample:
    """One video in pictures: `image` uint8 (H, W, 3) RGB, frames above their flow."""

    caption: str
    image: np.ndarray


def mistake_strips(reader: ShardReader, mistakes: Iterable[Mistake]) -> dict[str, np.ndarray]:
    """Return video -> its frames side by side, uint8 (H, W, 3) RGB, for those mistakes of which frames are stored."""
    stored = {video.video_id for video in reader.videos}
    wanted = {mistake.video_id: mistake for mistake in mistakes if mistake.video_id in stored}
    return {
        video_id: _strip(mistake_frames(reader, mistake, NUM_COLUMNS)[0], HEIGHT)
        for video_id, mistake in wanted.items()
    }


def sample_videos(
    frames: ShardReader,
    flow: ShardReader | None,
    *,
    split: str = "test",
    num_columns: int = NUM_COLUMNS,
    height: int = HEIGHT,
) -> list[Sample]:
    """Return for each class its first video of the split: `num_columns` frames, under each its flow in colour."""
    samples, seen = [], set()
    for video in frames.videos:
        new = set(video.labels) - seen
        if video.split != split or not new:
            continue
        seen |= new
        rows = np.linspace(0, max(video.num_rows - 2, 0), num_columns).round().astype(int).tolist()
        times = frames.read_encoded(video.video_id, rows).pts_seconds
        has_flow = flow is not None and any(one.video_id == video.video_id for one in flow.videos)
        readers = [frames, flow] if has_flow else [frames]
        strips = [_strip(pictures_at(reader, video.video_id, times)[0], height) for reader in readers]
        labels = ", ".join(frames.info.class_names[label] for label in video.labels)
        samples.append(Sample(f"{labels}: {video.video_id}", _stacked(strips)))
    return samples


def _stacked(strips: Sequence[np.ndarray]) -> np.ndarray:
    """Return strips under each other, the narrower with a margin: frames and flow may differ in shape."""
    width = max(strip.shape[1] for strip in strips)
    margins = [((0, 0), (0, width - strip.shape[1]), (0, 0)) for strip in strips]
    rows = [np.pad(strip, m, constant_values=255) for strip, m in zip(strips, margins, strict=True)]
    return _joined(rows, axis=0)


def _strip(images: Sequence[np.ndarray], height: int) -> np.ndarray:
    """Return images side by side at one height."""
    return _joined([resize_to_height(image, height) for image in images], axis=1)


def _joined(images: Sequence[np.ndarray], *, axis: int) -> np.ndarray:
    """Return images in a row along an axis, with white gaps between them."""
    shape = list(images[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([part for image in images for part in (gap, image)][1:], axis=axis)
