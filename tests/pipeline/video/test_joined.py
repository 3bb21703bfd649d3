"""Recordings written one after another into one file: all that is read comes in order, the rest is reported."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.extraction.one_shard import ShardJob, extract_shard
from tdn_data.pipeline.parameters import ExtractParameters, FrameParameters
from tdn_data.pipeline.shards.plan import plan_shards
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.video import iter_frames, probe, sample_frames
from tdn_data.pipeline.video.joined import OTHER_FILE, OTHER_PROGRAM

OTHER_PIDS = {"mpegts_start_pid": "512", "mpegts_pmt_start_pid": "4352", "mpegts_service_id": "2"}


def join(*paths, between=b""):
    """One file of the bytes of several."""
    joined = paths[0].with_name(f"joined{paths[0].suffix}")
    joined.write_bytes(between.join(path.read_bytes() for path in paths))
    return joined


@pytest.fixture
def programs(make_clip):
    """Two transport streams of one program each, with other identifiers: 50 pictures and 20."""
    first = make_clip("a.ts", num_frames=50)
    return first, make_clip("b.ts", num_frames=20, container_options=OTHER_PIDS)


def test_the_second_program_of_joined_broadcasts_is_reported(programs):
    path = join(*programs)
    batch = sample_frames(path, every_seconds=0.5)
    assert batch.frame_index.tolist() == [0, 12, 25, 37]
    assert (batch.problem, batch.note) == (None, OTHER_PROGRAM)
    assert len(list(iter_frames(path))) == 50
    assert probe(path).width == 96


def test_the_first_program_is_reported_where_the_second_is_read(make_clip):
    first = make_clip("a.ts", num_frames=5)
    second = make_clip("b.ts", num_frames=50, container_options=OTHER_PIDS)
    batch = sample_frames(join(first, second))
    assert len(batch) in (5, 50)  # FFmpeg chooses
    assert batch.note == OTHER_PROGRAM


def test_stray_bytes_between_the_programs_hide_nothing(programs):
    assert sample_frames(join(*programs, between=b"\x47" + b"stray" * 33)).note == OTHER_PROGRAM


def test_pieces_of_one_program_are_all_read(make_clip):
    first, second = make_clip("a.ts", num_frames=30), make_clip("b.ts", num_frames=20)
    batch = sample_frames(join(first, second))
    assert batch.frame_index.tolist() == list(range(50))
    assert (batch.problem, batch.note, batch.decoding) == (None, None, "full")


def test_pieces_whose_times_overlap_give_the_same_sparsely_and_whole(make_clip):
    options = {"options": {"x264-params": "keyint=12:bframes=2:b-adapt=0"}}
    first, second = make_clip("a.ts", num_frames=60, **options), make_clip("b.ts", num_frames=40, **options)
    path = join(first, second)
    every = sample_frames(path)
    assert every.frame_index.tolist() == list(range(100))
    assert (np.diff(every.pts_seconds) > 0).all()
    for step in (0.2, 0.52, 1.0):
        batch = sample_frames(path, every_seconds=step)
        whole = list(iter_frames(path, every_seconds=step, decoding="full"))
        assert batch.frame_index.tolist() == [frame.frame_index for frame in whole]
        np.testing.assert_array_equal(batch.data, every.data[batch.frame_index])
        np.testing.assert_array_equal(batch.data, [frame.data for frame in whole])


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mov", "libx264"), ("a.flv", "flv"), ("a.wmv", "wmv2")]
)
def test_a_file_behind_a_file_is_reported(make_clip, name, codec):
    first, second = make_clip(name, codec=codec, num_frames=30), make_clip(f"b{name}", codec=codec, num_frames=30)
    assert sample_frames(first).note is None
    batch = sample_frames(join(first, second))
    assert len(batch) == 30
    assert batch.note == OTHER_FILE


def test_only_the_first_of_two_joined_gifs_is_read(make_clip):
    first, second = (make_clip(name, codec="gif", pixel_format="rgb8", num_frames=9) for name in ("a.gif", "b.gif"))
    whole, batch = sample_frames(first), sample_frames(join(first, second))
    np.testing.assert_array_equal(batch.data, whole.data)
    assert (batch.problem, batch.note) == (None, OTHER_FILE)


def test_a_plain_file_behind_a_fragmented_one_is_reported(make_clip):
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    first, second = make_clip("a.mp4", container_options=fragments), make_clip("b.mp4")
    assert sample_frames(first).note is None
    assert sample_frames(join(first, second)).note == OTHER_FILE


def test_segments_that_repeat_their_header_are_one_movie(make_clip):
    flags = "frag_keyframe+empty_moov+default_base_moof"  # offsets count from their own fragment
    path = make_clip("a.mp4", options={"g": "10"}, container_options={"movflags": flags})
    data = path.read_bytes()
    header, fragment = data[: data.index(b"moof") - 4], data.rindex(b"moof") - 4
    path.write_bytes(data[:fragment] + header + data[fragment:])
    batch = sample_frames(path)
    assert (len(batch), batch.problem, batch.note) == (60, None, None)


def test_the_ledger_carries_what_is_not_read(programs, tmp_path):
    join(*programs)
    (tmp_path / "videos.csv").write_text("path,split,labels\njoined.ts,train,x\n")
    parameters = ExtractParameters(frames=FrameParameters(fps=5, height=32, width=48))
    (plan,) = (plan for plan in plan_shards(index_dataset("folder", tmp_path), parameters, "rgb") if plan.records)
    storage = Storage(tmp_path / "out")
    storage.create()
    (row,) = extract_shard(ShardJob(plan, parameters, "folder", str(tmp_path), storage)).ledger
    assert (row.status, row.reason, row.message) == ("ok", None, OTHER_PROGRAM)
