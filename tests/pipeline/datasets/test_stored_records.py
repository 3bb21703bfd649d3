"""Records that are read from a manifest file when they are asked for."""

import pickle

import pytest

from tdn_data.pipeline.datasets import manifest as manifest_module
from tdn_data.pipeline.datasets.manifest import Manifest, VideoRecord, read_manifest, write_manifest
from tdn_data.pipeline.errors import InputError

RECORDS = tuple(VideoRecord(f"v{n}", f"v{n}.mp4", "train", (0,), list_splits=("test", None)) for n in range(23))


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest_module, "ROW_GROUP_SIZE", 5)
    write_manifest(Manifest("d", str(tmp_path), ("a",), False, RECORDS), tmp_path / "m.parquet")
    return tmp_path / "m.parquet"


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_they_are_as_good_as_a_tuple(path, monkeypatch, batch_rows):
    monkeypatch.setattr("tdn_data.pipeline.datasets.stored_records.BATCH_ROWS", batch_rows)
    records = read_manifest(path).records
    assert len(records) == 23 and tuple(records) == RECORDS and records == RECORDS and hash(records) == hash(RECORDS)
    for place in (0, 4, 5, 22, -1, -23):
        assert records[place] == RECORDS[place]
    for part in (slice(3, 17), slice(None, 4), slice(7, 7), slice(20, 99), slice(None, None, -3)):
        assert tuple(records[part]) == RECORDS[part]
    assert tuple(records[3:17][2:4]) == RECORDS[5:7] and list(read_manifest(path).limited(6)) == list(RECORDS[:6])
    with pytest.raises(IndexError):
        records[23]


def test_they_travel_as_a_tuple(path):
    copy = pickle.loads(pickle.dumps(read_manifest(path).records[2:4]))
    assert type(copy) is tuple and copy == RECORDS[2:4]


def test_a_manifest_that_changes_under_a_run_is_said(path):
    manifest = read_manifest(path)
    write_manifest(manifest.limited(3), path)
    with pytest.raises(InputError, match="m.parquet has changed while it was read; run the command again"):
        list(manifest)
