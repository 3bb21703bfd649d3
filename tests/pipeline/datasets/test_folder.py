import os

import pytest

from tdn_data.pipeline.datasets import folder
from tdn_data.pipeline.datasets.listing import row_findings
from tdn_data.pipeline.datasets.registry import read_videos
from tdn_data.pipeline.errors import InputError


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
        (
            "path,split,labels\na.mp4,train,run,x\n",
            "line 2: 'x' stands beyond the last column 'labels'; .*double quotes",
        ),
        ("path,split,labels\na.mp4,train,x;x\n", "line 2: 'a.mp4' has the label 'x' 2 times"),
        ("path,split,labels\na.mp4,train,x\nb.mp4,train,;;;\n", "line 3: 'b.mp4' has no label, and every other video"),
        ("path,split,labels\na.mp4,train,x\nb.mp4,train,\n", "line 3: 'b.mp4' has no label, and every other video"),
        ("path,split,labels\n.,train,x\n", "line 2: '.' names no file"),
        ("path,split,labels\na.mp4,fold1,x\n", "line 2: the split is 'fold1'; splits are train, training, val"),
        ('path,split,labels\n"a.mp4,train,x\nb.mp4,train,x\n', "the row that begins in line 2 is no valid CSV"),
        ("path,path,split,labels\na,a.mp4,train,x\n", "more than one column 'path'"),
        (f"path,split,labels\n{'a' * 200_000},train,x\n", "the row that begins in line 2 is no valid CSV"),
        ("path,split,labels\na\0.mp4,train,x\n", "holds NUL bytes"),
        ("path,split,labels\n/data/a.mp4,train,x\n", "'/data/a.mp4' is an absolute path outside the data set's folder"),
        ("path,split,labels\na.mp4,train,y\n", "line 2: label 'y' of 'a.mp4' is not in .*classes.txt"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "videos.csv").write_text(text)
    (tmp_path / "classes.txt").write_text("x\n")
    with pytest.raises(InputError, match=message):
        folder.read(tmp_path).manifest()


def test_an_absolute_path_inside_the_folder_is_named_with_the_one_to_write(tmp_path):
    make(tmp_path, [f"{tmp_path}/v/a.mp4,train,run"])
    with pytest.raises(InputError, match=f"'{tmp_path}/v/a.mp4' is an absolute path; write it .*: v/a.mp4"):
        folder.read(tmp_path).manifest()


def test_usual_words_for_a_split_are_read_as_ours(tmp_path):
    make(tmp_path, ["a.mp4,Training,x", "b.mp4,validation,x", "c.mp4,valid,x", "d.mp4,TEST,x", "e.mp4,unused,x"])
    assert [row.split for row in folder.read(tmp_path).videos] == ["train", "val", "val", "test", "unused"]


def test_a_set_of_several_labels_may_have_videos_of_none_and_says_so(tmp_path):
    make(tmp_path, ["a.mp4,train,run;jump", "b.mp4,train,"])
    listing = folder.read(tmp_path)
    assert listing.multi_label and listing.manifest().records[1].labels == ()
    assert [(finding.kind, finding.line, finding.fatal) for finding in row_findings(listing)] == [
        ("no_label", 3, False)
    ]


def test_files_that_differ_in_their_extension_alone_are_two_videos(tmp_path):
    rows = ["a.avi,train,x", "a.mp4,train,x", "v/b.mp4,train,x", "a.mp4.mkv,test,x", "c/a.mp4,train,x"]
    make(tmp_path, rows)
    ids = {record.path: record.video_id for record in read_videos("folder", tmp_path).manifest()}
    assert ids == {
        "a.avi": "a.avi",
        "a.mp4": "a.mp4",
        "a.mp4.mkv": "a.mp4.mkv",
        "v/b.mp4": "v/b",
        "c/a.mp4": "c/a",
    }
    make(tmp_path, reversed(rows))
    assert {record.path: record.video_id for record in read_videos("folder", tmp_path).manifest()} == ids
    make(tmp_path, ["a.avi,train,x", "a.avi,test,x"])
    with pytest.raises(InputError, match="line 3: 'a' is in test here and in train in line 2"):
        read_videos("folder", tmp_path).manifest()


@pytest.mark.parametrize("name", ["videos.csv", "classes.txt"])
def test_a_list_that_is_a_fifo_or_a_folder_is_refused_at_once(tmp_path, name):
    make(tmp_path, ["a.mp4,train,x"])
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"{name} is a FIFO; .*must be a regular file"):
        folder.read(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"{name} is a folder"):
        folder.read(tmp_path)


