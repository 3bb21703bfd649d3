import errno
import os
import pickle
import re
import threading
from pathlib import Path

import pytest

from tdn_data.pipeline.errors import InputError, StorageError
from tdn_data.pipeline.shards.storage import Storage


def test_a_published_file_is_whole_and_a_failed_one_leaves_nothing(tmp_path):
    storage = Storage(tmp_path / "out")
    storage.create()
    storage.write_bytes("a", b"first")
    with pytest.raises(RuntimeError), storage.publish("a") as scratch:
        scratch.write_bytes(b"sec")
        raise RuntimeError("interrupted")
    assert storage.read_bytes("a") == b"first"
    assert os.listdir(tmp_path / "out") == ["a"]
    assert storage.sizes() == {"a": 5}


def test_a_fault_of_the_body_is_no_fault_of_the_output(tmp_path):
    storage = Storage(tmp_path / "out")
    storage.create()
    with pytest.raises(PermissionError), storage.publish("a"):
        raise PermissionError(errno.EACCES, "a video may not be read")
    with pytest.raises(StorageError, match="a: no space left on device"), storage.publish("a"), storage.faults("a"):
        raise OSError(errno.ENOSPC, "full")
    assert os.listdir(tmp_path / "out") == []
    (tmp_path / "out").rmdir()
    with pytest.raises(StorageError, match="no such file or directory"):
        storage.write_bytes("a", b"x")


def test_a_link_gives_way_and_what_it_leads_to_stays(tmp_path):
    (tmp_path / "cache").write_bytes(b"kept")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").symlink_to(tmp_path / "cache")
    Storage(tmp_path / "out").write_bytes("a", b"new")
    assert (tmp_path / "out/a").read_bytes() == b"new" and (tmp_path / "cache").read_bytes() == b"kept"


def test_deleting_what_is_not_there_does_nothing(tmp_path):
    storage = Storage(tmp_path)
    storage.delete("absent")
    assert storage.names() == []
    assert Storage(tmp_path / "absent").names() == []


def test_it_travels_between_processes(tmp_path):
    storage = Storage(tmp_path)
    storage.write_bytes("a", b"x")
    assert pickle.loads(pickle.dumps(storage)).read_bytes("a") == b"x"


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("", "'' names no folder"),
        ("  ", "names no folder"),
        ("a\0b", "names no folder"),
        ("s3://", "s3:// names no bucket"),
        ("s3:///", "names no bucket"),
        ("s3://key:secret@", "s3:// names no bucket"),
        ("s3:/bucket/x", "s3:/bucket/x has one slash"),
        ("https://host/x", "https://host/x is a web page's address"),
        ("/", "/ is no folder of its own"),
        ("file://", "is no folder of its own"),
    ],
)
def test_what_names_no_folder_is_refused_before_anything_is_written(location, words):
    with pytest.raises(InputError, match=re.escape(words)):
        Storage(location)


def test_local_folders_are_absolute_and_keep_their_names(tmp_path):
    assert Storage(f"file://{tmp_path}/x/").location == str(tmp_path / "x")
    assert Storage("what?@here").shown == str(Path("what?@here").absolute())


SECRETS = [
    "nosuch://user:{}@bucket/x",
    "nosuch://user:{}/and/more@bucket/x",
    "nosuch://bucket/x?secret_key={}",
    "nosuch://bucket/x?region=r&token={}&scheme=http",
    "s3://bucket/x?secret_access={}",
    "s3://user:{}@bucket/x?endpoint_override=127.0.0.1:1&scheme=http&region=us-east-1&connect=1",
]


@pytest.mark.parametrize("template", SECRETS)
def test_no_error_shows_what_is_secret_in_an_address(template):
    storage = Storage(template.format("hush%2Fhush"))
    assert storage.shown == f"{template.partition(':')[0]}://bucket/x"
    with pytest.raises((InputError, StorageError)) as caught:
        storage.names()
    said = f"{caught.value.message} {caught.value.path} {storage!r}"
    assert "hush" not in said and "bucket/x" in said


def test_a_store_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr("tdn_data.pipeline.shards.storage.STORE_SECONDS", 0.05)
    monkeypatch.setattr("tdn_data.pipeline.shards.storage._reached", lambda location: threading.Event().wait(60))
    with pytest.raises(StorageError, match="gs://bucket/x did not answer within 0.05 s; check the address"):
        Storage("gs://bucket/x").names()


def test_a_folder_inside_is_a_place_of_its_own_whose_files_can_be_taken(tmp_path):
    outer = Storage(tmp_path)
    inner = outer.folder(".new")
    inner.create()
    inner.write_bytes("a", b"new")
    outer.write_bytes("a", b"old")
    assert (outer.names(), inner.names()) == (["a"], ["a"])
    outer.adopt(inner, "a")
    inner.delete_folder()
    inner.delete_folder()
    assert outer.read_bytes("a") == b"new" and os.listdir(tmp_path) == ["a"]


FULL = """
from tdn_data.pipeline.errors import StorageError
from tdn_data.pipeline.shards.storage import Storage
import os
storage = Storage({folder!r})
storage.write_bytes("a", b"x" * 1000)
try:
    storage.write_bytes("b", b"y" * 100_000)
except StorageError as error:
    print(error.message)
print(storage.names(), os.listdir({folder!r}))
"""


def test_a_full_disk_is_said_and_what_is_written_stays(on_a_small_disk, tmp_path):
    words = on_a_small_disk(tmp_path, 64 << 10, FULL.format(folder=str(tmp_path)))
    assert f"b: {os.strerror(errno.ENOSPC).lower()}; what is written stays" in words
    assert words.endswith("['a'] ['a']\n")
