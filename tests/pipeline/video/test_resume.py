"""Decoding goes on behind a loss as early as it can, and a stream that is whole is not called cut off."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.continuity import breaks
from tdn_data.pipeline.video.packet_facts import PacketFacts
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import encoded


def write_changed(path, name, change):
    """A Matroska file of stream `name` with its packets as `change` returns them; its keys' places in the file."""
    stream = encoded(name)
    packets = stamp(stream, TIMINGS["cfr"])
    write(path, stream, CONTAINERS["mkv"], TIMINGS["cfr"], change(packets))
    return [number for number, entry in enumerate(packets) if entry.packet.key], packets


def test_damage_that_shows_behind_the_next_key_picture_spoils_nothing_from_there_on(tmp_path):
    def spoil_second_key(packets):
        at = [number for number, entry in enumerate(packets) if entry.packet.key][1]
        data = packets[at].packet.data
        spoiled = replace(packets[at].packet, data=data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
        end = next(number for number in range(at + 1, len(packets)) if packets[number].packet.key)
        return [*packets[:at], replace(packets[at], packet=spoiled), *packets[end:]]

    keys, packets = write_changed(tmp_path / "a.mkv", "h264-b2-gop12", spoil_second_key)
    batch = sample_frames(tmp_path / "a.mkv")
    numbers = [read_number(image) for image in batch.data]
    assert batch.problem.reason == "corrupt"
    assert numbers == [n for n in range(40) if n < packets[keys[1]].number or n >= packets[keys[2]].number]


def test_a_loss_before_an_open_group_costs_its_leading_pictures_alone(tmp_path):
    def lose_three_before_second_key(packets):
        at = [number for number, entry in enumerate(packets) if entry.packet.key][1]
        return [*packets[: at - 3], *packets[at:]]

    keys, packets = write_changed(tmp_path / "a.mkv", "hevc-b3-gop12-open", lose_three_before_second_key)
    batch = sample_frames(tmp_path / "a.mkv")
    numbers = [read_number(image) for image in batch.data]
    key = packets[keys[1]].number
    assert batch.problem.reason == "corrupt"
    assert [number for number in numbers if number >= key] == list(range(key, 40))
    for number, image in zip(numbers, batch.data, strict=True):
        assert np.array_equal(image, encoded("hevc-b3-gop12-open").reference[number])


def test_a_hole_among_pictures_of_unknown_places_breaks_what_follows():
    facts = [PacketFacts(shown=False), PacketFacts(order=5), PacketFacts(order=3, bidirectional=True)]
    assert breaks(facts, [None, 5, 3], [2]).tolist() == [False, True, False]


def write_with_sound(path, *, seconds):
    """Two seconds of video beside `seconds` of sound."""
    with av.open(str(path), "w", format="asf") as container:
        video = container.add_stream("wmv2", rate=25)
        video.height, video.width, video.pix_fmt = 64, 96, "yuv420p"
        sound = container.add_stream("mp2", rate=16000)
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 4 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16000 * seconds), np.int16), format="s16", layout="mono")
        samples.sample_rate, samples.pts = 16000, 0
        resampler = av.AudioResampler(sound.format, sound.layout, 16000, frame_size=sound.frame_size)
        for piece in resampler.resample(samples):
            container.mux(sound.encode(piece))
        container.mux(sound.encode(None))


def test_sound_that_lasts_longer_is_no_loss_of_pictures_in_asf(tmp_path):
    write_with_sound(tmp_path / "a.wmv", seconds=6)
    batch = sample_frames(tmp_path / "a.wmv")
    assert (batch.problem, len(batch), batch.num_expected) == (None, 50, 50)


@pytest.mark.parametrize("max_b_frames", [0, 2])
def test_a_late_stream_in_avi_is_whole(make_clip, max_b_frames):
    path = make_clip("late.avi", codec="mpeg4", pts=list(range(38, 98)), max_b_frames=max_b_frames)
    batch = sample_frames(path)
    assert (batch.problem, len(batch)) == (None, 60)
