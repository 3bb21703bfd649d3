"""Where a full decode takes over from sparse decoding: what was given before agrees with it, or is given again."""

from __future__ import annotations

import av
import numpy as np
import pytest

from tdn_data.pipeline.extraction.one_shard import VideoJob, extract_video
from tdn_data.pipeline.images import decode_image
from tdn_data.pipeline.parameters import FlowParameters, FrameParameters
from tdn_data.pipeline.video import GivenFramesError, iter_frames, sample_frames

GROUPS = {"options": {"x264-params": "keyint=20:bframes=2:b-adapt=0:b-pyramid=none"}}
HEAD = 16  # bytes of a packet that say which picture it is


def spoil(path, numbers):
    """Spoil packets of an MP4, by their number in decoding order, behind the bytes that say what they are."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in (places[number] for number in numbers):
        data[position + HEAD : position + size] = b"\xff" * (size - HEAD)
    path.write_bytes(data)
    return path


@pytest.fixture
def spoiled_late(make_clip):
    """60 pictures at 10 a second; the third keyframe, that of picture 40, is damaged."""
    return spoil(make_clip("late.mp4", fps=10, **GROUPS), [40])


@pytest.fixture
def spoiled_twice(make_clip):
    """As `spoiled_late`, and one that sparse decoding leaves out: in a full decode the rest of its group is gone."""
    return spoil(make_clip("twice.mp4", fps=10, **GROUPS), [3, 40])


def test_a_sound_stream_is_decoded_sparsely(make_clip):
    path = make_clip("a.mp4", fps=10, **GROUPS)
    assert sample_frames(path, every_seconds=1).decoding == "sparse"
    frames = iter_frames(path, every_seconds=1)
    next(frames)
    assert frames.decoding == "sparse"


def test_a_stream_that_proves_nothing_is_decoded_whole_and_says_so(make_clip):
    path = make_clip("a.mkv", **GROUPS)
    with av.open(str(path)) as reader, av.open(str(path.with_name("b.mkv")), "w") as writer:
        copy = writer.add_stream_from_template(reader.streams.video[0])
        for number, packet in enumerate(packet for packet in reader.demux(video=0) if packet.size):
            packet.pts = packet.dts = 40 * number  # ms, in the order of decoding
            packet.stream = copy
            writer.mux(packet)
    path = path.with_name("b.mkv")
    assert sample_frames(path, every_seconds=1).decoding == "full"


def test_sparse_decoding_says_full_once_it_had_to_give_up(spoiled_late):
    frames = iter_frames(spoiled_late, every_seconds=1)
    seen = []
    with pytest.raises(Exception, match="5 of 6 frames|4 of 6 frames"):
        seen.extend((frame.frame_index, frames.decoding) for frame in frames)
    assert seen[0] == (0, "sparse")
    assert frames.decoding == "full"
    assert [index for index, _ in seen] == sorted(index for index, _ in seen)


def test_frames_that_a_full_decode_numbers_otherwise_are_taken_back(spoiled_twice):
    given = []
    with pytest.raises(GivenFramesError, match="ask for them again with decoding='full'"):
        given.extend(frame.frame_index for frame in iter_frames(spoiled_twice, every_seconds=1))
    assert given == [0, 10, 20, 30]


def test_a_batch_starts_again_with_the_full_decode(spoiled_twice):
    batch = sample_frames(spoiled_twice, every_seconds=1)
    assert batch.decoding == "full"
    assert (np.diff(batch.frame_index) > 0).all()
    assert batch.frame_index.tolist()[:3] == [0, 3, 13]
    np.testing.assert_allclose(batch.pts_seconds[:3], [0, 2, 3])


@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_rows_of_a_video_come_from_one_way_of_decoding(spoiled_twice, modality):
    section = {
        "rgb": FrameParameters(every_seconds=1, height=64, width=96, codec="png"),
        "flow": FlowParameters(fps=1, height=64, width=96, codec="png", bound=20),
    }[modality]
    extraction = extract_video(VideoJob(str(spoiled_twice), modality, section, 1 << 20))
    batch = sample_frames(spoiled_twice, every_seconds=1)
    count = len(extraction.rows)
    assert extraction.decoding == "full"
    assert extraction.problem is not None
    assert extraction.rows.frame_index.tolist() == batch.frame_index.tolist()[:count]
    if modality == "rgb":
        stored = [
            decode_image(one, codec="png", height=64, width=96, channels=3) for one in extraction.rows.payloads["image"]
        ]
        np.testing.assert_array_equal(stored, batch.data)


def test_the_whole_decode_can_be_asked_for_and_gives_the_same(make_clip):
    path = make_clip("a.mp4", fps=10, **GROUPS)
    sparse = list(iter_frames(path, fps=3))
    whole = iter_frames(path, fps=3, decoding="full")
    for first, second in zip(sparse, whole, strict=True):
        assert (first.frame_index, first.pts_seconds) == (second.frame_index, second.pts_seconds)
        np.testing.assert_array_equal(first.data, second.data)
    assert whole.decoding == "full"


def test_an_unknown_way_of_decoding_is_named():
    with pytest.raises(ValueError, match="decoding is 'some'; it must be one of sparse, full"):
        iter_frames("no such file.mp4", decoding="some")
