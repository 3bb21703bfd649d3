"""One shard's work without Ray: statuses, take-over of earlier rows, bytes."""

import dataclasses
import errno
import os
import shutil
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.extraction.one_shard import (
    ShardJob,
    VideoJob,
    _sandbox,
    extract_in_sandbox,
    extract_shard,
    extract_video,
)
from tdn_data.pipeline.files import check_video_file
from tdn_data.pipeline.flow import dequantize
from tdn_data.pipeline.images import decode_image
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters, Limits
from tdn_data.pipeline.shards.plan import plan_shards
from tdn_data.pipeline.shards.shard_formats import open_shard
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.video import sample_frames, write_video

FRAMES = FrameParameters(fps=5, height=48, width=64, codec="png")
MAX_PIXELS = 1 << 20


def jobs_for(root, out, *, modality="rgb", **parameters):
    section = {"rgb": {"frames": FRAMES}, "flow": {"flow": FlowParameters(height=48, width=64, bound=20)}}[modality]
    chosen = ExtractParameters(**section, **parameters)
    manifest = index_dataset("folder", root)
    storage = Storage(out)
    storage.create()
    plans = plan_shards(manifest, chosen, modality)
    return [ShardJob(plan, chosen, "folder", str(root), storage) for plan in plans if plan.records]


def test_stored_frames_are_the_decoded_ones(clip_folder):
    path = str(clip_folder / "videos/clip 03.mp4")
    rows = extract_video(VideoJob(path, "rgb", FRAMES, MAX_PIXELS)).rows
    batch = sample_frames(path, fps=5, size=(48, 64))
    images = [decode_image(data, codec="png", height=48, width=64, channels=3) for data in rows.payloads["image"]]
    np.testing.assert_array_equal(np.stack(images), batch.data)
    np.testing.assert_array_equal(rows.pts_seconds, batch.pts_seconds)


def test_stored_flow_is_the_motion_of_the_texture(clip_folder):
    section = FlowParameters(codec="png", bound=20)
    rows = extract_video(VideoJob(str(clip_folder / "videos/clip 03.mp4"), "flow", section, MAX_PIXELS)).rows
    assert len(rows) == 10 and rows.bound == 20
    np.testing.assert_allclose(rows.next_pts_seconds - rows.pts_seconds, 0.1, atol=1e-6)
    x = decode_image(rows.payloads["flow_x"][4], codec="png", height=48, width=64, channels=1)
    assert np.median(dequantize(x, 20.0)) == pytest.approx(-1, abs=0.15)  # the texture moves one pixel to the left
    means = rows.mean_statistics()
    assert 0 <= means["clipped_share"] < 0.01 and 0.5 < means["mean_magnitude"] < 2


