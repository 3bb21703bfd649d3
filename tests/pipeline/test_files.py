import os
import socket
import stat

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdn_data.pipeline.errors import InputError, StorageError
from tdn_data.pipeline.files import (
    check_output_file,
    check_regular,
    open_regular,
    read_bytes,
    read_json,
    read_text,
    replacing,
    write_bytes,
    write_json,
    write_text,
)


def test_a_regular_file_is_read(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffé\n".encode())
    assert read_bytes(tmp_path / "a.txt") == "\ufeffé\n".encode()
    assert read_text(tmp_path / "a.txt") == "é\n"
    assert check_regular(str(tmp_path / "a.txt")) == tmp_path / "a.txt"


def test_a_link_to_a_regular_file_is_read(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_text(tmp_path / "b") == "x"


@pytest.mark.parametrize(
    ("kind", "key", "words"),
    [
        ("nothing", "missing", "does not exist"),
        ("folder", "unreadable", "is a folder"),
        ("fifo", "unreadable", "is a FIFO"),
        ("socket", "unreadable", "is a socket"),
        ("device", "unreadable", "is a device"),
        ("loop", "unreadable", "leads to itself"),
        ("inside a file", "missing", "a part of its path is no folder"),
        ("long name", "missing", "too long"),
        ("NUL", "missing", "NUL byte"),
    ],
)
def test_anything_but_a_regular_file_is_refused_at_once(tmp_path, monkeypatch, kind, key, words):
    monkeypatch.chdir(tmp_path)  # a socket's path has at most 107 bytes
    path = _make(tmp_path, kind)
    with pytest.raises(InputError, match=words) as caught:
        open_regular(path, what="class list")
    assert caught.value.key == key
    assert "class list" in caught.value.message
    assert "\0" not in caught.value.message


def _make(folder, kind):
    path = folder / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind("x")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "inside a file":
        path.write_text("")
        path = path / "y"
    others = {"device": "/dev/zero", "long name": folder / ("n" * 300), "NUL": "a\0b"}
    return others.get(kind, path)


def test_a_file_larger_than_allowed_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 11)
    assert len(read_bytes(tmp_path / "a", max_bytes=11)) == 11
    with pytest.raises(InputError, match="more than 10 bytes; that is no list"):
        read_bytes(tmp_path / "a", what="list", max_bytes=10)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\0b"])
def test_what_is_not_text_is_refused(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match="a: the list"):
        read_text(tmp_path / "a", what="list")


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000])
def test_damaged_json_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json: the file is damaged"):
        read_json(tmp_path / "a.json")


def test_json_comes_back_as_it_was_written(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "é"})
    assert read_json(tmp_path / "a.json") == {"a": "é", "b": [1, 2.5]}


def test_a_fault_in_the_body_leaves_what_was_there_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.png", "old")
    with pytest.raises(RuntimeError, match="stopped"), replacing(tmp_path / "a.png") as scratch:
        assert scratch.suffix == ".png"
        scratch.write_text("ne")
        raise RuntimeError("stopped")
    assert os.listdir(tmp_path) == ["a.png"]
    assert read_text(tmp_path / "a.png") == "old"


def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path):
    write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_an_absent_folder_is_a_storage_fault_that_names_the_file(tmp_path):
    with pytest.raises(StorageError, match=r"absent/a cannot be written \(no such file or directory\)"):
        write_text(tmp_path / "absent" / "a", "x")


def test_an_output_file_is_checked_before_work(tmp_path):
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("file")
    assert check_output_file(tmp_path / "new" / "a.png") == tmp_path / "new" / "a.png"
    assert os.listdir(tmp_path / "new") == []
    assert check_output_file(tmp_path / "file") == tmp_path / "file"
    for path, words in [
        ("", "is no name of a file"),
        ("a\0b", "is no name of a file"),
        (tmp_path, "is a folder"),
        (tmp_path / "fifo", "is a FIFO"),
        (tmp_path / "file" / "a", "cannot be written"),
        ("/proc/a", "cannot be written"),
    ]:
        with pytest.raises(InputError, match=words):
            check_output_file(path)
    with pytest.raises(InputError, match="link is also read"):
        check_output_file(tmp_path / "link", inputs=[tmp_path / "file"])


def test_a_full_disk_names_the_file_though_the_library_that_writes_it_does_not(tmp_path, few_bytes_a_file):
    path = tmp_path / "m.parquet"
    write_bytes(path, b"before")
    table = pa.table({"x": np.random.default_rng(0).random(100_000)})
    with (
        few_bytes_a_file(1000),
        pytest.raises(
            StorageError, match=r"m.parquet cannot be written \(file too large\); what was there before stays"
        ),
        replacing(path) as scratch,
    ):
        pq.write_table(table, scratch)
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["m.parquet"]
    with pytest.raises(ZeroDivisionError), replacing(path):
        raise ZeroDivisionError
    with pytest.raises(FileNotFoundError), replacing(path):
        open(tmp_path / "another")  # noqa: SIM115
