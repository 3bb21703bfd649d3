"""List files in the form of TSN and mmaction2: one text file a split, one row a video.

    some/clip.mp4 3            videos:  path, label[s]
    some_folder 120 3          frames:  folder, number of frames, label[s]
    some_folder 7 120 3        frames with an offset: folder, first frame, number of frames, one label

A list's name says its split (`..._train_...`, `val`, `validation`, `test`) and, where there are several, which of them
(`split_2`, `split2`). Rows of frames with an offset and rows with two labels look alike; a list with `offset` in its
name is the former.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.datasets.base import DatasetSpec, numbered_rows, read_class_names, require_folder
from pipeline.datasets.frame_folders import FrameFolder, FrameFolders
from pipeline.datasets.listing import ListedVideo, Listing
from pipeline.errors import InputError
from pipeline.manifest import video_id_of

FOLDER = "annotations"
CLASS_LIST = "classes.txt"
SPLIT_WORD = re.compile(r"(?<![a-z])(train|validation|val|test)(?![a-z])")
SPLIT_NUMBER = re.compile(r"split_?(\d+)")
ROW = re.compile(r"(?P<path>\S.*?)(?P<numbers>(?:\s+\d+)+)")


def read_videos(root: Path, *, list_split: int = 1) -> Listing:
    """Read the lists of videos in `ROOT/annotations`; paths are relative to `ROOT/videos`."""
    rows = []
    for source, split in _list_files(root, list_split):
        for line, path, numbers in _read_rows(source):
            if not PurePosixPath(path).suffix:
                raise InputError(
                    f"{source}, line {line}: {path!r} is no video file; lists of frame folders are `frame-lists`.",
                    path=source,
                )
            rows.append(ListedVideo(video_id_of(path), f"videos/{path}", split, numbers, source, line))
    class_names = _class_names(root, [row.labels for row in rows])
    multi_label = any(len(row.labels) != 1 for row in rows)
    return Listing("lists", root, class_names, multi_label, tuple(rows), str(root / CLASS_LIST))


def read_frames(root: Path, *, list_split: int = 1) -> FrameFolders:
    """Read the lists of frame folders in `ROOT/annotations`; folders are relative to `ROOT/frames`.

    A folder may come several times, as several segments: its identifier then ends in `@<first frame>`.
    """
    videos = []
    for source, split in _list_files(root, list_split):
        num_counts = 2 if "offset" in source.stem else 1
        for line, path, numbers in _read_rows(source):
            *counts, labels = *numbers[:num_counts], numbers[num_counts:]
            if not labels or counts[-1] < 1:
                counts_expected = "first frame, number of frames" if num_counts == 2 else "number of frames"
                raise InputError(f"{source}, line {line}: expected folder, {counts_expected}, label.", path=source)
            first = counts[0] if num_counts == 2 else 0
            video_id = f"{path}@{first}" if first else path
            videos.append(
                FrameFolder(
                    video_id,
                    f"frames/{path}",
                    split,
                    labels,
                    source,
                    line,
                    num_frames=counts[-1],
                    first_frame=first,
                )
            )
    class_names = _class_names(root, [video.labels for video in videos])
    multi_label = any(len(video.labels) != 1 for video in videos)
    return FrameFolders("frame-lists", root, class_names, multi_label, tuple(videos), str(root / CLASS_LIST))


def find_list_splits(root: Path) -> tuple[int, ...]:
    """Return the numbers that the lists in `ROOT/annotations` have in their names; 1 where none has a number."""
    numbers = {number for _, _, number in _named_lists(root)} - {None}
    return tuple(sorted(numbers)) or (1,)


def _list_files(root: Path, list_split: int) -> Iterator[tuple[Path, str]]:
    """Yield (list, split) for each text file whose name says a split; of numbered ones, those of `list_split`."""
    found = False
    for path, split, number in _named_lists(root):
        if number in (None, list_split):
            found = True
            yield path, split
    if not found:
        raise InputError(
            f"{root / FOLDER} holds no list of split {list_split}; its .txt files must have train, val or test in "
            "their names.",
            path=root / FOLDER,
        )


def _named_lists(root: Path) -> Iterator[tuple[Path, str, int | None]]:
    """Yield (list, split, number or None) for each text file whose name says a split."""
    require_folder(root)
    require_folder(root / FOLDER)
    for path in sorted((root / FOLDER).glob("*.txt")):
        word, number = SPLIT_WORD.search(path.stem.lower()), SPLIT_NUMBER.search(path.stem.lower())
        if word is not None:
            yield path, "val" if word[1] == "validation" else word[1], int(number[1]) if number else None


def _read_rows(path: Path) -> list[tuple[int, str, tuple[int, ...]]]:
    """Return (line, path, the integers behind it)."""
    rows = []
    for number, line in numbered_rows(path):
        match = ROW.fullmatch(line)
        if match is None:
            raise InputError(f"{path}, line {number}: expected a path and whole numbers, found {line!r}.", path=path)
        rows.append((number, match["path"].replace("\\", "/"), tuple(map(int, match["numbers"].split()))))
    return rows


def _class_names(root: Path, labels: list[tuple[int, ...]]) -> tuple[str, ...]:
    """Return `classes.txt` where there is one, else `class_000` up to the highest label that occurs."""
    if (root / CLASS_LIST).exists():
        return read_class_names(root / CLASS_LIST)
    return tuple(f"class_{number:03d}" for number in range(1 + max(label for row in labels for label in row)))


VIDEO_SPEC = DatasetSpec(
    name="lists",
    title="TSN or mmaction2 lists of videos",
    source="yours, or the lists that those projects publish",
    layout=f"ROOT/{FOLDER}/*{{train,val,test}}*.txt (path label...), ROOT/{CLASS_LIST} (optional), ROOT/videos/<path>",
    read=read_videos,
    num_list_splits=None,
    find_list_splits=find_list_splits,
    size=(256, 340),
)

FRAME_SPEC = DatasetSpec(
    name="frame-lists",
    title="TSN or mmaction2 lists of frame folders",
    source="yours, or the lists that those projects publish",
    layout=f"ROOT/{FOLDER}/*{{train,val,test}}*.txt (folder frames label...), ROOT/frames/<folder>/*.jpg",
    read=read_frames,
    kind="frame folders",
    used_by="Python: pipeline.datasets.frame_folders",
    num_list_splits=None,
    find_list_splits=find_list_splits,
    size=(256, 340),
)