def numbered_clip(path, num_frames, *, fps=25):
    """Write a texture that moves to the left by 0, 1, 2, 3, 4, 0, 1, ... pixels from each picture to the next."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(64, 400)).astype(np.float32), (0, 0), 2)
    texture = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    places = np.cumsum([max(number - 1, 0) % 5 for number in range(num_frames)])
    write_video(path, np.stack([np.stack([texture[:, at : at + 96]] * 3, -1) for at in places]), fps=fps)


def test_native_pairs_are_each_sampled_frame_and_the_videos_own_next_one(tmp_path):
    numbered_clip(tmp_path / "a.mp4", 60)
    section = FlowParameters(fps=3, pairs="native", codec="png", bound=20)
    extraction = extract_video(VideoJob(str(tmp_path / "a.mp4"), "flow", section, MAX_PIXELS))
    rows, batch = extraction.rows, sample_frames(tmp_path / "a.mp4", fps=3)
    assert extraction.num_expected == len(rows) == 8
    assert extraction.decoding == "sparse"
    assert rows.frame_index.tolist() == batch.frame_index.tolist() == [0, 8, 16, 25, 33, 41, 50, 58]
    np.testing.assert_allclose(rows.next_pts_seconds - rows.pts_seconds, 1 / 25, atol=1e-6)
    moves = [
        np.median(dequantize(decode_image(data, codec="png", height=64, width=96, channels=1), 20.0))
        for data in rows.payloads["flow_x"]
    ]
    np.testing.assert_allclose(moves, [-(index % 5) for index in rows.frame_index], atol=0.3)


def test_spans_of_native_pairs_are_those_of_the_whole_video(tmp_path):
    numbered_clip(tmp_path / "a.mp4", 60)
    section = FlowParameters(fps=3, pairs="native", codec="png", method="farneback")
    job = VideoJob(str(tmp_path / "a.mp4"), "flow", section, MAX_PIXELS)
    whole, parts = extract_video(job).rows, [extract_video(replace(job, span=span)).rows for span in ((0, 3), (3, 99))]
    assert [part.frame_index.tolist() for part in parts] == [[0, 8, 16], [25, 33, 41, 50, 58]]
    assert [one for part in parts for one in part.payloads["flow_y"]] == whole.payloads["flow_y"]


def test_native_pairs_end_with_the_last_frame_and_at_the_seconds_asked_for(tmp_path):
    numbered_clip(tmp_path / "a.mp4", 9)

    def starts(**changes):
        section = FlowParameters(pairs="native", method="farneback", **changes)
        extraction = extract_video(VideoJob(str(tmp_path / "a.mp4"), "flow", section, MAX_PIXELS))
        assert extraction.num_expected == len(extraction.rows)
        return extraction.rows.frame_index.tolist()

    assert starts(fps=3) == [0]  # frame 8, on screen at 1/3 s, is the last
    assert starts(fps=100) == list(range(8))  # a frame that is on screen twice gives one pair
    assert starts(fps=100, max_seconds=0.2) == [0, 1, 2, 3]


def test_a_video_that_does_not_open_raises_with_its_reason(clip_folder):
    with pytest.raises(VideoError) as caught:
        extract_video(VideoJob(str(clip_folder / "videos/garbage.mp4"), "rgb", FRAMES, MAX_PIXELS))
    assert caught.value.reason == "unreadable"
    with pytest.raises(VideoError) as caught:
        extract_video(VideoJob(str(clip_folder / "videos/clip 03.mp4"), "rgb", FRAMES, 1000))
    assert caught.value.reason == "too_large"


def test_every_video_of_a_shard_is_in_its_ledger(clip_folder, tmp_path):
    ledger = [row for job in jobs_for(clip_folder, tmp_path) for row in extract_shard(job).ledger]
    statuses = {row.video_id: (row.status, row.reason) for row in ledger}
    assert len(statuses) == 12
    assert statuses["videos/garbage"] == ("failed", "unreadable")
    assert statuses["videos/missing"] == ("failed", "missing")
    assert sum(status == ("ok", None) for status in statuses.values()) == 10
    assert all(row.num_stored == row.num_expected for row in ledger if row.status == "ok")
    assert not any(str(clip_folder) in (row.message or "") for row in ledger)
    assert {row.decoding for row in ledger if row.status == "ok"} == {"sparse"}
    assert {row.decoding for row in ledger if row.status == "failed"} == {None}


def test_a_video_cut_in_half_keeps_its_good_frames(cut_video, tmp_path):
    (job,) = jobs_for(cut_video, tmp_path / "out")
    (row,) = extract_shard(job).ledger
    assert (row.status, row.reason) == ("partial", "truncated")
    assert 0 < row.num_stored < row.num_expected


def test_rows_of_an_earlier_shard_are_taken_over_and_the_bytes_are_the_same(clip_folder_copy, tmp_path):
    jobs = jobs_for(clip_folder_copy, tmp_path / "out")
    before = {job.plan.name: extract_shard(job) and (tmp_path / "out" / job.plan.name).read_bytes() for job in jobs}
    num_ok = 0
    for job in jobs:
        again = extract_shard(ShardJob(**{**vars(job), "sources": (job.plan.name,)}))
        assert (tmp_path / "out" / job.plan.name).read_bytes() == before[job.plan.name]
        num_ok += again.num_reused
    assert num_ok == 10


def test_a_changed_file_is_decoded_again(clip_folder_copy, tmp_path):
    for job in jobs_for(clip_folder_copy, tmp_path / "out"):
        extract_shard(job)
    shutil.copy(clip_folder_copy / "videos/clip 09.mp4", clip_folder_copy / "videos/clip 00.mp4")
    changed = jobs_for(clip_folder_copy, tmp_path / "out")
    results = [extract_shard(ShardJob(**{**vars(job), "sources": (job.plan.name,)})) for job in changed]
    assert sum(result.num_reused for result in results) == 9
    rows = {row.video_id: row for result in results for row in result.ledger}
    assert rows["videos/clip 00"].num_stored == rows["videos/clip 09"].num_stored


def test_a_timeout_is_a_ledger_row(clip_folder, tmp_path):
    job = jobs_for(clip_folder, tmp_path)[0]
    limits = job.parameters.limits.model_copy(update={"seconds_per_video": 1e-6})
    hurried = job.parameters.model_copy(update={"limits": limits})
    result = extract_shard(ShardJob(**{**vars(job), "parameters": hurried}))
    assert "timeout" in {row.reason for row in result.ledger}
    assert open_shard(job.storage, result.name).entries() == []


def test_frames_from_max_seconds_on_are_left_out(clip_folder):
    path = str(clip_folder / "videos/clip 09.mp4")  # 17 frames at 10 a second
    for grid, expected in (({}, 10), ({"fps": 5}, 5), ({"every_seconds": 0.3}, 4)):
        rows = extract_video(VideoJob(path, "rgb", FrameParameters(**grid, max_seconds=1.0), MAX_PIXELS)).rows
        assert len(rows) == expected


def test_a_bad_row_costs_one_ledger_row_in_plain_words(clip_folder, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(clip_folder, root)
    os.mkfifo(root / "videos/fifo.mp4")
    (root / "videos/list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nclip 03.mp4\n")
    jobs = jobs_for(root, tmp_path / "out")
    job = next(job for job in jobs if "videos/garbage.mp4" in {record.path for record in job.plan.records})
    num_good = sum(record.fingerprint is not None for record in job.plan.records) - 1  # garbage has one too
    names = ["videos/fifo.mp4", "videos/list.m3u8", "videos/" + "n" * 300 + ".mp4", "videos/clip 03.mp4/x.mp4"]
    records = [replace(job.plan.records[0], video_id=name, path=name, fingerprint=None) for name in names]
    job = replace(job, plan=replace(job.plan, records=(*records, *job.plan.records)))
    rows = {row.path: row for row in extract_shard(job).ledger}
    assert {name: (rows[name].reason, rows[name].message) for name in names} == {
        "videos/fifo.mp4": ("unreadable", "the file is a FIFO; the video must be a regular file."),
        "videos/list.m3u8": ("unsupported", "the file is a playlist or of another kind that is not read here"),
        names[2]: ("missing", "the video has a name that is too long for any file."),
        names[3]: ("missing", "the video does not exist: a part of its path is no folder."),
    }
    assert rows["videos/garbage.mp4"].message.startswith("the file cannot be opened as a video (invalid data")
    assert sum(row.status == "ok" for row in rows.values()) == num_good
    assert not any(str(root) in (row.message or "") for row in rows.values())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_says_permission_denied(clip_folder_copy, tmp_path):
    (clip_folder_copy / "videos").chmod(0)
    try:
        messages = {row.message for job in jobs_for(clip_folder_copy, tmp_path) for row in extract_shard(job).ledger}
    finally:
        (clip_folder_copy / "videos").chmod(0o755)
    assert messages == {"the video may not be read (permission denied)."}


def test_a_refusal_to_open_is_reported_in_words(clip_folder, tmp_path, monkeypatch):
    def refuse(path, *arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(VideoError) as caught:
        check_video_file(clip_folder / "videos/clip 03.mp4")
    assert (caught.value.reason, caught.value.sentence) == (
        "unreadable",
        "the video may not be read (permission denied).",
    )


def test_the_quality_of_a_jpeg_is_the_one_asked_for(clip_folder):
    path = str(clip_folder / "videos/clip 03.mp4")
    for modality, make in (("rgb", FrameParameters), ("flow", FlowParameters)):
        sizes = {}
        for quality in (10, 95):
            rows = extract_video(VideoJob(path, modality, make(codec="jpeg", quality=quality), MAX_PIXELS)).rows
            sizes[quality] = rows.num_bytes()
            first = next(iter(rows.payloads.values()))[0]
            assert _luminance_table(first)[0] == {10: 80, 95: 2}[quality]  # 16 of the standard's table, scaled
        assert sizes[10] < sizes[95]


def _luminance_table(jpeg: bytes) -> bytes:
    """The 64 divisors of a JPEG's first quantisation table."""
    start = jpeg.index(b"\xff\xdb") + 5
    return jpeg[start : start + 64]


