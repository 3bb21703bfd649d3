"""What every data set module gives: its official files as a manifest, and the sampling its paper used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.manifest import Manifest


@dataclass(frozen=True)
class DatasetSpec:
    """One public data set: how to read its lists, and the defaults that its paper fixes.

    `frame_every_seconds` and `frame_fps` are None where every frame is taken; `flow_fps` None is the native rate.
    `size` is (height, width); None keeps the video's own.
    """

    name: str
    title: str
    layout: str
    read: Callable[[Path], Manifest]
    metric: str = "top1"
    frame_every_seconds: float | None = None
    frame_fps: float | None = None
    flow_fps: float | None = None
    flow_bound: float = 20.0
    size: tuple[int, int] | None = (256, 256)


def read_lines(path: Path) -> list[str]:
    """Return the lines of an annotation file, without line ends; raise InputError when missing, empty or no text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing; the folder must hold the data set's own annotation files.", path=path
        ) from error
    except (UnicodeDecodeError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text ({error}).", path=path) from error
    lines = text.splitlines()
    if not any(line.strip() for line in lines):
        raise InputError(f"{path} is empty; it needs one row per video.", path=path)
    return lines


def require_folder(root: Path) -> None:
    """Raise InputError unless `root` is a folder."""
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"{root} {what}; --root must be the folder that holds the data set.", path=root)
