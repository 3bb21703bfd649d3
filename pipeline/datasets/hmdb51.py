"""HMDB51 (Kuehne et al. 2011): 6,766 clips, mostly from films, 51 classes, three train/test splits.

Ng & Davis, section 4.1: accuracy averaged over the three splits; every frame, two snippets a video (section 4.2). Each
split has one file a class, `<class>_test_split<k>.txt`, with rows of a file name and 1 (train, 70 a class), 2 (test,
30 a class) or 0 (not used in this split). Frames are stored 340 x 256, the size that TSN's crops are cut from.
"""

from __future__ import annotations

import re
from pathlib import Path

from tdn_data.pipeline.datasets.base import DatasetSpec, first_existing, numbered_rows, require_folder
from tdn_data.pipeline.datasets.listing import ListedVideo, Listing
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.paths import under

LIST_FOLDERS = ("testTrainMulti_7030_splits", "splits")
VIDEO_FOLDERS = ("videos", "hmdb51_org")
CLASS_FILE = re.compile(r"(.+)_test_split([1-3])\.txt")
SPLIT_OF_MARK = {"1": "train", "2": "test", "0": None}


def read(root: Path, *, list_split: int = 1) -> Listing:
    """Read the class files of split 1, 2 or 3 under `root`; classes are in alphabetical order."""
    require_folder(root)
    lists = first_existing(root, LIST_FOLDERS)
    class_files = _class_files(lists, list_split)
    folder = first_existing(root, VIDEO_FOLDERS).name
    videos: list[ListedVideo] = []
    left_out: set[str] = set()
    for label, (name, path) in enumerate(class_files.items()):
        for line, file_name, split in _read_rows(path):
            video_path = under(f"{folder}/{name}", file_name)
            if split is None:
                left_out.add(video_path)
            else:
                video_id = f"{name}/{Path(file_name).stem}"
                videos.append(ListedVideo(video_id, video_path, split, (label,), path, line))
    names = tuple(class_files)
    return Listing("hmdb51", root, names, False, tuple(videos), str(lists), frozenset(left_out))


def class_file_splits(root: Path) -> tuple[int, ...]:
    """Return the numbers of the splits that `root` has class files of."""
    return tuple(sorted({number for _, number in _all_class_files(first_existing(root, LIST_FOLDERS))}))


def _class_files(folder: Path, list_split: int) -> dict[str, Path]:
    """Return class -> its file for this split, in alphabetical order; every class must have one."""
    found = _all_class_files(folder)
    if not any(number == list_split for _, number in found):
        raise InputError(f"{folder} holds no file <class>_test_split{list_split}.txt.", path=folder)
    names = sorted({name for name, _ in found})
    absent = [name for name in names if (name, list_split) not in found]
    if absent:
        raise InputError(
            f"{folder} holds no {absent[0]}_test_split{list_split}.txt; other splits have that class.", path=folder
        )
    return {name: found[name, list_split] for name in names}


def _all_class_files(folder: Path) -> dict[tuple[str, int], Path]:
    """Return (class, number of the split) -> its file."""
    matches = ((CLASS_FILE.fullmatch(path.name), path) for path in folder.iterdir())
    return {(match[1], int(match[2])): path for match, path in matches if match}


def _read_rows(path: Path) -> list[tuple[int, str, str | None]]:
    rows = []
    for number, line in numbered_rows(path):
        name, _, mark = line.rpartition(" ")
        if mark not in SPLIT_OF_MARK or not name.strip():
            raise InputError(
                f"{path}, line {number}: expected a file name and 1 (train), 2 (test) or 0 (unused), found {line!r}.",
                path=path,
            )
        rows.append((number, name.strip(), SPLIT_OF_MARK[mark]))
    return rows


SPEC = DatasetSpec(
    name="hmdb51",
    title="HMDB51: 6,766 film clips, 51 classes, three splits of 3,570 train and 1,530 test",
    source="Serre lab, Brown University, 'HMDB51' and 'Three splits' on "
    "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/",
    layout=f"ROOT/{LIST_FOLDERS[0]}/<class>_test_split<1..3>.txt, ROOT/videos/<class>/<name>.avi",
    read=read,
    num_list_splits=3,
    find_list_splits=class_file_splits,
    num_classes=51,
    num_items=5_100,
    size=(256, 340),
)
