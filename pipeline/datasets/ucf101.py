"""UCF101 (Soomro et al. 2012): 13,320 clips, 101 classes, three train/test splits.

Accuracy averaged over the three splits (dissertation, section 3.4.2; ActionFlowNet, table 4.1, reports split 1). Every
frame; the dissertation's pooling models take 6 or 30 frames a second instead (`--fps`). Classes are numbered from 1
and the lists end their lines with CR LF. A test list has no labels: a clip's class is its folder.
"""

from __future__ import annotations

from pathlib import Path

from tdn_data.pipeline.datasets.base import DatasetSpec, first_existing, numbered_rows, require_folder
from tdn_data.pipeline.datasets.listing import ListedVideo, Listing, known_and_unknown
from tdn_data.pipeline.datasets.manifest import video_id_of
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.paths import under

LIST_FOLDERS = ("ucfTrainTestlist", "lists")
VIDEO_FOLDERS = ("UCF-101", "videos")
CLASS_LIST = "classInd.txt"


def read(root: Path, *, list_split: int = 1) -> Listing:
    """Read `classInd.txt`, `trainlist0k.txt` and `testlist0k.txt` of split k = 1, 2 or 3 under `root`."""
    require_folder(root)
    lists = first_existing(root, LIST_FOLDERS)
    folder = first_existing(root, VIDEO_FOLDERS).name
    number_of = _read_classes(lists / CLASS_LIST)
    videos = []
    for split in ("train", "test"):
        source = lists / f"{split}list{list_split:02d}.txt"
        for line, path, given in _read_rows(source, labelled=split == "train"):
            labels, unknown = known_and_unknown([path.partition("/")[0]], number_of)
            if given is not None and labels and given - 1 != labels[0]:
                raise InputError(
                    f"{source}, line {line}: {path!r} has label {given}, but its folder is number {labels[0] + 1} in "
                    f"{lists / CLASS_LIST}.",
                    path=source,
                )
            videos.append(ListedVideo(video_id_of(path), under(folder, path), split, labels, source, line, unknown))
    return Listing("ucf101", root, tuple(number_of), False, tuple(videos), str(lists / CLASS_LIST))


def train_list_splits(root: Path) -> tuple[int, ...]:
    """Return the numbers of the splits that `root` has a training list of."""
    names = first_existing(root, LIST_FOLDERS).glob("trainlist0[1-3].txt")
    return tuple(sorted(int(path.stem[-2:]) for path in names))


def _read_classes(path: Path) -> dict[str, int]:
    """Return class name -> number from 0; the file's rows are a number from 1, in order, and a name."""
    classes: dict[str, int] = {}
    for line, text in numbered_rows(path):
        number, _, name = text.partition(" ")
        if number != str(len(classes) + 1) or not name.strip():
            raise InputError(
                f"{path}, line {line}: expected {len(classes) + 1} and a class name, found {text!r}.", path=path
            )
        classes[name.strip()] = len(classes)
    return classes


def _read_rows(path: Path, *, labelled: bool) -> list[tuple[int, str, int | None]]:
    """Return (line, path, label from 1 or None); raise InputError for a row of another form."""
    rows = []
    for number, line in numbered_rows(path):
        name, _, label = line.rpartition(" ") if labelled else (line, "", None)
        if "/" not in name or (labelled and not label.isdecimal()):
            expected = "<class>/<file> and a label from 1" if labelled else "<class>/<file>"
            raise InputError(f"{path}, line {number}: expected {expected}, found {line!r}.", path=path)
        rows.append((number, name.strip(), int(label) if labelled else None))
    return rows


SPEC = DatasetSpec(
    name="ucf101",
    title="UCF101: 13,320 clips, 101 classes, three splits (the first: 9,537 train and 3,783 test)",
    source="University of Central Florida, videos and splits 'for action recognition' on "
    "https://www.crcv.ucf.edu/data/UCF101.php",
    layout=f"ROOT/{LIST_FOLDERS[0]}/{{classInd,trainlist0<k>,testlist0<k>}}.txt, ROOT/UCF-101/<class>/<name>.avi",
    read=read,
    num_list_splits=3,
    find_list_splits=train_list_splits,
    num_classes=101,
    num_items=13_320,
    size=(256, 340),
)
