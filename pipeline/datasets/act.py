"""ACT (Wang, Farhadi & Gupta, "Actions ~ Transformations", 2016): 11,234 clips, 43 classes in 16 super-classes.

Ng & Davis, section 4.1: its first task, plain classification, on its authors' 7,260 training and 3,974 test videos;
three snippets a video, every frame. The form of the authors' own label files is not public knowledge, so this reader
takes their content as a table:

    path,split,class
    bowling/0001.mp4,train,bowling
    bowling/0002.mp4,test,bowling

Further columns are ignored. `classes.txt`, one name a line, fixes the order of the classes; without it they are in
alphabetical order.
"""

from __future__ import annotations

from pathlib import Path

from tdn_data.pipeline.datasets.base import DatasetSpec, require_folder, split_of
from tdn_data.pipeline.datasets.folder import class_names_of
from tdn_data.pipeline.datasets.listing import ListedVideo, Listing, known_and_unknown
from tdn_data.pipeline.datasets.manifest import video_id_of
from tdn_data.pipeline.datasets.media_files import listed_path
from tdn_data.pipeline.datasets.table_files import read_csv
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.paths import under

VIDEO_LIST = "act.csv"
CLASS_LIST = "classes.txt"


def read(root: Path) -> Listing:
    """Read `act.csv` and, where it is there, `classes.txt` under `root`."""
    require_folder(root)
    source = root / VIDEO_LIST
    rows = read_csv(source, ("path", "split", "class"), verbatim=("path",))
    class_names = class_names_of(root / CLASS_LIST, {row["class"] for _, row in rows})
    number_of = {name: number for number, name in enumerate(class_names)}
    videos = []
    for line, row in rows:
        split = split_of(row["split"], place=f"{source}, line {line}")
        if split not in ("train", "test"):
            raise InputError(f"{source}, line {line}: split {row['split']!r}; expected train or test.", path=source)
        labels, unknown = known_and_unknown([row["class"]], number_of)
        path = listed_path(root / "videos", row["path"])
        videos.append(ListedVideo(video_id_of(path), under("videos", path), split, labels, source, line, unknown))
    return Listing("act", root, class_names, False, tuple(videos), str(root / CLASS_LIST))


SPEC = DatasetSpec(
    name="act",
    title="ACT: 11,234 web clips, 43 classes in 16 super-classes, 7,260 train and 3,974 test",
    source="its authors, 'Videos' and 'Labels' on https://xiaolonw.github.io/actioncvpr.html",
    layout=f"ROOT/{VIDEO_LIST} (path,split,class), ROOT/{CLASS_LIST} (optional), ROOT/videos/<path>",
    read=read,
    num_classes=43,
    num_items=11_234,
    size=(256, 340),
)
