"""What an earlier extraction left is never mixed, recreated or lost without a word."""

import contextlib
import hashlib
import shutil

import pytest

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import InputError, PipelineError
from tdn_data.pipeline.extraction import cache
from tdn_data.pipeline.extraction.engine import NEW_FOLDER, run_extraction
from tdn_data.pipeline.extraction.versions import RowVersions, row_versions
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters
from tdn_data.pipeline.shards.ledger import DATASET_NAME, read_ledger
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.schema import LedgerRow
from tdn_data.pipeline.shards.shard_formats import open_shard
from tdn_data.pipeline.shards.storage import Storage

FRAMES = ExtractParameters(frames=FrameParameters(height=48, width=64))
SMALLER = ExtractParameters(frames=FrameParameters(height=32, width=32))


def run(root, out, parameters=FRAMES, **options):
    return run_extraction(index_dataset("folder", root), parameters, out=out, num_workers=2, **options)


def hashes(folder):
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def extracted(clip_folder, tmp_path_factory):
    """The undisturbed extraction of the clip folder."""
    out = tmp_path_factory.mktemp("cache") / "out"
    run(clip_folder, out)
    return out


@pytest.fixture
def out(extracted, tmp_path):
    """A copy of the extraction that a test may change."""
    shutil.copytree(extracted, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def newer(monkeypatch):
    """A program whose code is another, as the planning process and its workers see it."""
    now = row_versions("rgb")
    other = RowVersions("changed", {**now.libraries, "av": "99.0"})
    for module in ("tdn_data.pipeline.extraction.existing", "tdn_data.pipeline.extraction.engine"):
        monkeypatch.setattr(f"{module}.row_versions", lambda modality: other)
    return other


def test_each_row_says_what_made_it(extracted):
    now = row_versions("rgb")
    assert {row.made_by for row in read_ledger(Storage(extracted))} == {now.digest}
    names = [path.name for path in extracted.glob("frames-*")]
    for name in names:
        with contextlib.closing(open_shard(Storage(extracted), name)) as shard:
            assert shard.about["versions"] == ({now.digest: now.as_dict()} if shard.ledger else {})


def test_a_folder_of_other_versions_is_refused_with_what_differs(clip_folder, out, newer):
    before = hashes(out)
    with pytest.raises(InputError, match=r"of other versions \(the code, av .* -> 99.0\).*--replace.*--keep-versions"):
        run(clip_folder, out)
    assert hashes(out) == before


def test_kept_versions_stay_with_the_rows_that_they_made(clip_folder_copy, out, newer):
    old = read_ledger(Storage(out))[0].made_by
    assert run(clip_folder_copy, out, keep_versions=True).num_shards_made == 0
    shutil.copy(clip_folder_copy / "videos/clip 09.mp4", clip_folder_copy / "videos/clip 03.mp4")
    summary = run(clip_folder_copy, out, keep_versions=True)
    assert summary.num_shards_made == 1
    made_by = {row.video_id: row.made_by for row in summary.ledger}
    assert made_by.pop("videos/clip 03") == newer.digest
    kept = {row.video_id: row.made_by for row in summary.ledger if row.num_stored and row.made_by != newer.digest}
    assert len(kept) == 9 and set(kept.values()) == {old}
    shard = next(row.shard for row in summary.ledger if row.video_id == "videos/clip 03")
    with contextlib.closing(open_shard(Storage(out), shard)) as opened:
        assert set(opened.about["versions"]) == {row.made_by for row in opened.ledger}


def test_replacing_recreates_what_other_versions_made(clip_folder, out, newer):
    summary = run(clip_folder, out, replace=True)
    assert summary.num_reused == 0 and {row.made_by for row in summary.ledger} == {newer.digest}
    assert run(clip_folder, out).num_shards_made == 0


def test_both_words_at_once_are_refused(clip_folder, out):
    with pytest.raises(InputError, match="give one of them"):
        run(clip_folder, out, replace=True, keep_versions=True)


def test_a_folder_stays_usable_until_its_replacement_is_complete(clip_folder, out, monkeypatch):
    before = hashes(out)

    def interrupted(jobs, **options):
        from tdn_data.pipeline.extraction.one_shard import extract_shard

        extract_shard(jobs[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tdn_data.pipeline.extraction.engine.run_jobs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(clip_folder, out, SMALLER, replace=True)
    assert hashes(out) == before and ShardReader(out).read("videos/clip 07").data.shape[1:] == (48, 64, 3)
    summary = run(clip_folder, out, SMALLER, replace=True)
    assert summary.num_shards_made == summary.num_shards - 1 and not (out / NEW_FOLDER).exists()
    assert ShardReader(out).read("videos/clip 07").data.shape[1:] == (32, 32, 3)
    run(clip_folder, out.parent / "straight", SMALLER)
    assert hashes(out) == hashes(out.parent / "straight")


def test_good_rows_are_not_replaced_by_none(clip_folder, out):
    before = hashes(out)
    limits = SMALLER.limits.model_copy(update={"max_pixels": 1000})
    hopeless = SMALLER.model_copy(update={"limits": limits})
    with pytest.raises(PipelineError, match="10 videos would lose rows .* gives 0 of rgb now, .*too_large"):
        run(clip_folder, out, hopeless, replace=True)
    assert hashes(out) == before
    assert run(clip_folder, out, hopeless, replace=True, allow_loss=True).failed_share() == 1


def test_videos_that_are_gone_stop_a_run_before_it_writes(clip_folder_copy, out):
    before, listed = hashes(out), index_dataset("folder", clip_folder_copy)
    for number in (3, 4):
        (clip_folder_copy / f"videos/clip {number:02d}.mp4").unlink()
    now = index_dataset("folder", clip_folder_copy)
    for manifest, parameters in ((now, FRAMES), (now, SMALLER), (listed, SMALLER)):
        with pytest.raises(InputError, match="2 videos that are stored are not in .*clips any more"):
            run_extraction(manifest, parameters, out=out, num_workers=2, replace=parameters is SMALLER)
        assert hashes(out) == before and not (out / NEW_FOLDER).exists()
    counts = run(clip_folder_copy, out, allow_loss=True)
    assert sum(row.reason == "missing" for row in counts.ledger) == 3


@pytest.mark.parametrize("kind", ["empty", "folder"])
def test_what_took_a_videos_place_and_holds_nothing_does_not_take_its_rows(clip_folder_copy, out, kind):
    before, path = hashes(out), clip_folder_copy / "videos/clip 03.mp4"
    path.unlink()
    path.mkdir() if kind == "folder" else path.touch()
    with pytest.raises(InputError, match="1 video that is stored is not in .* any more, or empty, e.g. videos/clip 03"):
        run(clip_folder_copy, out)
    assert hashes(out) == before


def test_a_folder_without_any_listed_video_is_named(clip_folder_copy, out):
    before = hashes(out)
    (clip_folder_copy / "videos").rename(clip_folder_copy / "elsewhere")
    with pytest.raises(InputError, match="not one of the 12 listed videos is in .*clips, e.g. videos/clip 00.mp4"):
        run(clip_folder_copy, out)
    assert hashes(out) == before


def test_a_method_that_cannot_run_here_is_refused_before_anything_changes(clip_folder, out):
    before = hashes(out)
    flow = ExtractParameters(flow=FlowParameters(height=48, width=64, method="opencv-cuda-tvl1"))
    with pytest.raises(InputError, match="sees no CUDA device"):
        run(clip_folder, out, flow, replace=True)
    assert hashes(out) == before


def test_a_video_that_came_back_is_extracted(clip_folder_copy, tmp_path):
    manifest = index_dataset("folder", clip_folder_copy)
    video, away = clip_folder_copy / "videos/clip 05.mp4", clip_folder_copy / "away.mp4"
    video.rename(away)
    options = {"out": tmp_path / "out", "num_workers": 2}
    assert sum(row.reason == "missing" for row in run_extraction(manifest, FRAMES, **options).ledger) == 2
    away.rename(video)
    assert sum(row.reason == "missing" for row in run_extraction(manifest, FRAMES, **options).ledger) == 1


def test_reused_rows_have_todays_labels_split_and_path(clip_folder_copy, out):
    listed = clip_folder_copy / "videos.csv"
    listed.write_text(listed.read_text().replace("clip 05.mp4,train,left", "clip 05.mov,test,right"))
    (clip_folder_copy / "videos/clip 05.mp4").rename(clip_folder_copy / "videos/clip 05.mov")
    summary = run(clip_folder_copy, out)
    assert summary.num_shards_made == 1 and summary.num_reused >= 1
    row = next(row for row in summary.ledger if row.video_id == "videos/clip 05")
    video = next(video for video in ShardReader(out).videos if video.video_id == "videos/clip 05")
    assert (row.split, row.labels) == (video.split, video.labels) == ("test", (1,))
    assert row.path == "videos/clip 05.mov"
    stored = ShardReader(out)
    assert stored.read("videos/clip 05").data.shape[0] == 13


def test_a_finished_folder_stays_so_until_what_is_new_is_there(clip_folder_copy, out, monkeypatch):
    shutil.copy(clip_folder_copy / "videos/clip 09.mp4", clip_folder_copy / "videos/clip 03.mp4")
    before, seen = hashes(out), []
    monkeypatch.setattr(
        "tdn_data.pipeline.extraction.engine.run_jobs", lambda jobs, **options: seen.append(hashes(out)) or []
    )
    monkeypatch.setattr(
        "tdn_data.pipeline.shards.storage.Storage.adopt", lambda *_: seen.append((out / DATASET_NAME).exists())
    )
    with contextlib.suppress(PipelineError):
        run(clip_folder_copy, out)
    assert seen == [before, False]


@pytest.mark.parametrize(
    ("reason", "name"), [("timeout", "seconds_per_video"), ("too_large", "max_pixels"), ("too_large", "memory_bytes")]
)
def test_the_limit_that_stopped_a_video_is_kept_with_it(reason, name):
    limits = FRAMES.limits
    stopped = cache.limits_that_stopped(reason, limits)
    row = LedgerRow("v", "rgb", "v.mp4", "train", (0,), "failed", reason, limits=stopped)
    assert not cache._limit_was_raised(row, limits)
    assert cache._limit_was_raised(row, limits.model_copy(update={name: getattr(limits, name) * 2}))
    assert not cache._limit_was_raised(row, limits.model_copy(update={name: getattr(limits, name) / 2}))
