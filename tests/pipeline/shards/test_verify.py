"""Damage of every kind is found and named."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.extraction.engine import _close
from tdn_data.pipeline.extraction.one_shard import ShardJob, extract_shard
from tdn_data.pipeline.parameters import ExtractParameters, FrameParameters
from tdn_data.pipeline.shards.ledger import DATASET_NAME
from tdn_data.pipeline.shards.plan import plan_shards
from tdn_data.pipeline.shards.shard_folder import gather, shard_names, write_folder
from tdn_data.pipeline.shards.status import extraction_status
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.shards.verify import verify_shards

PARAMETERS = ExtractParameters(frames=FrameParameters(fps=5, height=48, width=64))


@pytest.fixture
def shards(clip_folder, tmp_path):
    """A finished extraction, made without Ray."""
    manifest, storage = index_dataset("folder", clip_folder), Storage(tmp_path)
    plans = plan_shards(manifest, PARAMETERS, "rgb")
    results = [extract_shard(ShardJob(plan, PARAMETERS, "folder", manifest.root, storage)) for plan in plans]
    _close(storage, manifest, PARAMETERS, plans, results)
    return tmp_path


def shard_of(folder, video_id):
    rows = pq.read_table(folder / "ledger.parquet").to_pylist()
    return folder / next(row["shard"] for row in rows if row["video_id"] == video_id)


def test_an_undamaged_extraction_has_nothing_wrong(shards):
    verification = verify_shards(shards)
    assert verification.findings == ()
    assert (verification.num_shards, verification.num_videos) == (len(list(shards.glob("*-of-*"))), 12)
    assert verification.num_images == sum(
        row["num_stored"] for row in pq.read_table(shards / "ledger.parquet").to_pylist()
    )


def test_a_flipped_byte_a_cut_and_a_missing_shard_are_named(shards):
    flipped = shard_of(shards, "videos/clip 03")
    content = bytearray(flipped.read_bytes())
    content[len(content) // 3] ^= 0x10
    flipped.write_bytes(content)
    findings = verify_shards(shards).findings
    assert {finding.shard for finding in findings} == {flipped.name}
    flipped.write_bytes(content[:-10])
    findings = verify_shards(shards).findings
    assert {finding.shard for finding in findings} == {flipped.name}
    assert any("no end of a Parquet file" in finding.what for finding in findings)
    flipped.unlink()
    assert [(finding.shard, finding.what) for finding in verify_shards(shards).findings] == [
        (flipped.name, "is missing")
    ]


def test_a_small_file_that_was_changed_is_found_by_its_checksum(shards):
    table = pq.read_table(shards / "ledger.parquet")
    pq.write_table(
        table.filter([row != "videos/clip 03" for row in table["video_id"].to_pylist()]), shards / "ledger.parquet"
    )
    (finding,) = verify_shards(shards).findings
    assert finding.shard == "ledger.parquet" and "its checksum differs" in finding.what


@pytest.mark.parametrize("part", ["ledger", "index"])
def test_small_files_that_say_something_else_than_the_shards_are_found(shards, part):
    storage = Storage(shards)
    contents = gather(storage, shard_names(storage))
    rows = [replace(row, labels=(0,)) if row.video_id == "videos/clip 04" else row for row in getattr(contents, part)]
    write_folder(storage, replace(contents, **{part: tuple(rows)}))
    (finding,) = verify_shards(shards).findings
    assert (finding.shard, finding.video_id) == (shard_of(shards, "videos/clip 04").name, "videos/clip 04")
    assert finding.what == f"its own {part} differs from {part}.parquet"


def test_an_unfinished_extraction_has_a_status_but_is_not_verified(shards):
    status = extraction_status(shards)
    assert status.finished and status.modalities[0].status == {"ok": 10, "partial": 0, "failed": 2}
    total = status.modalities[0].num_shards
    (shards / DATASET_NAME).unlink()
    shard_of(shards, "videos/clip 03").unlink()
    status = extraction_status(shards)
    assert not status.finished
    assert (status.modalities[0].num_shards, status.modalities[0].num_shards_total) == (total - 1, total)
    with pytest.raises(InputError, match="holds no finished extraction"):
        verify_shards(shards)


def test_dataset_json_says_what_was_stored(shards):
    about = json.loads((shards / DATASET_NAME).read_text())
    assert about["class_names"] == ["left", "right"] and about["num_videos"] == 12
    assert about["parameters"]["rgb"]["fps"] == 5 and about["libraries"]["pyarrow"]
