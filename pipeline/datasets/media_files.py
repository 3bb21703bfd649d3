"""The files under a data set's folder: which videos lie there, and which of them a listed name means."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

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
