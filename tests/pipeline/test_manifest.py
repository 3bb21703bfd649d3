import pytest

from pipeline.errors import InputError
from pipeline.manifest import (
    Manifest,
    VideoRecord,
    fingerprint_file,
    read_manifest,
    video_id_of,
    write_manifest,
)

RECORDS = (
    VideoRecord("a/-x y", "a/-x y.mp4", "train", (0, 2), 10, "f0", "h264", 64, 48, 29.97, 1.5),
    VideoRecord("b/ü", "b/ü.avi", "test", (), problem="missing"),
    VideoRecord("c", "c.avi", "unused", (1,), list_splits=(None, "train", "test")),
)


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    manifest = Manifest("folder", "root", ("left", "right", "up"), True, RECORDS)
    write_manifest(manifest, tmp_path / "sub" / "manifest.parquet")
    assert read_manifest(tmp_path / "sub" / "manifest.parquet") == manifest


def test_the_same_manifest_gives_the_same_bytes(tmp_path):
    manifest = Manifest("folder", "root", ("left",), False, RECORDS)
    for name in ("one", "two"):
        write_manifest(manifest, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_file_that_is_no_manifest_is_named(tmp_path):
    (tmp_path / "m.parquet").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"m\.parquet is no readable manifest.*tdn-data index"):
        read_manifest(tmp_path / "m.parquet")
    with pytest.raises(InputError, match="absent"):
        read_manifest(tmp_path / "absent")


def test_identifier_is_the_path_without_its_extension():
    assert video_id_of("soccer/-Kq3.v2.avi") == "soccer/-Kq3.v2"
    assert video_id_of("soccer\\g24 (2).mov") == "soccer/g24 (2)"


def test_a_fingerprint_sees_a_change_at_start_middle_and_end_and_of_size(tmp_path):
    original = bytearray(range(256)) * 2000
    seen = set()
    for place in (None, 0, len(original) // 2, len(original) - 1):
        content = bytearray(original)
        if place is not None:
            content[place] ^= 1
        (tmp_path / "f").write_bytes(content)
        seen.add(fingerprint_file(tmp_path / "f"))
    (tmp_path / "f").write_bytes(original + b"\0")
    seen.add(fingerprint_file(tmp_path / "f"))
    assert len(seen) == 5
