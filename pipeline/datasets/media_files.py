"""The files under a data set's folder, and those that a person names: which videos they are."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_regular, shown_path

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".vob", ".webm", ".wmv",
})
# fmt: on
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def walk_files(root: Path, *, suffixes: Collection[str] = VIDEO_SUFFIXES) -> Iterator[str]:
    """Yield the files under `root` that end in one of `suffixes`, as paths relative to it with forward slashes.

    In sorted order. Links to folders are followed (a data set often lies on several disks), each folder once; hidden
    files and folders are left out.
    """
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes:
                yield Path(folder, name).relative_to(root).as_posix()


def listed_path(root: Path, path: str) -> str:
    """Return a listed path as it is written where `root` holds such a file, else without the blanks at its ends."""
    return path if os.path.lexists(root / path) else path.strip()


def files_by_stem(root: Path, *, suffixes: Collection[str] = VIDEO_SUFFIXES) -> dict[str, str]:
    """Return file name without extension -> path relative to `root`; the first in sorted order where two share it."""
    found: dict[str, str] = {}
    for path in walk_files(root, suffixes=suffixes):
        if is_utf8(path):  # no list or shard can hold another name
            found.setdefault(PurePosixPath(path).stem, path)
    return found


def is_utf8(path: str) -> bool:
    """Return whether a file's name is UTF-8, as every name in a list or shard must be."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def named_videos(words: Sequence[str]) -> dict[Path, str]:
    """Return path -> identifier for the videos that files, folders and patterns name, in order, each once.

    A video in a folder has its path there without the extension as its identifier, any other its name. Raises
    InputError for a word that names nothing: a file that is not there, a folder without a video, an idle pattern.
    """
    found: dict[Path, str] = {}
    for word in words:
        paths = [word] if os.path.lexists(word) else sorted(glob.glob(word, recursive=True))
        videos = [one for path in paths for one in _videos_at(Path(path))]
        if not videos:
            what = "holds no video" if os.path.isdir(word) else "is no file, no folder and no pattern that fits a file"
            raise InputError(f"{shown_path(word)} {what}.", path=word)
        for path, video_id in videos:
            found.setdefault(path, video_id)
    return found


def _videos_at(path: Path) -> list[tuple[Path, str]]:
    """Return a file, whatever it is called, or the videos of a folder, with their identifiers."""
    if path.is_dir():
        return [(path / name, str(PurePosixPath(name).with_suffix(""))) for name in walk_files(path)]
    return [(check_regular(path, what="video"), path.stem)]
