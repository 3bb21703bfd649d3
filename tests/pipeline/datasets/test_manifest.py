import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdn_data.pipeline.datasets.manifest import (
    Manifest,
    VideoRecord,
    fingerprint_file,
    read_manifest,
    read_manifest_header,
    sample_records,
    video_id_of,
    write_manifest,
)
from tdn_data.pipeline.errors import InputError

RECORDS = (
    VideoRecord("a/-x y", "a/-x y.mp4", "train", (0, 2), 10, "f0", "h264", 64, 48, 29.97, 1.5),
    VideoRecord("b/ü", "b/ü.avi", "test", (), problem="missing"),
    VideoRecord("c", "c.avi", "unused", (1,), list_splits=(None, "train", "test")),
)


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    manifest = Manifest("folder", str(tmp_path), ("left", "right", "up"), True, RECORDS)
    write_manifest(manifest, tmp_path / "sub" / "manifest.parquet")
    assert read_manifest(tmp_path / "sub" / "manifest.parquet") == manifest


def test_the_same_manifest_gives_the_same_bytes(tmp_path):
    manifest = Manifest("folder", "root", ("left", "right", "up"), False, RECORDS)
    for name in ("one", "two"):
        write_manifest(manifest, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_file_that_is_no_manifest_is_named(tmp_path):
    (tmp_path / "m.parquet").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"m\.parquet is no readable manifest.*tdn-data index"):
        read_manifest(tmp_path / "m.parquet")
    with pytest.raises(InputError, match="absent: the manifest does not exist"):
        read_manifest(tmp_path / "absent")


def written(path, *, root, records=RECORDS):
    write_manifest(Manifest("folder", str(root), ("left", "right", "up"), True, tuple(records)), path)
    return path


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (VideoRecord("c", "d.avi", "train", (0,)), "row 4: the video 'c' is already in row 3"),
        (VideoRecord("d", "/etc/passwd", "train", (0,)), "row 4: '/etc/passwd' is an absolute path outside"),
        (VideoRecord("d", "../d.avi", "train", (0,)), r"row 4: '\.\./d.avi' leaves the data set's folder"),
        (VideoRecord("d", ".", "train", (0,)), "row 4: '.' names no file"),
        (VideoRecord("d", "d\0.avi", "train", (0,)), "row 4: .* names no file"),
        (VideoRecord("d", "d.avi", "train", (3,)), "row 4: label 3 of 'd.avi' is none of the 3 classes"),
        (VideoRecord("", "d.avi", "train", (0,)), "row 4: no video_id"),
        (VideoRecord("d", "d.avi", None, (0,)), "row 4: no split"),
        (VideoRecord("d" * 501, "d.avi", "train", (0,)), "row 4: the identifier .* more than 500 bytes"),
    ],
)
def test_a_row_that_cannot_stand_is_named(tmp_path, record, message):
    path = written(tmp_path / "m.parquet", root=tmp_path, records=(*RECORDS, record))
    with pytest.raises(InputError, match=f"m.parquet, {message}"):
        read_manifest(path)
    with pytest.raises(InputError, match=f"m.parquet, {message}"):
        sample_records(path, 4)


def test_a_manifest_without_a_column_or_with_another_type_names_it(tmp_path):
    table = pq.read_table(written(tmp_path / "m.parquet", root=tmp_path))
    pq.write_table(table.drop_columns(["labels"]), tmp_path / "no.parquet")
    with pytest.raises(InputError, match="no.parquet is no manifest: its column 'labels' is not there once"):
        read_manifest(tmp_path / "no.parquet")
    numbers = table.set_column(0, "video_id", pa.array([1, 2, 3]))
    pq.write_table(numbers.replace_schema_metadata(table.schema.metadata), tmp_path / "odd.parquet")
    with pytest.raises(InputError, match="column 'video_id' is int64; it must be string"):
        read_manifest(tmp_path / "odd.parquet")
    pq.write_table(table.append_column("note", pa.array(["a", "b", "c"])), tmp_path / "more.parquet")
    assert read_manifest(tmp_path / "more.parquet").records == RECORDS


@pytest.mark.parametrize(
    "about", [b"[]", b"{", b'"x"', b'{"version": 1}', b'{"version": 1, "dataset": 3}', b'{"version": 1, "root": []}']
)
def test_a_manifest_with_a_damaged_header_is_refused(tmp_path, about):
    table = pq.read_table(written(tmp_path / "m.parquet", root=tmp_path))
    pq.write_table(table.replace_schema_metadata({"tdn_manifest": about}), tmp_path / "m.parquet")
    with pytest.raises(InputError, match="m.parquet is a damaged manifest"):
        read_manifest(tmp_path / "m.parquet")


def test_a_damaged_or_special_file_is_no_manifest(tmp_path):
    whole = written(tmp_path / "m.parquet", root=tmp_path).read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:-40] + bytes(40)):
        (tmp_path / "m.parquet").write_bytes(content)
        with pytest.raises(InputError, match="m.parquet is no readable manifest"):
            read_manifest(tmp_path / "m.parquet")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="fifo is a FIFO; the manifest must be a regular file"):
        read_manifest(tmp_path / "fifo")
    with pytest.raises(InputError, match="is a folder; the manifest must be a regular file"):
        read_manifest_header(tmp_path)


def test_a_relative_root_is_found_from_every_folder(tmp_path, monkeypatch):
    for folder in ("project/data/videos", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    path = written(Path("data/m.parquet"), root="data/videos")
    assert read_manifest(path).root == "data/videos"
    monkeypatch.chdir(tmp_path / "elsewhere")
    moved = read_manifest("../project/data/m.parquet")
    assert Path(moved.root).resolve() == tmp_path / "project/data/videos"
    (tmp_path / "project/data/videos").rmdir()
    with pytest.raises(InputError, match=f"lists videos in {tmp_path}/project/data/videos, which is no folder"):
        read_manifest("../project/data/m.parquet")
    assert read_manifest("../project/data/m.parquet", root=tmp_path).root == str(tmp_path)


def test_identifier_is_the_path_without_its_extension():
    assert video_id_of("soccer/-Kq3.v2.avi") == "soccer/-Kq3.v2"
    assert video_id_of("soccer\\g24 (2).mov") == "soccer/g24 (2)"
    assert [video_id_of(path) for path in ("./v//2.mp4", ".", "..", ".mp4", "/")] == ["v/2", ".", "..", ".mp4", "/"]


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


def test_a_fifo_is_not_fingerprinted(tmp_path):
    os.mkfifo(tmp_path / "f")
    with pytest.raises(InputError, match="is a FIFO"):
        fingerprint_file(tmp_path / "f")


def test_another_parquet_file_is_no_manifest(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "ledger.parquet")
    with pytest.raises(InputError, match="is a Parquet file and no manifest; give what `tdn-data index` wrote"):
        read_manifest(tmp_path / "ledger.parquet")


@pytest.mark.parametrize("splits", [{"split": "tr\x1bain"}, {"split": " "}, {"list_splits": ("train", "te\nst")}])
def test_a_split_that_is_no_word_is_refused_escaped(tmp_path, splits):
    record = VideoRecord(**({"video_id": "a", "path": "a.mp4", "split": "train", "labels": (0,)} | splits))
    write_manifest(Manifest("folder", str(tmp_path), ("x",), False, (record,)), tmp_path / "m.parquet")
    with pytest.raises(InputError, match=r"row 1: the split .* of 'a.mp4' is no word; use one such as train") as caught:
        read_manifest(tmp_path / "m.parquet")
    assert caught.value.message.isprintable()
