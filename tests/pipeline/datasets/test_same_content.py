"""Files under two identifiers and in two splits, by what is in them."""

import random
from dataclasses import replace

import pytest

from tdn_data.pipeline.datasets import same_content
from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.datasets.same_content import in_two_splits, same_content_findings

SIZE = 400_000  # more than the three samples of a fingerprint


@pytest.fixture
def manifest(tmp_path):
    content = random.Random(0).randbytes(SIZE)
    other = bytearray(content)
    other[100_000] ^= 1  # in none of the samples
    files = {"a": content, "b": content, "c": content, "d": bytes(other), "e": content[:-1], "f": b"", "g": b""}
    splits = {"a": "train", "b": "test", "c": "train", "d": "test", "e": "test", "f": "train", "g": "test"}
    for name, data in files.items():
        (tmp_path / f"{name}.mp4").write_bytes(data)
    rows = [f"{name}.mp4,{split},run" for name, split in splits.items()]
    (tmp_path / "videos.csv").write_text("\n".join(["path,split,labels", *rows]) + "\n")
    return index_dataset("folder", tmp_path)


def test_only_files_that_are_the_same_to_the_last_byte_are_named(manifest):
    (finding,) = same_content_findings(manifest)
    assert finding.kind == "same_content_in_two_splits" and not finding.fatal
    assert "'a.mp4' (train), 'b.mp4' (test), 'c.mp4' (train) are the same, byte for byte" in finding.message
    assert "'d.mp4'" not in finding.message and "'f.mp4'" not in finding.message


def test_only_files_of_one_fingerprint_are_read_whole(manifest, monkeypatch):
    read, digest = [], same_content._digest
    monkeypatch.setattr(same_content, "_digest", lambda path: read.append(path.name) or digest(path))
    assert len(list(same_content_findings(manifest))) == 1
    assert read == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]


def test_in_one_split_it_is_said_and_other_labels_too(manifest):
    records = tuple(replace(one, split="train") for one in manifest.records)
    relabelled = (replace(records[0], labels=()), *records[1:])
    (finding,) = same_content_findings(replace(manifest, records=relabelled))
    assert finding.kind == "same_content" and finding.message.endswith("with other labels.")


def test_nothing_is_read_whole_from_a_network_filesystem_and_the_words_say_so(manifest, monkeypatch):
    monkeypatch.setattr(same_content, "filesystem_kind", lambda root: "nfs4")
    monkeypatch.setattr(same_content, "_digest", lambda path: pytest.fail("read"))
    (finding,) = same_content_findings(manifest)
    assert "not read whole from a network filesystem, nfs4" in finding.message and "'d.mp4'" in finding.message


def test_unused_videos_leak_nothing_and_every_list_split_counts(manifest):
    first, second = manifest.records[:2]
    assert not in_two_splits([first, replace(second, split="unused")])
    apart = [replace(first, split="train", list_splits=("train", "test")),
             replace(second, split="train", list_splits=("train", "train"))]  # fmt: skip
    assert in_two_splits(apart)
