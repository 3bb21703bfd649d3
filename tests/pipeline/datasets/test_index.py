"""From lists to a manifest file, and how far that is."""

from __future__ import annotations

import itertools
import threading

import pytest

from tdn_data.pipeline.datasets.index import write_index
from tdn_data.pipeline.datasets.manifest import read_manifest
from tdn_data.pipeline.datasets.registry import read_videos
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.extraction.probing import probing


def test_an_index_counts_its_videos_as_they_are_probed_and_writes_them_all(clip_folder, tmp_path):
    seen = []
    listing, out = read_videos("folder", clip_folder), tmp_path / "manifest.parquet"
    with probing() as probe:
        record = write_index(listing, out, probe=probe, on_progress=lambda *state: seen.append(state))
    assert seen == [(number, 12) for number in range(1, 13)]
    manifest = read_manifest(out)
    assert len(manifest) == record["num_videos"] == 12
    assert record["splits"] == manifest.splits() and record["problems"] == {"unreadable": 1, "missing": 1}
    assert [(one.codec, one.width, one.height) for one in manifest if not one.problem] == [("h264", 64, 48)] * 10


def test_a_manifest_is_not_written_over_what_it_is_made_of(clip_folder_copy):
    listing = read_videos("folder", clip_folder_copy)
    for name in ("videos.csv", "classes.txt", "videos/clip 00.mp4"):
        before = (clip_folder_copy / name).read_bytes()
        with pytest.raises(InputError, match="is also read; give another name to write to"):
            write_index(listing, clip_folder_copy / name, probe=lambda path: pytest.fail("probed"))
        assert (clip_folder_copy / name).read_bytes() == before


def test_an_interrupted_index_goes_on_where_it_was(clip_folder_copy, tmp_path):
    listing, out = read_videos("folder", clip_folder_copy), tmp_path / "manifest.parquet"
    beside = tmp_path / "manifest.parquet.probed"

    def stop_after_five(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with probing() as probe:
        write_index(listing, tmp_path / "whole.parquet", probe=probe)
        with pytest.raises(KeyboardInterrupt):
            write_index(listing, out, probe=probe, on_progress=stop_after_five)
        assert not out.exists() and beside.exists()
        with beside.open("a") as file:
            file.write('{"codec": "h264", "fing')  # a line that was cut off
        (clip_folder_copy / "videos/clip 00.mp4").write_bytes(b"another file now" * 100)
        asked = []
        record = write_index(listing, out, probe=lambda path: asked.append(path) or probe(path))
    whole, found = read_manifest(tmp_path / "whole.parquet"), read_manifest(out)
    assert record["problems"] == {"unreadable": 2, "missing": 1}
    assert whole.records[1:] == found.records[1:] and found.records[0].problem == "unreadable"
    known = {str(clip_folder_copy / one.path) for one in whole.records[1:5]}
    assert not known & set(asked) and str(clip_folder_copy / whole.records[0].path) in asked
    assert not beside.exists()


def test_what_other_versions_probed_is_probed_again(clip_folder, tmp_path):
    listing, out = read_videos("folder", clip_folder), tmp_path / "manifest.parquet"
    (tmp_path / "manifest.parquet.probed").write_text('{"program": "0.0", "av": "1.0"}\n')
    asked = []
    with probing(num_processes=1) as probe:
        write_index(listing, out, probe=lambda path: asked.append(path) or probe(path))
    assert len(asked) == 11


def test_videos_are_probed_side_by_side_and_come_in_their_order(clip_folder, tmp_path):
    meeting = threading.Barrier(4, timeout=60)  # nobody passes until four are there
    waiting = itertools.count()

    def probe(path):
        if next(waiting) < 4:
            meeting.wait()
        return {"codec": path.rpartition("/")[2], "width": 1, "height": 1, "fps": 1.0, "duration_seconds": 1.0}

    write_index(read_videos("folder", clip_folder), tmp_path / "manifest.parquet", probe=probe)
    assert [one.codec for one in read_manifest(tmp_path / "manifest.parquet")][:3] == [
        f"clip {number:02d}.mp4" for number in range(3)
    ]
