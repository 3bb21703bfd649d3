"""Matroska and WebM whose first pictures are shown before time zero, as what was cut out of a file and only copied."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tdn_data.pipeline.video import probe, sample_frames
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, Timing, make_plan, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import NUM_PICTURES, encoded

SHIFT = Fraction(-7, 25)
VARYING = Timing("early", TIMINGS["vfr"].moment, Fraction(1, 25), regular=False, shift=SHIFT)
STEADY = Timing("early", TIMINGS["cfr"].moment, Fraction(1, 25), regular=False, shift=SHIFT)

pytestmark = pytest.mark.usefixtures("quiet_decoders")


@pytest.mark.parametrize("timing", [STEADY, VARYING], ids=["steady", "varying"])
@pytest.mark.parametrize(
    ("container", "name"),
    [
        ("webm", "av1-low-delay"),
        ("webm", "vp9-gop20"),
        ("mkv", "vp8-hidden"),
        ("mkv", "h264-b2-gop12"),
        ("mkv", "mpeg1-b0-gop12"),
        ("mkv", "msmpeg4v3-gop12"),  # whose blocks have decoding times
    ],
)
def test_pictures_before_time_zero_have_the_times_that_their_blocks_say(tmp_path, container, name, timing):
    stream, kind = encoded(name), CONTAINERS[container]
    path, plan = tmp_path / f"a{kind.suffix}", make_plan(stream, kind, timing)
    write(path, stream, kind, timing, stamp(stream, timing))
    batch = sample_frames(path)
    assert [read_number(image) for image in batch.data] == list(plan.numbers)
    np.testing.assert_allclose(batch.pts_seconds, [float(moment) for moment in plan.moments], atol=1e-3)
    assert batch.problem is None
    middles = [float(begin + end) / 2 for begin, end in zip(plan.moments, plan.moments[1:], strict=False)]
    sparse = sample_frames(path, timestamps=middles[::7])
    assert [read_number(image) for image in sparse.data] == list(plan.numbers[:-1:7])


def test_their_length_counts_from_the_first_picture(tmp_path):
    path = tmp_path / "a.mkv"
    write(path, encoded("h264-b2-gop12"), CONTAINERS["mkv"], STEADY, stamp(encoded("h264-b2-gop12"), STEADY))
    assert probe(path).duration_seconds == pytest.approx(NUM_PICTURES / 25)


def test_a_file_that_is_cut_off_near_its_end_is_truncated_all_the_same(tmp_path):
    path = tmp_path / "a.mkv"
    write(path, encoded("h264-b2-gop12"), CONTAINERS["mkv"], STEADY, stamp(encoded("h264-b2-gop12"), STEADY))
    path.write_bytes(path.read_bytes()[:-1000])
    assert sample_frames(path).problem.reason == "truncated"
