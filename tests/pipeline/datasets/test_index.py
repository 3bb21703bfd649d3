"""From lists to a manifest file, and how far that is."""

from __future__ import annotations

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
