"""Videos in class folders of split folders, read without a list."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tdn_data.pipeline.datasets.audit import audit_dataset, findings_by_kind
from tdn_data.pipeline.datasets.from_folders import write_list
from tdn_data.pipeline.datasets.registry import read_videos
from tdn_data.pipeline.errors import InputError
from tdn_data.stages.cli import main
from tests.conftest import write_clip


def make(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


LAYOUT = ("train/run/a.mp4", "train/jump/deep/b.mp4", "Validation/run/c.webm", "test/sit/d.avi")


def test_folders_say_split_and_class(tmp_path):
    listing = read_videos("folder", make(tmp_path, *LAYOUT, "test/alone.mp4", "notes/run/e.mp4"))
    assert listing.class_names == ("jump", "run", "sit") and not listing.multi_label
    found = {row.path: (row.split, row.labels) for row in listing.manifest()}
    assert found == dict(zip(LAYOUT, [("train", (1,)), ("train", (0,)), ("val", (1,)), ("test", (2,))], strict=True))
    assert "2 of train/<class>/ for train, 1 of Validation/<class>/ for val, 1 of test/<class>/" in listing.read_as
    assert listing.read_as.endswith("3 classes; 2 elsewhere left out.")
    findings = audit_dataset("folder", tmp_path)
    assert findings_by_kind(findings) == {"class_without_training": 1, "unlisted_file": 2}
    assert next(one for one in findings if one.kind == "class_without_training").message.startswith(
        f"{tmp_path}/test/sit/d.avi: the class 'sit' is in test"
    )


def test_a_class_list_fixes_the_order_and_names_what_it_lacks(tmp_path):
    make(tmp_path, *LAYOUT)
    (tmp_path / "classes.txt").write_text("sit\nrun\njump\n")
    assert read_videos("folder", tmp_path).manifest().records[-1].labels == (1,)
    (tmp_path / "classes.txt").write_text("sit\nrun\n")
    with pytest.raises(InputError, match=r"b\.mp4: label 'jump' of 'train/jump/deep/b.mp4' is not in .*classes.txt"):
        read_videos("folder", tmp_path).manifest()


def test_a_list_counts_alone_and_none_is_made_of_folders_that_say_their_splits(tmp_path):
    make(tmp_path, *LAYOUT)
    with pytest.raises(InputError, match=r"Validation, test, train under .* leave --from-folders out"):
        write_list(tmp_path)
    (tmp_path / "videos.csv").write_text("path,split,labels\ntrain/run/a.mp4,test,walk\n")
    listing = read_videos("folder", tmp_path)
    assert listing.class_names == ("walk",) and listing.videos[0].split == "test" and listing.read_as == ""


@pytest.mark.parametrize("paths", [("run/a.mp4",), ("train/a.mp4",), ("train/run/a.txt",)])
def test_other_folders_need_a_list(tmp_path, paths):
    with pytest.raises(InputError, match=r"videos.csv is missing.*None is needed where videos lie as train/<class>"):
        read_videos("folder", make(tmp_path, *paths))


def test_the_command_says_what_it_took(tmp_path):
    for name in ("train/run/a", "test/run/b"):
        write_clip(tmp_path / f"set/{name}.mp4", num_frames=3)
    out = ["--out", str(tmp_path / "manifest.parquet")]
    result = CliRunner().invoke(main, ["index", "--dataset", "folder", "--root", str(tmp_path / "set"), *out])
    assert result.exit_code == 0, result.output
    assert "1 of train/<class>/ for train, 1 of test/<class>/ for test, 1 class" in result.output
