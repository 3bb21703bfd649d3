"""Videos that were published as folders of numbered images: Something-Something v1 and TSN's lists of raw frames.

They have no timestamps and are no single file, so no manifest is made of them. `load_frames` reads them; for
`tdn-data extract` a folder becomes one file without loss when its JPEGs are wrapped as they are:

    ffmpeg -framerate 12 -i 100218/%05d.jpg -c:v copy videos/100218.mkv
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tdn_data.pipeline.datasets.listing import ListedVideo, Listing
from tdn_data.pipeline.datasets.media_files import IMAGE_SUFFIXES
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.images import read_image_file


@dataclass(frozen=True, slots=True)
class FrameFolder(ListedVideo):
    """One video as images: `path` is their folder, relative to the root.

    `num_frames` is None where the list does not say; `first_frame` is the first image that counts, in their order
    from 0.
    """

    num_frames: int | None = None
    first_frame: int = 0


@dataclass(frozen=True)
class FrameFolders(Listing):
    """A data set of frame folders, `videos` being `FrameFolder`s; `fps` is the rate they were taken at, if known."""

    fps: float | None = None


def frame_paths(folders: FrameFolders, video: FrameFolder) -> list[Path]:
    """Return the images of one video in order; raise InputError when there are none or fewer than its list says."""
    folder = folders.root / video.path
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    except (OSError, ValueError) as error:
        there = os.path.isdir(folder)
        what = "may not be read" if there else "is missing"
        raise InputError(f"{folder} {what}; it should hold the frames of {video.video_id}.", path=folder) from error
    end = None if video.num_frames is None else video.first_frame + video.num_frames
    chosen = paths[video.first_frame : end]
    if not chosen or (end is not None and len(paths) < end):
        wanted = "at least one" if end is None else f"{end}"
        raise InputError(f"{folder} holds {len(paths)} images; {wanted} expected.", path=folder)
    return chosen


def load_frames(
    folders: FrameFolders, video: FrameFolder, *, rows: Iterable[int] | None = None
) -> Iterator[np.ndarray]:
    """Yield the frames `rows` of one video (all for None), uint8 (H, W, 3) RGB; raise InputError for a broken one."""
    paths = frame_paths(folders, video)
    for path in paths if rows is None else [paths[row] for row in rows]:
        yield read_image_file(path)
