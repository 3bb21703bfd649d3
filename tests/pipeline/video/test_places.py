"""Which packet's picture is on screen when, for packets stamped as shown and as decoded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tdn_data.pipeline.limits import DEFAULT_MAX_PIXELS
from tdn_data.pipeline.video.container import open_video
from tdn_data.pipeline.video.packet_rows import read_rows
from tdn_data.pipeline.video.places import place_pictures, screen_order
from tdn_data.pipeline.video.proof import Output

SHOWN = [0, 2, 3, 1, 5, 6, 4, 8, 9, 7, 11, 10]  # packets I P b b P b b P b b P b in the order on screen


@pytest.fixture
def video(make_clip):
    """Codec context and packets of twelve MPEG-2 pictures with two B pictures between others."""
    options = {"g": "12", "sc_threshold": "1000000000", "b_strategy": "0"}
    path = make_clip("a.ts", codec="mpeg2video", num_frames=12, options=options, max_b_frames=2)
    with open_video(path, max_pixels=DEFAULT_MAX_PIXELS) as (container, stream):
        yield stream.codec_context, read_rows(path, container, stream, max_pixels=DEFAULT_MAX_PIXELS)


def outputs(packets):
    """Pictures of these packets as they come out of the decoder."""
    return [Output(packet, None, None, damaged=False) for packet in packets]


def test_the_order_is_that_of_the_stamps_or_else_of_the_pictures_numbers(video):
    context, rows = video
    assert screen_order(context, rows).tolist() == SHOWN
    assert screen_order(context, replace(rows, pts=tuple(range(12)))).tolist() == SHOWN
    assert screen_order(context, replace(rows, pts=(0,) * 12)) is None


def test_pictures_take_the_stamps_in_rising_order_and_what_did_not_come_is_counted(video):
    context, rows = video
    rows = replace(rows, pts=tuple(range(0, 120, 10)))
    came = [packet for packet in SHOWN if packet not in (3, 1)]
    placed = place_pictures(outputs(came), np.ones(10, dtype=bool), screen_order(context, rows), rows)
    assert placed.ticks.tolist() == [0, 10, *range(40, 120, 10)]
    assert placed.lost.tolist() == [0, 2, *[0] * 8]
    assert placed.lost_ticks[1] == 20


def test_a_picture_held_back_where_a_file_is_cut_off_has_no_sure_time(video):
    context, rows = video
    short = replace(rows, pts=tuple(range(11)), facts=rows.facts[:11], breaks=rows.breaks[:11], cut_off=True)
    short = replace(short, discard=rows.discard[:11])
    order = screen_order(context, short)
    assert order.tolist() == SHOWN[:10] + [10]
    placed = place_pictures(outputs(order.tolist()), np.ones(11, dtype=bool), order, short)
    assert placed.ticks.tolist() == list(range(10))  # packet 10 comes behind a B picture that is gone
