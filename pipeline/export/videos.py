"""Formats for single videos: images, MP4, GIF, NumPy arrays, Middlebury .flo files.

Each function writes the source's videos one by one and yields after each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from PIL import Image

from tdn_data.pipeline.export.source import ExportSource
from tdn_data.pipeline.export.target import Target
from tdn_data.pipeline.flow import dequantize
from tdn_data.pipeline.flow.flo_files import write_flo
from tdn_data.pipeline.shards.schema import PREFIXES
from tdn_data.pipeline.video.write import write_video
from tdn_data.pipeline.view.inspect import pictures_at

SHORTEST_MS, ONLY_MS = 20, 1000  # of a picture in a GIF: browsers slow down what is shorter; of a picture alone


def write_images(source: ExportSource, target: Target) -> Iterator[None]:
    """Write NAME/img_00001.jpg, NAME/flow_x_00001.jpg, NAME/flow_y_00001.jpg, ...: the bytes that are stored."""
    for video in source.videos:
        for name, content in source.numbered_files(video.video_id):
            target.write(f"{source.names[video.video_id]}/{name}", content)
        yield


def write_arrays(source: ExportSource, target: Target) -> Iterator[None]:
    """Write NAME/frames.npy, uint8 (N, H, W, 3) RGB, NAME/flow.npy, float32 (N, H, W, 2) in pixels a step, and times.

    The times are NAME/frames_seconds.npy and NAME/flow_seconds.npy, float64 (N,).
    """
    for video in source.videos:
        for modality, reader in source.readers.items():
            if source.has(modality, video.video_id):
                stored = reader.read(video.video_id)
                data = stored.data if stored.bound is None else dequantize(stored.data, stored.bound)
                stem = f"{source.names[video.video_id]}/{PREFIXES[modality]}"
                for name, array in ((stem, data), (f"{stem}_seconds", stored.pts_seconds)):
                    with target.place(f"{name}.npy") as scratch, scratch.open("wb") as file:
                        np.save(SimpleNamespace(write=file.write), array)  # on a full disk it hides a file's own error
        yield


def write_flo_files(source: ExportSource, target: Target) -> Iterator[None]:
    """Write NAME/flow_00001.flo, ...: float32, pixels a step."""
    reader = source.readers["flow"]
    for video in source.videos:
        stored = reader.read_pictures(video.video_id)
        for number, levels in enumerate(stored.pictures, start=1):
            with target.place(f"{source.names[video.video_id]}/flow_{number:05d}.flo") as scratch:
                write_flo(scratch, dequantize(levels, stored.bound))
        yield


def write_movies(source: ExportSource, target: Target) -> Iterator[None]:
    """Write NAME.mp4: frames, flow as colour, or the two side by side; as fast as the median step between pictures."""
    for video in source.videos:
        with target.place(f"{source.names[video.video_id]}.mp4") as scratch:
            save_movie(source, video.video_id, scratch)
        yield


def write_gifs(source: ExportSource, target: Target) -> Iterator[None]:
    """Write NAME.gif, which shows what the MP4 does, each picture for its own time."""
    for video in source.videos:
        with target.place(f"{source.names[video.video_id]}.gif") as scratch:
            save_gif(source, video.video_id, scratch)
        yield


def save_movie(source: ExportSource, video_id: str, path: Path) -> None:
    """Write one video as `write_movies` does, to a path of its own."""
    pictures, seconds = _shown(source, video_id)
    fps = 1.0 if len(seconds) < 2 else 1 / float(np.median(np.diff(seconds)))
    write_video(path, pictures, fps=fps)


def save_gif(source: ExportSource, video_id: str, path: Path) -> None:
    """Write one video as `write_gifs` does, to a path of its own."""
    pictures, seconds = _shown(source, video_id)
    steps = np.diff(seconds) * 1000
    times = np.append(steps, np.median(steps) if len(steps) else ONLY_MS)
    first, *others = (Image.fromarray(picture) for picture in pictures)
    shown_ms = np.maximum(times.round(), SHORTEST_MS).astype(int).tolist()
    first.save(path, format="GIF", save_all=True, append_images=others, duration=shown_ms, loop=0)


def _shown(source: ExportSource, video_id: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures, uint8 (N, H, W, 3), and times (N,): frames, flow, or each frame beside the nearest flow."""
    readers = [reader for modality, reader in source.readers.items() if source.has(modality, video_id)]
    times = readers[0].times(video_id)
    columns = [pictures_at(reader, video_id, times)[0] for reader in readers]
    height = columns[0][0].shape[0]
    return np.stack(
        [np.concatenate([_at_height(one, height) for one in row], axis=1) for row in zip(*columns, strict=True)]
    ), times


def _at_height(picture: np.ndarray, height: int) -> np.ndarray:
    if picture.shape[0] == height:
        return picture
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
