"""FCVID (Jiang et al. 2015): 91,223 web videos, 239 categories, several labels a video, mean average precision.

Ng & Davis, section 4.1: one frame every three seconds, resized to 256 x 256; the official train and test split.
Flow, which they left out on this set for its cost, follows the dissertation's section 3.3.4: 15 frames a second and
a bound of 40.
"""

from __future__ import annotations

import os
from pathlib import Path

from tdn_data.pipeline.datasets.base import DatasetSpec, numbered_rows, read_class_names, require_folder
from tdn_data.pipeline.datasets.listing import ListedVideo, Listing
from tdn_data.pipeline.datasets.manifest import video_id_of
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.paths import under

SPLIT_LIST = "materials/FCVID_VideoName_TrainTestSplit.txt"
LABEL_MATRIX = "materials/FCVID_Label.txt"
CLASS_NAMES = "materials/FCVID_ClassName.txt"
NUM_CLASSES = 239


def read(root: Path) -> Listing:
    """Read the split list and the row-aligned label matrix under `root`; video paths are relative to `root`."""
    require_folder(root)
    listed = _read_split_list(root / SPLIT_LIST)
    labels = _read_label_matrix(root / LABEL_MATRIX)
    if len(listed) != len(labels):
        raise InputError(
            f"{root / SPLIT_LIST} has {len(listed)} rows and {root / LABEL_MATRIX} has {len(labels)}; "
            "the two files must be row-aligned.",
            path=root / LABEL_MATRIX,
        )
    videos = tuple(
        ListedVideo(video_id_of(path), under("videos", path), split, row, root / SPLIT_LIST, line)
        for (line, path, split), row in zip(listed, labels, strict=True)
    )
    return Listing("fcvid", root, _class_names(root), True, videos, f"FCVID's {NUM_CLASSES} columns")


def _read_split_list(path: Path) -> list[tuple[int, str, str]]:
    """Return (line, path, split) rows; a path can hold spaces, so a row is split at its last white space."""
    rows = []
    for number, line in numbered_rows(path):
        name, _, split = line.replace("\t", " ").rpartition(" ")
        if split not in ("train", "test") or not name.strip():
            raise InputError(f"{path}, line {number}: expected a path and train or test, found {line!r}.", path=path)
        rows.append((number, name.strip(), split))
    return rows


def _read_label_matrix(path: Path) -> list[tuple[int, ...]]:
    """Return for each row the columns that hold 1; a row has 239 columns of 0 and 1."""
    rows = []
    for number, line in numbered_rows(path):
        columns = line.split()
        if len(columns) != NUM_CLASSES or not set(columns) <= {"0", "1"}:
            raise InputError(
                f"{path}, line {number}: expected {NUM_CLASSES} columns of 0 or 1, found {len(columns)} columns.",
                path=path,
            )
        rows.append(tuple(index for index, value in enumerate(columns) if value == "1"))
    return rows


def _class_names(root: Path) -> tuple[str, ...]:
    """Return the class names where their list lies beside the others, else `class_000` to `class_238`."""
    path = root / CLASS_NAMES
    if not os.path.lexists(path):
        return tuple(f"class_{index:03d}" for index in range(NUM_CLASSES))
    names = read_class_names(path)
    if len(names) != NUM_CLASSES:
        raise InputError(f"{path} has {len(names)} names; FCVID has {NUM_CLASSES} classes.", path=path)
    return names


SPEC = DatasetSpec(
    name="fcvid",
    title="Fudan-Columbia Video Dataset: 91,223 web videos, 239 classes, several labels a video",
    source="on request from its authors, Fudan University: https://fvl.fudan.edu.cn/dataset/fcvid/list.htm",
    layout=f"ROOT/{SPLIT_LIST}, ROOT/{LABEL_MATRIX}, ROOT/videos/<class>/<id>.mp4",
    read=read,
    metrics=("mAP",),
    num_classes=NUM_CLASSES,
    num_items=91_223,
    frame_every_seconds=3.0,
    flow_fps=15.0,
    flow_bound=40.0,
)
