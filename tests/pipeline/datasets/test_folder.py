import pytest

from pipeline.datasets import folder
from pipeline.errors import InputError


def make(root, rows, classes=None):
    (root / "videos.csv").write_text("path,split,labels\n" + "\n".join(rows) + "\n")
    if classes is not None:
        (root / "classes.txt").write_text("\n".join(classes))


def test_class_order_comes_from_the_class_list_or_else_from_the_alphabet(tmp_path):
    make(tmp_path, ["a.mp4,train,run", "b.mp4,test,jump"])
    assert folder.read(tmp_path).class_names == ("jump", "run")
    make(tmp_path, ["a.mp4,train,run", "b.mp4,test,jump"], ["run", "jump", "sit"])
    manifest = folder.read(tmp_path).manifest()
    assert manifest.class_names == ("run", "jump", "sit")
    assert [record.labels for record in manifest] == [(0,), (1,)]
    assert not manifest.multi_label


def test_several_labels_make_the_set_multi_label(tmp_path):
    make(tmp_path, ['"a, b.mp4",train,run; jump', "c.mp4,train,"])
    manifest = folder.read(tmp_path).manifest()
    assert manifest.multi_label
    assert [(record.path, record.labels) for record in manifest] == [("a, b.mp4", (1, 0)), ("c.mp4", ())]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "videos.csv is empty"),
        ("path,labels\na.mp4,x\n", "has no column 'split'; its first line must name the columns path, split, labels"),
        ("path,split,labels\n", "name no video; they need one row per video"),
        ("path,split,labels\na.mp4,,x\n", "line 2: no split"),
        ("path,split,labels\na.mp4,train\n", "line 2: no labels"),
        ("path,split,labels\na.mp4,train,x\na.mp4,test,x\n", "line 3: 'a' is in test here and in train in line 2"),
        ("path,split,labels\na.mp4,train,y\n", "line 2: label 'y' of 'a.mp4' is not in .*classes.txt"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "videos.csv").write_text(text)
    (tmp_path / "classes.txt").write_text("x\n")
    with pytest.raises(InputError, match=message):
        folder.read(tmp_path).manifest()