@pytest.fixture
def cut_video(tmp_path):
    """A folder with one video of ten seconds that breaks off in its middle."""
    root = tmp_path / "cut"
    root.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (100, 64, 96, 3), dtype=np.uint8)
    with av.open(str(root / "whole.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "20"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for picture in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    whole = (root / "whole.mkv").read_bytes()
    (root / "whole.mkv").unlink()
    (root / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    (root / "videos.csv").write_text("path,split,labels\ncut.mkv,train,x\n")
    return root


def test_flow_of_a_broken_video_expects_one_pair_fewer_than_frames(cut_video):
    path = str(cut_video / "cut.mkv")
    small = {"height": 32, "width": 32, "fps": 2}
    frames = extract_video(VideoJob(path, "rgb", FrameParameters(**small), MAX_PIXELS))
    flow = extract_video(VideoJob(path, "flow", FlowParameters(**small, method="farneback"), MAX_PIXELS))
    assert frames.problem is not None and flow.problem is not None
    assert (len(flow.rows), flow.num_expected) == (len(frames.rows) - 1, frames.num_expected - 1)


def test_retrying_decodes_a_partial_video_again_and_continuing_does_not(cut_video, tmp_path):
    (job,) = jobs_for(cut_video, tmp_path / "out")
    extract_shard(job)
    continued = dataclasses.replace(job, sources=(job.plan.name,))
    assert extract_shard(continued).num_reused == 1
    assert extract_shard(dataclasses.replace(continued, retry_failed=True)).num_reused == 0


@pytest.fixture
def growing_video(tmp_path):
    """A folder with one video of four small pictures, then two of 8176 x 8176."""
    root = tmp_path / "growing"
    root.mkdir()
    for name, side, count in (("small", 64, 4), ("large", 8176, 2)):
        with av.open(str(tmp_path / name), "w", format="m4v") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width = stream.height = side
            for grey in range(40, 40 + count):
                picture = av.VideoFrame.from_ndarray(np.full((side, side, 3), grey, np.uint8), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    with av.open(str(root / "growing.avi"), "w") as grown:
        for number, name in enumerate(("small", "large")):
            with av.open(str(tmp_path / name)) as part:
                stream = grown.streams.video[0] if number else grown.add_stream_from_template(part.streams.video[0])
                for position, packet in enumerate(packet for packet in part.demux(video=0) if packet.size):
                    packet.pts = packet.dts = (position + 4 * number) * packet.duration
                    packet.stream = stream
                    grown.mux(packet)
    (root / "videos.csv").write_text("path,split,labels\ngrowing.avi,train,x\n")
    return root


def test_what_memory_stopped_in_the_middle_is_decoded_again_with_more_of_it(growing_video, tmp_path):
    (job,) = jobs_for(growing_video, tmp_path / "out", limits=Limits(memory_bytes=460 << 20))
    (row,) = extract_shard(job).ledger
    assert (row.status, row.reason, row.num_stored) == ("partial", "too_large", 2)
    again = dataclasses.replace(job, sources=(job.plan.name,))
    assert extract_shard(again).num_reused == 1
    _sandbox.cache_clear()
    more = job.parameters.model_copy(update={"limits": Limits()})
    result = extract_shard(dataclasses.replace(again, parameters=more))
    assert (result.num_reused, result.ledger[0].status, result.ledger[0].num_stored) == (0, "ok", 3)


def test_the_memory_limit_reaches_the_decoding_process(clip_folder, tmp_path, monkeypatch):
    seen = []

    class Guard:
        def __init__(self, function, *, memory_bytes, **more):
            seen.append(memory_bytes)

        def call(self, job, *, timeout_seconds, **more):
            seen.append(timeout_seconds)
            raise VideoError("timeout", "too slow")

    monkeypatch.setattr("tdn_data.pipeline.extraction.one_shard.Sandbox", Guard)
    _sandbox.cache_clear()
    limits = Limits(seconds_per_video=7, memory_bytes=1 << 29)
    with pytest.raises(VideoError):
        extract_in_sandbox(VideoJob(str(clip_folder / "videos/clip 03.mp4"), "rgb", FRAMES, MAX_PIXELS), limits)
    _sandbox.cache_clear()
    assert seen == [1 << 29, 7]


def test_earlier_shards_are_closed_when_a_shard_fails(clip_folder, tmp_path, monkeypatch):
    job = next(job for job in jobs_for(clip_folder, tmp_path) if job.plan.records)
    extract_shard(job)
    closed = []
    monkeypatch.setattr("tdn_data.pipeline.extraction.one_shard._EarlierRows.close", lambda self: closed.append(True))
    monkeypatch.setattr("tdn_data.pipeline.extraction.one_shard._check_written", lambda *words: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extract_shard(dataclasses.replace(job, sources=(job.plan.name,)))
    assert closed == [True]