def test_blanks_at_the_ends_of_a_path_count_where_a_file_has_them(tmp_path):
    for name in (" a.mp4", "b.mp4 ", "c.mp4"):
        (tmp_path / name).write_bytes(b"x")
    make(tmp_path, [" a.mp4,train,x", '"b.mp4 ", train ,x', " c.mp4 ,test, x ", " gone.mp4 ,test,x"])
    listing = read_videos("folder", tmp_path)
    assert [row.path for row in listing.videos] == [" a.mp4", "b.mp4 ", "c.mp4", "gone.mp4"]
    assert [row.video_id for row in listing.videos] == [" a", "b", "c", "gone"]
    assert {row.split for row in listing.videos} == {"train", "test"} and listing.class_names == ("x",)


LOOK_ALIKE = ["Café", "Cafe\u0301", "café", "pole\u00a0vault", "pole vault", "run", "ru\u200bn", "jump"]


def test_classes_that_look_the_same_are_found_with_both_names_told_apart(tmp_path):
    make(tmp_path, [f"{number}.mp4,train,{name}" for number, name in enumerate(LOOK_ALIKE)])
    listing = read_videos("folder", tmp_path)
    assert len(listing.class_names) == len(LOOK_ALIKE)
    found = [finding for finding in row_findings(listing) if finding.kind == "look_alike_labels"]
    assert not any(finding.fatal for finding in found) and all(finding.line for finding in found)
    words = "\n".join(finding.message for finding in found)
    assert len(found) == 4 and words.isascii()
    assert r"the classes 'Cafe\u0301' and 'Caf\xe9' look alike and count as two; if they are one, write one" in words
    assert r"'pole vault' and 'pole\xa0vault'" in words and r"'run' and 'ru\u200bn'" in words


def test_a_name_that_looks_like_a_class_is_refused_with_a_hint(tmp_path):
    make(tmp_path, ["a.mp4,train,Cafe\u0301"], classes=["Café"])
    (finding,) = row_findings(read_videos("folder", tmp_path))
    assert finding.fatal and r"(1 classes); 'Cafe\u0301' looks like its class 'Caf\xe9'." in finding.message


def test_control_characters_in_paths_and_classes_are_found_and_shown_escaped(tmp_path):
    make(tmp_path, ['"a\x1b[31m.mp4",train,"x\ny"', "b.mp4,train,z"])
    found = {finding.message: finding for finding in row_findings(read_videos("folder", tmp_path))}
    assert {finding.kind for finding in found.values()} == {"control_character"} and len(found) == 2
    assert all(message.isprintable() for message in found)
    assert any(r"the path 'a\x1b[31m.mp4' has a control character" in message for message in found)
    assert any(r"the class 'x\ny' has a control character" in message for message in found)


def test_a_split_with_a_control_character_is_refused_escaped(tmp_path):
    make(tmp_path, ["a.mp4,tr\x1bain,x"])
    with pytest.raises(InputError, match=r"the split is 'tr\\x1bain'; splits are") as caught:
        read_videos("folder", tmp_path)
    assert caught.value.message.isprintable()


def test_lists_of_any_line_ends_are_read(tmp_path):
    for end in ("\n", "\r\n", "\r"):
        rows = ("path,split,labels", "a.mp4,train,x", "b.mp4,test,y", "")
        (tmp_path / "videos.csv").write_text(end.join(rows), newline="")
        listing = read_videos("folder", tmp_path)
        assert [(row.path, row.line) for row in listing.videos] == [("a.mp4", 2), ("b.mp4", 3)]
        assert listing.class_names == ("x", "y")


def test_a_class_list_without_a_class_is_refused_for_what_it_is(tmp_path):
    make(tmp_path, ["a.mp4,train,x"], classes=["", " "])
    with pytest.raises(InputError, match="classes.txt is empty; it needs the name of one class a line"):
        read_videos("folder", tmp_path)


@pytest.mark.parametrize("head", ["path;split;labels", "path\tsplit\tlabels", "Path,Split,Labels"])
def test_a_first_line_without_the_columns_is_refused_with_how_it_must_look(tmp_path, head):
    (tmp_path / "videos.csv").write_text(f"{head}\n")
    with pytest.raises(InputError, match="must name the columns path, split, labels, with commas between"):
        read_videos("folder", tmp_path)
