"""List files in the form of TSN and mmaction2: one text file a split, one row a video.

    some/clip.mp4 3            videos:  path, label[s]
    some_folder 120 3          frames:  folder, number of frames, label[s]
    some_folder 7 120 3        frames with an offset: folder, first frame, number of frames, one label

A list's name says its split (`..._train_...`, `val`, `validation`, `test`; all words in `SPLIT_WORDS`) and, where there
are several, which of them (`split_2`, `split2`). Rows of frames with an offset and rows with two labels look alike; a
list with `offset` in its name is the former. So do rows of a video, a label and a number of frames and rows with two
labels: where every row of a list has two numbers, they are labels only if its name has `multi` in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from tdn_data.pipeline.datasets.base import (
    SPLIT_WORDS,
    DatasetSpec,
    numbered_rows,
    read_class_names,
    require_folder,
    split_of,
)
from tdn_data.pipeline.datasets.frame_folders import FrameFolder, FrameFolders
from tdn_data.pipeline.datasets.listing import ListedVideo, Listing
from tdn_data.pipeline.datasets.manifest import video_id_of
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.limits import MAX_CLASSES, MAX_DIGITS, MAX_LABELS_PER_VIDEO
from tdn_data.pipeline.paths import under

FOLDER = "annotations"
CLASS_LIST = "classes.txt"
SPLIT_WORD = re.compile(rf"(?<![a-z])({'|'.join(word for words in SPLIT_WORDS.values() for word in words)})(?![a-z])")
SPLIT_NUMBER = re.compile(r"split_?(\d+)")
ROW = re.compile(r"(?P<path>\S.*?)(?P<numbers>(?:\s+\d+)+)")
MULTI_LABEL = "multi"  # in the name of a list whose rows all have two labels


def read_video_lists(root: Path, *, list_split: int = 1) -> Listing:
    """Read the lists of videos in `ROOT/annotations`; paths are relative to `ROOT/videos`."""
    rows = []
    for source, split in _list_files(root, list_split):
        found = _read_rows(source)
        _refuse_counts(source, found)
        for line, path, numbers in found:
            if not PurePosixPath(path).suffix:
                raise InputError(
                    f"{source}, line {line}: {path!r} is no video file; lists of frame folders are `frame-lists`.",
                    path=source,
                )
            rows.append(ListedVideo(video_id_of(path), under("videos", path), split, numbers, source, line))
    class_names = _class_names(root, rows)
    multi_label = any(len(set(row.labels)) > 1 for row in rows)
    return Listing("lists", root, class_names, multi_label, tuple(rows), str(root / CLASS_LIST))


def read_frame_lists(root: Path, *, list_split: int = 1) -> FrameFolders:
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
                    under("frames", path),
                    split,
                    labels,
                    source,
                    line,
                    num_frames=counts[-1],
                    first_frame=first,
                )
            )
    class_names = _class_names(root, videos)
    multi_label = any(len(set(video.labels)) > 1 for video in videos)
    return FrameFolders("frame-lists", root, class_names, multi_label, tuple(videos), str(root / CLASS_LIST))


def numbered_list_splits(root: Path) -> tuple[int, ...]:
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
            yield path, split_of(word[1], place=str(path)), int(number[1]) if number else None


def _read_rows(path: Path) -> list[tuple[int, str, tuple[int, ...]]]:
    """Return (line, path, the integers behind it)."""
    rows = []
    for number, line in numbered_rows(path):
        match = ROW.fullmatch(line)
        if match is None:
            raise InputError(f"{path}, line {number}: expected a path and whole numbers, found {line!r}.", path=path)
        numbers = match["numbers"].split()
        if len(numbers) > MAX_LABELS_PER_VIDEO or max(map(len, numbers)) > MAX_DIGITS:
            limits = f"at most {MAX_LABELS_PER_VIDEO:,} numbers of at most {MAX_DIGITS} digits"
            raise InputError(f"{path}, line {number}: {limits} may follow a path.", path=path)
        rows.append((number, match["path"].replace("\\", "/"), tuple(map(int, numbers))))
    return rows


def _refuse_counts(path: Path, rows: list[tuple[int, str, tuple[int, ...]]]) -> None:
    """Raise InputError where the rows of a list of videos look like path, label and number of frames."""
    if MULTI_LABEL not in path.stem.lower() and all(len(numbers) == 2 for *_, numbers in rows):
        raise InputError(
            f"{path}, line {rows[0][0]}: every row has two numbers, as in lists of path, label and number of frames. "
            f"Leave the number of frames out; if they are two labels, put `{MULTI_LABEL}` into the list's name.",
            path=path,
        )


def _class_names(root: Path, rows: Sequence[ListedVideo]) -> tuple[str, ...]:
    """Return `classes.txt` where there is one, else `class_000` up to the highest label that occurs."""
    if os.path.lexists(root / CLASS_LIST):
        return read_class_names(root / CLASS_LIST)
    highest = max(rows, key=lambda row: max(row.labels))
    if max(highest.labels) >= MAX_CLASSES:
        raise InputError(
            f"{highest.place}: label {max(highest.labels):,} is above {MAX_CLASSES - 1:,}, the highest allowed; "
            "number the classes from 0.",
            path=highest.source,
        )
    return tuple(f"class_{number:03d}" for number in range(1 + max(highest.labels)))


VIDEO_SPEC = DatasetSpec(
    name="lists",
    title="TSN or mmaction2 lists of videos",
    source="yours, or the lists that those projects publish",
    layout=f"ROOT/{FOLDER}/*{{train,val,test}}*.txt (path label...), ROOT/{CLASS_LIST} (optional), ROOT/videos/<path>",
    read=read_video_lists,
    num_list_splits=None,
    find_list_splits=numbered_list_splits,
    size=(256, 340),
)

FRAME_SPEC = DatasetSpec(
    name="frame-lists",
    title="TSN or mmaction2 lists of frame folders",
    source="yours, or the lists that those projects publish",
    layout=f"ROOT/{FOLDER}/*{{train,val,test}}*.txt (folder frames label...), ROOT/frames/<folder>/*.jpg",
    read=read_frame_lists,
    kind="frame folders",
    used_by="Python: tdn_data.pipeline.datasets.frame_folders",
    num_list_splits=None,
    find_list_splits=numbered_list_splits,
    size=(256, 340),
)
