"""Which packets are decoded for which frames."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tdn_data.pipeline.video.decode_plan import PacketTable, needed_packets, plan_runs

# packet    0  1  2  3  4  5  6 | 7  8  9   an open group: 8 and 9 are shown before 7
# kind      I  P  b  b  P  b  b | I  b  b
SHOWN_AT = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]


def table(shown_at=SHOWN_AT, starts=(0, 7), droppable=(2, 3, 5, 6, 8, 9)) -> PacketTable:
    """A packet table with every packet shown."""
    mask = np.isin(np.arange(len(shown_at)), droppable)
    return PacketTable(np.array(shown_at), np.ones(len(shown_at), dtype=bool), mask, np.array(starts))


def sent(packets: PacketTable, wanted: list[int]) -> list[int]:
    """All packets that go to the decoder."""
    wanted = np.array(wanted)
    runs = plan_runs(packets, wanted)
    return [run[0] + int(k) for run in runs for k in np.flatnonzero(needed_packets(packets, wanted, run))]


def test_a_run_ends_with_the_last_packet_wanted_and_leaves_droppable_ones_out():
    assert plan_runs(table(), np.array([3])) == [(0, 4)]
    assert sent(table(), [3]) == [0, 1, 3]
    assert sent(table(), [4]) == [0, 1, 4]


def test_a_wanted_keyframe_is_decoded_alone():
    assert plan_runs(table(), np.array([1, 7])) == [(0, 2), (7, 8)]
    assert sent(table(), [7]) == [7]


def test_a_leading_picture_of_an_open_group_is_reached_from_the_group_before():
    assert plan_runs(table(), np.array([8])) == [(0, 9)]
    assert sent(table(), [8]) == [0, 1, 4, 7, 8]
    assert sent(table(), [2, 7, 9]) == [0, 1, 2, 4, 7, 9]


def test_leading_pictures_are_left_out_when_decoding_begins_at_their_keyframe():
    later = table([*SHOWN_AT, 12, 10, 11], droppable=(2, 3, 5, 6))
    assert sent(later, [11]) == [7, 10, 11]


def test_runs_that_touch_become_one():
    assert plan_runs(table(), np.arange(10)) == [(0, 10)]
    assert sent(table(), list(range(10))) == list(range(10))


@given(st.data())
def test_runs_are_disjoint_and_hold_every_wanted_packet_and_its_references(data):
    num_packets = data.draw(st.integers(1, 60))
    starts = sorted(data.draw(st.sets(st.integers(1, num_packets), max_size=6)) - {num_packets})
    droppable = data.draw(st.sets(st.integers(0, num_packets - 1)))
    shown_at = data.draw(st.permutations(range(num_packets)))
    wanted = np.array(sorted(data.draw(st.sets(st.integers(0, num_packets - 1), min_size=1))))
    packets = table(shown_at, (0, *starts), tuple(droppable))
    runs = plan_runs(packets, wanted)
    assert all(first[1] < second[0] for first, second in zip(runs, runs[1:], strict=False))
    assert all(begin in packets.starts and end - 1 in wanted for begin, end in runs)
    inside = {number for begin, end in runs for number in range(begin, end)}
    assert inside >= set(wanted.tolist())
    given_to_decoder = set(sent(packets, wanted.tolist()))
    for begin, end in runs:
        first_shown = shown_at[begin] if begin else -1
        references = {k for k in range(begin, end) if k not in droppable and shown_at[k] >= first_shown}
        assert references <= given_to_decoder
