"""A list made of a folder of class folders, `ROOT/<class>/.../<video>`: `videos.csv` with a split.

A hash of its path puts each video at a place in [0, 1), and the place decides its split, so that the same folder gives
the same list everywhere and a video that is added moves no other:

    --val 0.1 --test 0.2       0  test  0.2  val  0.3            train             1

A class in which a split is left without a video lends it the one whose place is nearest (training first, then test,
then validation, as far as the class has videos): every class is learned, and tested where it has two videos. Only such
a stand-in may go back when videos are added.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tdn_data.pipeline.datasets.base import require_folder
from tdn_data.pipeline.datasets.class_folders import find_class_folders, split_folders
from tdn_data.pipeline.datasets.folder import COLUMNS, VIDEO_LIST
from tdn_data.pipeline.datasets.media_files import is_utf8, walk_files
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_output_file, write_text


def write_list(root: Path, *, val: float = 0.0, test: float = 0.0) -> Path:
    """Write `ROOT/videos.csv` with every video under `root`, its class being its folder; return its path.

    `val` and `test` are shares of each class in [0, 1); what is left is for training. Raises InputError, and writes
    nothing, where there is a list already, where no video lies in a class folder, for shares that leave nothing to
    train on, and for a class name that a list cannot hold.
    """
    require_folder(root)
    path = root / VIDEO_LIST
    if os.path.lexists(path):
        raise InputError(f"{path} is there already; leave --from-folders out to use it, or move it away.", path=path)
    if not (val >= 0 and test >= 0 and val + test < 1):
        raise InputError(f"val is {val:g} and test {test:g}; together they must be at least 0 and below 1.", key="val")
    splits = [name for name in split_folders(root) if find_class_folders(root)]
    if splits:
        words = f"{', '.join(splits)} under {root} say the split of their class folders' videos"
        raise InputError(f"{words}; leave --from-folders out, and they are read as they are.", path=root)
    classes = _videos_by_class(root)
    rows = [row for name, videos in classes.items() for row in _rows(name, videos, val=val, test=test)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *sorted(rows)])
    check_output_file(path)
    write_text(path, text.getvalue())
    return path


def _videos_by_class(root: Path) -> dict[str, list[str]]:
    """Return class -> paths of its videos, relative to `root`; the class is the first folder of a path."""
    classes: dict[str, list[str]] = {}
    for path in walk_files(root):
        folders = PurePosixPath(path).parts[:-1]
        if folders:
            classes.setdefault(folders[0], []).append(path)
    if not classes:
        raise InputError(
            f"{root} holds no video in a folder of its class; videos lie as ROOT/<class>/<name>.mp4.", path=root
        )
    for name, videos in classes.items():
        fault = next((path for path in videos if not is_utf8(path)), None)
        if fault is not None:
            raise InputError(f"the name of {fault!a} is not UTF-8; rename it.", path=root)
        if ";" in name or name != name.strip() or "\n" in name:
            raise InputError(
                f"the folder {name!r} cannot be the name of a class: it has `;`, a line break or blanks at an end.",
                path=root,
            )
    return classes


def _rows(name: str, videos: Sequence[str], *, val: float, test: float) -> list[tuple[str, str, str]]:
    """Return the rows of one class: path, split, class."""
    places = {path: _place(path) for path in videos}
    splits = {path: "test" if at < test else "val" if at < test + val else "train" for path, at in places.items()}
    wanted = [split for split, share in (("train", 1), ("test", test), ("val", val)) if share][: len(videos)]
    middles = {"test": test / 2, "val": test + val / 2, "train": (1 + test + val) / 2}
    for split in wanted:
        if split not in splits.values():
            counts = Counter(splits.values())
            spare = [path for path, own in splits.items() if counts[own] > 1 or own not in wanted]
            splits[min(spare, key=lambda path: (abs(places[path] - middles[split]), path))] = split
    return [(path, splits[path], name) for path in videos]


def _place(path: str) -> float:
    """Return where a path lies in [0, 1): the first 53 bits of a hash of it."""
    digest = hashlib.blake2b(path.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)
