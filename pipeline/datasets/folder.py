"""Any folder of videos with a CSV: `videos.csv` with the columns path, split, labels.

    path,split,labels
    kitchen/a.mp4,train,cook
    street/b.mp4,test,run;jump

Labels are class names, several separated by `;`. `classes.txt`, one name a line, fixes their order; without it the
names that occur are taken in alphabetical order. Paths are relative to the folder.
"""

from __future__ import annotations

import csv
from pathlib import Path

from pipeline.datasets.base import DatasetSpec, read_lines, require_folder
from pipeline.errors import InputError
from pipeline.manifest import Manifest, VideoRecord, check_records, video_id_of

VIDEO_LIST = "videos.csv"
CLASS_LIST = "classes.txt"
COLUMNS = ("path", "split", "labels")


def read(root: Path, *, dataset: str = "folder") -> Manifest:
    """Read `videos.csv` and, where it is there, `classes.txt` under `root`."""
    require_folder(root)
    rows = _read_rows(root / VIDEO_LIST)
    class_names = _class_names(root, rows)
    number_of = {name: index for index, name in enumerate(class_names)}
    records = []
    for line, row in rows:
        unknown = [name for name in _label_names(row) if name not in number_of]
        if unknown:
            raise InputError(
                f"{root / VIDEO_LIST}, line {line}: label {unknown[0]!r} is not in {root / CLASS_LIST} "
                f"({len(class_names)} classes).",
                path=root / VIDEO_LIST,
            )
        labels = tuple(number_of[name] for name in _label_names(row))
        records.append(VideoRecord(video_id_of(row["path"]), row["path"], row["split"], labels))
    check_records(records, len(class_names), source=root / VIDEO_LIST)
    multi_label = any(len(record.labels) != 1 for record in records)
    return Manifest(dataset, str(root), class_names, multi_label, tuple(records))


def read_demo(root: Path) -> Manifest:
    """Read the folder that `tdn-data demo` rendered."""
    return read(root, dataset="demo")


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return (line number, row) for each row; raise InputError for missing columns or an incomplete row."""
    reader = csv.DictReader(read_lines(path))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}; its first line must name the columns {', '.join(COLUMNS)}.",
            path=path,
        )
    rows = [(reader.line_num, row) for row in reader]
    for line, row in rows:
        empty = [name for name in COLUMNS[:2] if not (row[name] or "").strip()]
        if empty or row["labels"] is None:
            raise InputError(f"{path}, line {line}: no {(empty or ['labels'])[0]}.", path=path)
    return rows


def _label_names(row: dict[str, str]) -> list[str]:
    return [name.strip() for name in row["labels"].split(";") if name.strip()]


def _class_names(root: Path, rows: list[tuple[int, dict[str, str]]]) -> tuple[str, ...]:
    path = root / CLASS_LIST
    if not path.exists():
        return tuple(sorted({name for _, row in rows for name in _label_names(row)}))
    names = [line.strip() for line in read_lines(path) if line.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path} names the class {twice[0]!r} twice.", path=path)
    return tuple(names)


SPEC = DatasetSpec(
    name="folder",
    title="your own videos: a folder and a CSV",
    layout=f"ROOT/{VIDEO_LIST} (path,split,labels), ROOT/{CLASS_LIST} (optional), the videos anywhere under ROOT",
    read=read,
)

DEMO_SPEC = DatasetSpec(
    name="demo",
    title="the built-in data set: eight motions, rendered by `tdn-data demo`",
    layout=f"what `tdn-data demo --out ROOT` writes: ROOT/{VIDEO_LIST}, ROOT/{CLASS_LIST}, ROOT/videos/",
    read=read_demo,
    size=(64, 64),
)
