"""Any folder of videos with a CSV, `videos.csv` with the columns path, split, labels, or in folders that say as much.

    path,split,labels
    kitchen/a.mp4,train,cook
    street/b.mp4,test,run;jump

Labels are class names, several separated by `;`. `classes.txt`, one name a line, fixes their order; without it the
names that occur are taken in alphabetical order. A row without a label is refused unless other rows have several.
Paths are relative to the folder; blanks at the ends of one count where a file has such a name. Splits are train (or
training), val (or valid, validation, dev), test (or testing) and unused. Where there is no `videos.csv`, videos that
lie as `train/<class>/<name>`, `val/...` and `test/...` have split and class by their folders (`class_folders`).
"""

from __future__ import annotations

import os
from pathlib import Path

from tdn_data.pipeline.datasets.base import DatasetSpec, read_class_names, require_folder, split_of
from tdn_data.pipeline.datasets.class_folders import find_class_folders
from tdn_data.pipeline.datasets.listing import ListedVideo, Listing, known_and_unknown
from tdn_data.pipeline.datasets.manifest import video_id_of
from tdn_data.pipeline.datasets.media_files import listed_path
from tdn_data.pipeline.datasets.table_files import read_csv
from tdn_data.pipeline.errors import InputError

VIDEO_LIST = "videos.csv"
CLASS_LIST = "classes.txt"
COLUMNS = ("path", "split", "labels")


def read(root: Path, *, dataset: str = "folder") -> Listing:
    """Read `videos.csv` and, where it is there, `classes.txt` under `root`."""
    require_folder(root)
    source = root / VIDEO_LIST
    if not os.path.lexists(source):
        return _of_folders(root, dataset)
    rows = read_csv(source, COLUMNS, may_be_blank=("labels",), verbatim=("path",))
    named = [_label_names(row["labels"]) for _, row in rows]
    class_names = class_names_of(root / CLASS_LIST, {name for names in named for name in names})
    number_of = {name: number for number, name in enumerate(class_names)}
    videos = tuple(
        ListedVideo(
            video_id_of(path),
            path,
            split_of(row["split"], place=f"{source}, line {line}"),
            labels,
            source,
            line,
            unknown,
        )
        for (line, row), names in zip(rows, named, strict=True)
        for path in [listed_path(root, row["path"])]
        for labels, unknown in [known_and_unknown(names, number_of)]
    )
    multi_label = any(len(set(names)) > 1 for names in named)
    return Listing(dataset, root, class_names, multi_label, videos, str(root / CLASS_LIST))


def _of_folders(root: Path, dataset: str) -> Listing:
    """Return the videos that lie in class folders of split folders; raise InputError where there are none."""
    found = find_class_folders(root)
    if found is None:
        raise InputError(missing_list_words(root), path=root / VIDEO_LIST)
    names = class_names_of(root / CLASS_LIST, found.class_names())
    number_of = {name: number for number, name in enumerate(names)}
    videos = tuple(
        ListedVideo(video_id_of(one.path), one.path, one.split, labels, root / one.path, 0, unknown)
        for one in found.videos
        for labels, unknown in [known_and_unknown([one.class_name], number_of)]
    )
    return Listing(dataset, root, names, False, videos, str(root / CLASS_LIST), read_as=found.words())


def missing_list_words(root: Path) -> str:
    """Return what is to be said where `root` has no list: what a list needs, and how one is made of class folders."""
    return (
        f"{root / VIDEO_LIST} is missing. It is a CSV file whose first line is `{','.join(COLUMNS)}`: a video's path "
        f"under the folder, train, val or test, and its class (several with ; between); {CLASS_LIST} is optional. "
        "None is needed where videos lie as train/<class>/<video>, val/<class>/<video> and test/<class>/<video>. Where "
        "every video lies in a folder of its class, this makes one: "
        f"tdn-data index --dataset folder --root {root} --from-folders --val 0.1 --test 0.2 --out manifest.parquet"
    )


def _label_names(labels: str) -> list[str]:
    """Return the names between the semicolons; nothing between two of them is no name."""
    return [name.strip() for name in labels.split(";") if name.strip()]


def class_names_of(path: Path, occurring: set[str]) -> tuple[str, ...]:
    """Return the class list at `path` where there is one, else the `occurring` names in alphabetical order."""
    return read_class_names(path) if os.path.lexists(path) else tuple(sorted(occurring))


def read_demo(root: Path) -> Listing:
    """Read the folder that `tdn-data demo` rendered."""
    return read(root, dataset="demo")


SPEC = DatasetSpec(
    name="folder",
    title="your own videos: a folder and a CSV, or folders of splits and classes",
    source="yours",
    layout=f"ROOT/{VIDEO_LIST} (path,split,labels; the splits train, val, test), ROOT/{CLASS_LIST} (optional), "
    "the videos anywhere under ROOT; or without a CSV ROOT/train/<class>/<video>, ROOT/val/..., ROOT/test/...",
    read=read,
)

DEMO_SPEC = DatasetSpec(
    name="demo",
    title="the built-in data set: eight motions, rendered by `tdn-data demo`",
    source="rendered by `tdn-data demo`",
    layout=f"what `tdn-data demo --out ROOT` writes: ROOT/{VIDEO_LIST}, ROOT/{CLASS_LIST}, ROOT/videos/",
    read=read_demo,
    num_classes=8,
    size=(64, 64),
    mirror_pairs=(("move_left", "move_right"), ("turn_clockwise", "turn_counterclockwise")),
)
