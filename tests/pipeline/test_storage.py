import errno
import os
import pickle

import pytest

from pipeline.errors import InputError, StorageError
from pipeline.storage import Storage


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


def test_deleting_what_is_not_there_does_nothing(tmp_path):
    storage = Storage(tmp_path)
    storage.delete("absent")
    assert storage.names() == []
    assert Storage(tmp_path / "absent").names() == []


def test_it_travels_between_processes(tmp_path):
    storage = Storage(tmp_path)
    storage.write_bytes("a", b"x")
    assert pickle.loads(pickle.dumps(storage)).read_bytes("a") == b"x"


def test_a_location_that_nothing_opens_is_named():
    with pytest.raises(InputError, match="nosuch://bucket/x is no place that can be opened"):
        Storage("nosuch://bucket/x").names()


FULL = """
from pipeline.errors import StorageError
from pipeline.storage import Storage
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
