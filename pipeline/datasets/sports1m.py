"""Sports-1M (Karpathy et al. 2014): 1.1 million web videos, 487 classes; about 5 % have several labels.

Dissertation, section 3.4.1: the first five minutes at one frame a second, 300 frames, repeated from the start where a
video is shorter; 256 x 256; Hit@k of clips and of videos. Flow, section 3.3.4: 15 frames a second, a bound of 40.
A row of a partition is a YouTube address and the labels from 0, separated by commas; `labels.txt` names them.
"""

from __future__ import annotations

import re
from pathlib import Path

from tdn_data.pipeline.datasets.base import DatasetSpec, first_existing, numbered_rows, read_class_names, require_folder
from tdn_data.pipeline.datasets.listing import ListedVideo, Listing
from tdn_data.pipeline.datasets.media_files import files_by_stem
from tdn_data.pipeline.errors import InputError

LISTS = {
    split: (f"original/{split}_partition.txt", f"{split}_partition.txt", f"annotations/{split}_partition.txt")
    for split in ("train", "test")
}
CLASS_LISTS = ("labels.txt", "annotations/labels.txt")
ROW = re.compile(r"\S*(?:[?&]v=|youtu\.be/)([A-Za-z0-9_-]+)\S*\s+(\d+(?:,\d+)*)")


def read(root: Path) -> Listing:
    """Read both partitions and the class list under `root`; files are found by their YouTube identifier."""
    require_folder(root)
    class_list = first_existing(root, CLASS_LISTS)
    files = files_by_stem(root)
    videos = tuple(
        ListedVideo(video_id, files.get(video_id, f"videos/{video_id}.mp4"), split, labels, source, line)
        for split, names in LISTS.items()
        for source in [first_existing(root, names)]
        for line, video_id, labels in _read_rows(source)
    )
    return Listing("sports1m", root, read_class_names(class_list), True, videos, str(class_list))


def _read_rows(path: Path) -> list[tuple[int, str, tuple[int, ...]]]:
    rows = []
    for number, line in numbered_rows(path):
        match = ROW.fullmatch(line)
        if match is None:
            raise InputError(
                f"{path}, line {number}: expected a YouTube address and labels such as 168,169, found {line!r}.",
                path=path,
            )
        rows.append((number, match[1], tuple(int(label) for label in match[2].split(","))))
    return rows


SPEC = DatasetSpec(
    name="sports1m",
    title="Sports-1M: 1,133,158 web videos, 487 classes, some with several labels",
    source="lists from https://github.com/gtoderici/sports-1m-dataset; the videos lie on YouTube",
    layout="ROOT/labels.txt, ROOT/original/{train,test}_partition.txt (unpacked), <YouTube id>.mp4 anywhere under ROOT",
    read=read,
    metrics=("hit1", "hit5"),
    num_classes=487,
    num_items=1_133_158,
    frame_fps=1.0,
    max_seconds=300.0,
    repeat_to=300,
    flow_fps=15.0,
    flow_bound=40.0,
)
