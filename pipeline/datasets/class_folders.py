"""A folder of class folders in folders of their splits, the layout of torchvision's ImageFolder and of the Hub.

    train/<class>/a.mp4, train/<class>/more/b.mp4
    val/<class>/c.mp4
    test/<class>/d.mp4

A split's folder has one of the words that a list may have for the split (`SPLIT_WORDS`), in small or capital letters.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tdn_data.pipeline.datasets.base import SPLIT_WORDS
from tdn_data.pipeline.datasets.manifest import UNUSED
from tdn_data.pipeline.datasets.media_files import is_utf8, walk_files
from tdn_data.pipeline.errors import InputError

_SPLIT_OF = {word: split for split, words in SPLIT_WORDS.items() if split != UNUSED for word in words}


@dataclass(frozen=True)
class PlacedVideo:
    """A video and what its folders say of it; `path` is relative to the data set's root."""

    path: str
    split: str
    class_name: str


@dataclass(frozen=True)
class ClassFolders:
    """The videos that lie in class folders, sorted by path, and how many lie elsewhere."""

    videos: tuple[PlacedVideo, ...]
    num_elsewhere: int

    def class_names(self) -> set[str]:
        """Return the names of the classes that occur."""
        return {video.class_name for video in self.videos}

    def words(self) -> str:
        """Return one sentence on which files were taken as what."""
        counts = Counter((video.split, PurePosixPath(video.path).parts[0]) for video in self.videos)
        order = sorted(counts, key=lambda one: (list(SPLIT_WORDS).index(one[0]), one[1]))
        taken = ", ".join(f"{counts[split, folder]:,} of {folder}/<class>/ for {split}" for split, folder in order)
        num_classes = len(self.class_names())
        kinds = "1 class" if num_classes == 1 else f"{num_classes:,} classes"
        others = f"; {self.num_elsewhere:,} elsewhere left out" if self.num_elsewhere else ""
        return f"the folders say split and class of each video: {taken}, {kinds}{others}."


def find_class_folders(root: Path) -> ClassFolders | None:
    """Return the videos in class folders of split folders under `root`; None where there is no such video.

    Raises InputError for a name that is not UTF-8: no list or shard can hold it.
    """
    if not split_folders(root):
        return None
    paths = list(walk_files(root))
    videos = tuple(_placed(path) for path in paths if _is_placed(path))
    fault = next((video.path for video in videos if not is_utf8(video.path)), None)
    if fault is not None:
        raise InputError(f"the name of {fault!a} is not UTF-8; rename it.", path=root)
    return ClassFolders(videos, len(paths) - len(videos)) if videos else None


def split_folders(root: Path) -> list[str]:
    """Return the folders of `root` that are called as a split is and that hold folders, sorted."""
    found = (path for path in root.iterdir() if path.name.lower() in _SPLIT_OF and path.is_dir())
    return sorted(path.name for path in found if any(inner.is_dir() for inner in path.iterdir()))


def _is_placed(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return len(parts) > 2 and parts[0].lower() in _SPLIT_OF


def _placed(path: str) -> PlacedVideo:
    folder, class_name, *_ = PurePosixPath(path).parts
    return PlacedVideo(path, _SPLIT_OF[folder.lower()], class_name)
