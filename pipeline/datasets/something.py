"""Something-Something (Goyal et al. 2017), versions 1 and 2: short acts with objects, 174 classes, one label each.

Wang et al., section 4.1: results on the validation list, top-1 and top-5 of one centre crop, from videos whose shorter
side is 256. Version 1 comes as folders of JPEGs at 12 frames a second with lists of `id;label`; version 2 as WebM files
with JSON lists, whose label map is keyed by the template without its brackets. The test lists carry no labels and are
not read.

A mirrored video shows another class where the class names a direction; `MIRROR_PAIRS` are those, the same in both
versions (in version 2: 86 and 87, 93 and 94, 166 and 167, counted from 0).
"""

from __future__ import annotations

import re
from pathlib import Path

from tdn_data.pipeline.datasets.base import DatasetSpec, first_existing, numbered_rows, read_class_names, require_folder
from tdn_data.pipeline.datasets.frame_folders import FrameFolder, FrameFolders
from tdn_data.pipeline.datasets.listing import ListedVideo, Listing, known_and_unknown
from tdn_data.pipeline.datasets.media_files import files_by_stem
from tdn_data.pipeline.datasets.table_files import read_json_list, read_json_table
from tdn_data.pipeline.errors import InputError

V1, V2 = "something-something-v1", "something-something-v2"
V1_LABELS = (f"{V1}-labels.csv", "labels.csv")
V1_FOLDERS = ("20bn-something-something-v1", "frames")
V1_FPS = 12.0
V2_LABELS = (f"{V2}-labels.json", "labels/labels.json", "labels.json", "sthv2_label_map.txt")
V2_LISTS = {
    "train": (f"{V2}-train.json", "labels/train.json", "train.json"),
    "val": (f"{V2}-validation.json", "labels/validation.json", "validation.json"),
}
MIRROR_PAIRS = (
    ("Pulling something from left to right", "Pulling something from right to left"),
    ("Pushing something from left to right", "Pushing something from right to left"),
    ("Turning the camera left while filming something", "Turning the camera right while filming something"),
)


def read_v1(root: Path) -> FrameFolders:
    """Read the training and validation lists of version 1; the videos are folders of images."""
    require_folder(root)
    folder = first_existing(root, V1_FOLDERS).name
    class_list, rows = _v1_rows(root)
    number_of = {name: number for number, name in enumerate(class_list)}
    videos = tuple(
        FrameFolder(video_id, f"{folder}/{video_id}", split, labels, source, line, unknown)
        for source, line, split, video_id, name in rows
        for labels, unknown in [known_and_unknown([name], number_of)]
    )
    return FrameFolders(
        "something-v1", root, class_list, False, videos, str(first_existing(root, V1_LABELS)), fps=V1_FPS
    )


def read_v1_packed(root: Path) -> Listing:
    """Read version 1 whose folders were wrapped into one video file each, `<id>.mkv` or another container."""
    require_folder(root)
    class_list, rows = _v1_rows(root)
    number_of = {name: number for number, name in enumerate(class_list)}
    files = files_by_stem(root)
    videos = tuple(
        ListedVideo(video_id, files.get(video_id, f"videos/{video_id}.mkv"), split, labels, source, line, unknown)
        for source, line, split, video_id, name in rows
        for labels, unknown in [known_and_unknown([name], number_of)]
    )
    return Listing("something-v1-packed", root, class_list, False, videos, str(first_existing(root, V1_LABELS)))


def read_v2(root: Path) -> Listing:
    """Read the training and validation lists of version 2 and its label map under `root`."""
    require_folder(root)
    class_list = first_existing(root, V2_LABELS)
    class_names = _v2_class_names(class_list)
    number_of = {name: number for number, name in enumerate(class_names)}
    files = files_by_stem(root)
    videos = []
    for split, names in V2_LISTS.items():
        source = first_existing(root, names)
        for line, record in read_json_list(source, ("id", "template")):
            video_id = str(record["id"])
            template = re.sub(r"[\[\]]", "", str(record["template"]))
            labels, unknown = known_and_unknown([template], number_of)
            path = files.get(video_id, f"20bn-{V2}/{video_id}.webm")
            videos.append(ListedVideo(video_id, path, split, labels, source, line, unknown))
    return Listing("something-v2", root, class_names, False, tuple(videos), str(class_list))


def _v1_rows(root: Path) -> tuple[tuple[str, ...], list[tuple[Path, int, str, str, str]]]:
    """Return the class list, and (list, line, split, id, label) for each row of both lists."""
    rows = []
    for split, word in (("train", "train"), ("val", "validation")):
        source = first_existing(root, (f"{V1}-{word}.csv", f"{word}.csv"))
        for line, text in numbered_rows(source):
            video_id, _, name = text.partition(";")
            if not re.fullmatch(r"[\w-]+", video_id.strip()) or not name.strip():
                raise InputError(f"{source}, line {line}: expected id;label, found {text!r}.", path=source)
            rows.append((source, line, split, video_id.strip(), name.strip()))
    return read_class_names(first_existing(root, V1_LABELS)), rows


def _v2_class_names(path: Path) -> tuple[str, ...]:
    """Return the class names in order: from a JSON map of name -> number, or from a list with one name a line."""
    if path.suffix != ".json":
        return read_class_names(path)
    table = {name: str(number) for name, number in read_json_table(path).items()}
    names = sorted(table, key=lambda name: int(table[name]) if table[name].isdecimal() else -1)
    if [table[name] for name in names] != [str(number) for number in range(len(names))]:
        raise InputError(f"{path}: the classes must be numbered 0 to {len(names) - 1}, each once.", path=path)
    return tuple(names)


_COMMON = {
    "metrics": ("top1", "top5"),
    "test_split": "val",
    "num_classes": 174,
    "size": None,
    "short_side": 256,
    "mirror_pairs": MIRROR_PAIRS,
}
_SOURCE = "Qualcomm's developer site, page 'Something-Something' (20BN's until 2021)"
_V1_LISTS = f"ROOT/{V1}-{{labels,train,validation}}.csv"

V1_SPEC = DatasetSpec(
    name="something-v1",
    title="Something-Something v1: 108,499 frame folders at 12 per second, 174 classes",
    source=_SOURCE,
    layout=f"{_V1_LISTS}, ROOT/{V1_FOLDERS[0]}/<id>/00001.jpg",
    read=read_v1,
    kind="frame folders",
    used_by="Python: tdn_data.pipeline.datasets.frame_folders (wrapped into videos: something-v1-packed)",
    **_COMMON,
)

V1_PACKED_SPEC = DatasetSpec(
    name="something-v1-packed",
    title="Something-Something v1, each folder wrapped into one video (see docs/DATASETS.md)",
    source=_SOURCE,
    layout=f"{_V1_LISTS}, <id>.mkv anywhere under ROOT",
    read=read_v1_packed,
    **_COMMON,
)

V2_SPEC = DatasetSpec(
    name="something-v2",
    title="Something-Something v2: 168,913 training and 24,777 validation videos, 174 classes",
    source=_SOURCE,
    layout=f"ROOT/{V2}-{{labels,train,validation}}.json, <id>.webm anywhere under ROOT",
    read=read_v2,
    num_items=193_690,
    **_COMMON,
)
