"""What a full decode gives after damage: only pictures that nothing damaged went into."""

from __future__ import annotations

import av
import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.bitstream import packet_reader

GROUPS = {"x264-params": "keyint=20:bframes=2:b-adapt=0:b-pyramid=none:scenecut=0"}


def change_packets(path, numbers, change):
    """Replace packets of a file, by their number in decoding order, by as many bytes: `change(bytes)`."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    for number in numbers:
        assert data.count(packets[number]) == 1
        data = data.replace(packets[number], change(packets[number]))
    path.write_bytes(data)
    return path


def second_half_zero(packet):
    """As a transfer that stopped leaves it."""
    return packet[: len(packet) // 2] + bytes(len(packet) - len(packet) // 2)


def keep_from(source, target, first):
    """Copy the packets from number `first` on, as a recording that began in the middle has them."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        copy = writer.add_stream_from_template(reader.streams.video[0])
        for packet in [packet for packet in reader.demux(video=0) if packet.size][first:]:
            packet.stream = copy
            writer.mux(packet)
    return target


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.mov", "mpeg2video"), ("a.avi", "h263p")])
def test_pictures_predicted_from_a_damaged_one_are_left_out(make_clip, name, codec):
    path = make_clip(name, codec=codec, num_frames=36, size=(96, 128), options={"g": "12", "qscale": "2"})
    whole = sample_frames(path)
    batch = sample_frames(change_packets(path, [5], second_half_zero))
    assert batch.problem.reason == "corrupt"
    shown = np.round(batch.pts_seconds * 25).astype(int).tolist()
    assert shown[:5] == list(range(5)) and shown[-24:] == list(range(12, 36))
    np.testing.assert_array_equal(batch.data, whole.data[shown])


def test_pictures_shown_before_the_damaged_one_they_look_forward_to_are_left_out(make_clip):
    path = make_clip("a.mp4", codec="mpeg2video", num_frames=36, options={"g": "12", "qscale": "2"}, max_b_frames=2)
    whole = sample_frames(path)
    batch = sample_frames(change_packets(path, [4], second_half_zero))  # the P behind I P b b
    shown = np.round(batch.pts_seconds * 25).astype(int).tolist()
    np.testing.assert_array_equal(batch.data, whole.data[shown])
    assert not {4, 5} & set(shown)
    assert set(range(12, 36)) <= set(shown)


@pytest.mark.parametrize("filling", [b"\0", b"\xff"])
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mp4", "mpeg4"), ("a.mp4", "mpeg2video"), ("a.avi", "flv")]
)
def test_a_packet_of_nothing_is_damage_and_not_a_picture_fewer(make_clip, name, codec, filling):
    options = {"g": "12", "bf": "0"} if codec == "libx264" else {"g": "12", "qscale": "2"}
    path = make_clip(name, codec=codec, num_frames=36, options=options)
    whole = sample_frames(path)
    batch = sample_frames(change_packets(path, [16], lambda packet: filling * len(packet)))
    assert batch.problem.reason == "corrupt"
    shown = np.round(batch.pts_seconds * 25).astype(int).tolist()
    assert shown == [*range(16), *range(24, 36)]
    np.testing.assert_array_equal(batch.data, whole.data[shown])


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mpeg4"), ("a.3gp", "h263"), ("a.avi", "msmpeg4"), ("a.flv", "flv")]
)
def test_what_has_no_beginning_is_not_shown(make_clip, name, codec):
    size = (144, 176) if codec == "h263" else (64, 96)
    path = make_clip(name, codec=codec, num_frames=36, size=size, options={"g": "12", "qscale": "2"})
    whole = sample_frames(path)
    batch = sample_frames(keep_from(path, path.with_name(f"late {name}"), 5))
    assert batch.problem is None
    np.testing.assert_array_equal(batch.data, whole.data[12:])


def test_decoding_goes_on_where_the_bits_say_so_and_not_the_container(make_clip):
    path = make_clip("a.mkv", num_frames=60, options=GROUPS)
    with av.open(str(path)) as reader, av.open(str(path.with_name("b.mkv")), "w") as writer:
        copy = writer.add_stream_from_template(reader.streams.video[0])
        for packet in (packet for packet in reader.demux(video=0) if packet.size):
            packet.is_keyframe, packet.stream = False, copy
            writer.mux(packet)
    unflagged = change_packets(path.with_name("b.mkv"), [24], lambda packet: b"\xff" * len(packet))
    batch = sample_frames(unflagged)
    assert batch.problem.reason == "corrupt"
    assert set(range(40, 60)) <= set(np.round(batch.pts_seconds * 25).astype(int).tolist())


@pytest.mark.parametrize(
    "codec", ["h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "h263", "flv1", "vp9", "av1", "msmpeg4v1"]
)
@pytest.mark.parametrize("packet", [bytes(100), b"\xff" * 100])
def test_readers_know_what_is_no_packet_of_theirs(codec, packet):
    assert packet_reader(codec, None, intra_only=False)(memoryview(packet)).broken
