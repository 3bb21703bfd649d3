"""Kinetics-400 (Kay et al. 2017): ten-second web clips, 400 classes, one label each.

Wang et al., section 4.1: about 240,000 videos for training, results on the 20,000 of the validation list; top-1 and
top-5, ten clips with three crops each; videos have a shorter side of 256. Every frame, because a clip there is five
neighbouring frames. The lists are CSVs, `label,youtube_id,time_start,time_end,split,is_cc`; a row's file is
`<id>_<start>_<end>` with six digits each. Files are found by that name wherever they lie, because every downloader
makes its own folders. Videos vanish from the web: rows without a file stay in the manifest as `missing`. The test list
carries no labels and is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tdn_data.pipeline.datasets.base import DatasetSpec, first_existing, require_folder
from tdn_data.pipeline.datasets.folder import class_names_of
from tdn_data.pipeline.datasets.listing import ListedVideo, Listing, known_and_unknown
from tdn_data.pipeline.datasets.media_files import files_by_stem
from tdn_data.pipeline.datasets.table_files import read_csv
from tdn_data.pipeline.errors import InputError

LIST_NAMES = {
    "train": ("annotations/train.csv", "annotations/kinetics-400_train.csv", "annotations/kinetics_train.csv"),
    "val": (
        "annotations/val.csv",
        "annotations/validate.csv",  # in the archive of the lists alone
        "annotations/kinetics-400_val.csv",
        "annotations/kinetics_val.csv",
    ),
}
CLASS_LIST = "annotations/label_map_k400.txt"
COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def read(root: Path) -> Listing:
    """Read the training and validation lists under `root`; either may be absent, not both."""
    require_folder(root)
    names = [name for names in LIST_NAMES.values() for name in names]
    first_existing(root, names)
    sources = {split: first_existing(root, names) for split, names in LIST_NAMES.items() if _any_exists(root, names)}
    tables = {split: read_csv(source, COLUMNS) for split, source in sources.items()}
    occurring = {row["label"] for rows in tables.values() for _, row in rows}
    class_names = class_names_of(root / CLASS_LIST, occurring)
    number_of = {name: number for number, name in enumerate(class_names)}
    files = files_by_stem(root)
    videos = tuple(
        _listed(row, split, number_of, files, sources[split], line)
        for split, rows in tables.items()
        for line, row in rows
    )
    return Listing("kinetics400", root, class_names, False, videos, str(root / CLASS_LIST))


def _any_exists(root: Path, names: tuple[str, ...]) -> bool:
    return any((root / name).exists() for name in names)


def _listed(
    row: Mapping[str, str], split: str, number_of: Mapping[str, int], files: Mapping[str, str], source: Path, line: int
) -> ListedVideo:
    """Return one row with its file: where it was found, else where it is looked for first."""
    try:
        start, end = int(row["time_start"]), int(row["time_end"])
    except ValueError as error:
        times = f"{row['time_start']!r} and {row['time_end']!r}"
        raise InputError(f"{source}, line {line}: times are {times}; expected whole seconds.", path=source) from error
    stem = f"{row['youtube_id']}_{start:06d}_{end:06d}"
    path = files.get(stem, f"{split}/{row['label']}/{stem}.mp4")
    labels, unknown = known_and_unknown([row["label"]], number_of)
    return ListedVideo(stem, path, split, labels, source, line, unknown)


SPEC = DatasetSpec(
    name="kinetics400",
    title="Kinetics-400: about 240,000 training and 20,000 validation clips of 10 s, 400 classes",
    source="lists and copies of the videos: https://github.com/cvdfoundation/kinetics-dataset; lists also in "
    "https://github.com/activitynet/ActivityNet (Crawler/Kinetics)",
    layout=f"ROOT/annotations/{{train,val}}.csv, ROOT/{CLASS_LIST} (optional), "
    "<id>_<start>_<end>.mp4 anywhere under ROOT",
    read=read,
    metrics=("top1", "top5"),
    test_split="val",
    num_classes=400,
    size=None,
    short_side=256,
)
