"""Pictures' own numbers: their order on screen, and what is missing, whatever the container's stamps are."""

from __future__ import annotations

import av
import numpy as np
import pytest

from tdn_data.pipeline.limits import DEFAULT_MAX_PIXELS
from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.container import open_video
from tdn_data.pipeline.video.continuity import breaks, lost_by_numbers, time_by_number
from tdn_data.pipeline.video.numbering import PERIOD, H264Numbers
from tdn_data.pipeline.video.packet_facts import PacketFacts
from tdn_data.pipeline.video.packet_rows import read_rows
from tests.pipeline.video.exact.cases import Case, make
from tests.pipeline.video.exact.oracle import complaints

X264 = {"options": {"x264-params": "keyint=20:bframes=2:b-adapt=0:b-pyramid=none:scenecut=0"}}
X265 = {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=20:bframes=3:b-adapt=0:open-gop=1"}}
MPEG2 = {"codec": "mpeg2video", "options": {"g": "12"}, "max_b_frames": 2}


def rows_of(path):
    """What the packets of a file tell."""
    with open_video(path, max_pixels=DEFAULT_MAX_PIXELS) as (container, stream):
        return read_rows(path, container, stream, max_pixels=DEFAULT_MAX_PIXELS)


def without(path, numbers, *, change_time=None):
    """A copy that lacks some packets, by their number in decoding order; later ones may come earlier in time."""
    target = path.with_name(f"without {path.name}")
    with av.open(str(path)) as reader, av.open(str(target), "w") as writer:
        copy = writer.add_stream_from_template(reader.streams.video[0])
        for number, packet in enumerate(packet for packet in reader.demux(video=0) if packet.size):
            if number not in numbers:
                packet.stream = copy
                writer.mux(packet)
    return target


@pytest.mark.parametrize("container", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("kind", [X264, X265, MPEG2], ids=["h264", "hevc", "mpeg2"])
def test_places_by_number_are_those_by_time(make_clip, container, kind):
    rows = rows_of(make_clip(container, **kind))
    orders = [fact.order for fact in rows.facts]
    assert None not in orders
    assert np.argsort(orders).tolist() == np.argsort(rows.pts).tolist()
    assert not rows.breaks.any() and not rows.lost


@pytest.mark.parametrize("container", ["a.mp4", "a.mkv", "a.nut"])
@pytest.mark.parametrize(("kind", "number"), [(X264, 24), (X265, 21), (MPEG2, 16)], ids=["h264", "hevc", "mpeg2"])
def test_a_lost_reference_takes_along_what_is_predicted_from_it_and_is_reported(make_clip, container, kind, number):
    path = make_clip(container, **kind)
    whole = sample_frames(path)
    batch = sample_frames(without(path, [number]))
    assert batch.problem.reason == "corrupt"
    assert 30 <= len(batch) < 60
    shown = np.round(batch.pts_seconds * 25).astype(int).tolist()
    np.testing.assert_array_equal(batch.data, whole.data[shown])


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_lost_picture_near_the_end_is_reported_and_not_replaced_by_its_neighbour(make_clip, name):
    path = make_clip(name, num_frames=100, options={"bf": "2", "b_strategy": "0", "g": "250", "refs": "1"})
    rows = rows_of(path)
    dropped = next(number for number in range(96, 0, -1) if rows.facts[number].droppable)
    place = sorted(rows.pts).index(rows.pts[dropped])
    whole = sample_frames(path)
    batch = sample_frames(without(path, [dropped]), fps=25)
    assert batch.problem.reason == "corrupt"
    assert batch.num_expected == 100
    shown = np.round(batch.pts_seconds * 25).astype(int).tolist()
    assert shown == [number for number in range(100) if number != place]
    np.testing.assert_array_equal(batch.data, whole.data[shown])


def facts(*orders, b=(), start=(0,)):
    """Packets of pictures with these places; `b` are bidirectional, `start` begin a group."""
    return [PacketFacts(order=PERIOD + o, bidirectional=i in b, start=i in start) for i, o in enumerate(orders)]


def test_a_hole_in_the_places_is_a_loss():
    packets = facts(0, 2, 4, 6, 10, 12, 14, 16, 18)
    assert lost_by_numbers(packets) == {3: 1}
    assert np.flatnonzero(breaks(packets, [fact.order for fact in packets], [3])).tolist() == [4]


def test_what_comes_behind_the_last_reference_before_a_hole_may_need_what_is_missing():
    #             I  P  b  b  P  b  b  P   b  b     on screen 5 is missing
    packets = facts(0, 3, 1, 2, 6, 4, 9, 7, 8, 12, 10, 11, b=(2, 3, 5, 7, 8, 10, 11))
    assert lost_by_numbers(packets) == {5: 1}
    assert np.flatnonzero(breaks(packets, [fact.order for fact in packets], [5])).tolist() == [
        4
    ]  # b b come before the first P


def test_nothing_is_concluded_from_few_pictures_or_from_places_that_jump():
    assert lost_by_numbers(facts(0, 1, 3, 4)) == {}
    assert lost_by_numbers(facts(0, 1, 3, 4, 7, 8, 11, 13, 17, 18, 20)) == {}
    assert lost_by_numbers(facts(2, 0, 1, 5, 3, 4, 8, 6, 7, 9, 10, b=(1, 2))) == {}


@pytest.mark.parametrize("num_lost", [3, 15, 31])
def test_a_loss_of_any_length_is_reported_also_where_the_numbers_have_come_round(make_clip, num_lost):
    path = make_clip("a.mp4", num_frames=60, options={"x264-params": "keyint=250:bframes=0:scenecut=0"})
    lost = range(20, 20 + num_lost)  # frame_num has four bits here
    batch, whole = sample_frames(without(path, lost)), sample_frames(path)
    assert batch.problem is not None
    np.testing.assert_array_equal(batch.data, whole.data[: len(batch)])
    assert len(batch) <= 20


def test_an_encoder_that_never_counts_has_lost_nothing(make_clip):
    path = make_clip("a.mp4", num_frames=20, options={"x264-params": "keyint=250:bframes=0"})
    with open_video(path, max_pixels=DEFAULT_MAX_PIXELS) as (_, stream):
        numbers = H264Numbers(stream.codec_context.extradata)
    heads = [bytes([0x65, 0x88, 0x84, 0, 0x10]), *[bytes([0x41, 0x9A, 0, 0, 0x10])] * 9]  # frame_num stays 0
    assert not any(numbers(head, head).after_loss for head in heads)


@pytest.mark.parametrize("damage", ["lose3", "lose15"])
def test_no_picture_stays_for_several_that_are_lost_from_a_short_stream(tmp_path, damage):
    """So many holes in the numbers of few pictures prove nothing alone; a picture that lacks another does."""
    case = Case("hevc-b3-gop12-open", "mkv", damage=damage)
    assert not complaints(*make(case, tmp_path), seed=str(case))


def test_no_picture_stays_for_a_lost_one_that_no_number_tells_of(tmp_path):
    case = Case("h264-slices", "mov", "wrap", damage="del0.3")
    assert not complaints(*make(case, tmp_path), seed=str(case))


def test_no_picture_stays_for_lost_ones_where_few_are_left(tmp_path):
    case = Case("h264-b2-long", "mkv", damage="del0.05")
    assert not complaints(*make(case, tmp_path), seed=str(case))


def test_no_picture_stays_for_the_last_one_where_times_are_rounded(tmp_path):
    case = Case("h264-aud", "mkv", "coarse", damage="cut0.99")
    assert not complaints(*make(case, tmp_path), seed=str(case))


def test_a_damaged_picture_was_due_where_its_number_says():
    orders = [0, 6, 2, 4, 12, 8, 10]
    facts = [PacketFacts(order=PERIOD + order) for order in orders]
    pts: list[int | None] = [40 * order for order in orders]
    assert time_by_number(5, [*pts[:5], None, pts[6]], facts) == 320
    assert time_by_number(4, [*pts[:4], None, *pts[5:]], facts) == 480
    assert time_by_number(4, [None] * len(pts), facts) is None
