"""What a test sees of a video: where its clips lie, where its crops do."""

from __future__ import annotations

import numpy as np
import pytest

from tdn_data.models.clips.cut import Cut
from tdn_data.models.clips.views import Views
from tdn_data.models.networks.base import ClipShape

RUNS = Cut("consecutive")


def frames_seen(make_shards, views: Views, num_segments: int) -> list[list[int]]:
    """Return the frames of each view of a video of ten, whose frame n is all of grey 10 n."""
    frames = np.broadcast_to(10 * np.arange(10, dtype=np.uint8)[:, None, None, None], (10, 16, 16, 3))
    reader = make_shards([("v", "test", (0,), frames)], class_names=("x", "y"))
    shape = ClipShape(num_segments, 1, 16)
    return [(view[..., 0, 0, 0].ravel() // 10).tolist() for view, _ in views.of(reader, reader.videos[0], shape)]


@pytest.mark.parametrize(
    ("views", "num_segments", "expected"),
    [
        (Views(3, 1, "uniform", cut=RUNS), 4, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]),
        (Views(1, 1, "uniform", cut=RUNS), 4, [[3, 4, 5, 6]]),
        (Views(2, 1, "uniform"), 2, [[1, 6], [3, 8]]),
        (Views(None, 1, "dense", cut=RUNS), 4, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]),
        (Views(None, 1, "dense", cut=RUNS), 12, [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]]),
        (Views(None, 1, "dense", cut=Cut("consecutive", 5.0)), 3, [[0, 2, 4], [4, 6, 8]]),  # stored at 10 a second
    ],
)
def test_clips_at_even_distances(make_shards, views: Views, num_segments: int, expected: list[list[int]]) -> None:
    assert frames_seen(make_shards, views, num_segments) == expected


def test_random_runs_begin_anywhere_and_are_consecutive(make_shards) -> None:
    seen = frames_seen(make_shards, Views(60, 1, cut=RUNS), 3)
    assert {clip[0] for clip in seen} == set(range(8))
    assert all(clip == list(range(clip[0], clip[0] + 3)) for clip in seen)


def test_240_random_examples_of_a_still_differ_in_crop_and_flip(make_shards) -> None:
    still = np.random.default_rng(0).integers(0, 256, (1, 24, 24, 3), dtype=np.uint8).repeat(6, axis=0)
    reader = make_shards([("v", "test", (0,), still)], class_names=("x", "y"))
    views = Views(240, 1, spatial="random", cut=RUNS)
    seen = [view.tobytes() for view, _ in views.of(reader, reader.videos[0], ClipShape(2, 1, 16))]
    assert len(seen) == 240 and len(set(seen)) > 100  # of 81 places, mirrored or not
    assert seen == [view.tobytes() for view, _ in views.of(reader, reader.videos[0], ClipShape(2, 1, 16))]


@pytest.mark.parametrize("views", [Views(1, 10), Views(1, 40, spatial="random"), Views(1, 3)])
def test_views_say_which_of_them_are_mirrored(make_shards, views: Views) -> None:
    from_dark_to_light = np.broadcast_to(np.arange(24, dtype=np.uint8)[:, None], (3, 24, 24, 3))
    reader = make_shards([("v", "test", (0,), from_dark_to_light)], class_names=("x", "y"))
    seen = list(views.of(reader, reader.videos[0], ClipShape(2, 1, 16)))
    assert [mirrored for _, mirrored in seen] == [bool(view[0, 0, 0, 0, 0] > view[0, 0, 0, -1, 0]) for view, _ in seen]
    assert any(mirrored for _, mirrored in seen) == views.mirrors == (views.num_crops > 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temporal": "dense"}, "temporal is 'dense', which shows all frames and counts clips itself"),
        ({"temporal": "dense", "num_clips": None}, "temporal is 'dense'"),
        ({"num_clips": None}, "num_clips is null; random clips need a number"),
        ({"temporal": "middle"}, "temporal is 'middle'; it must be one of random, uniform, dense"),
        ({"spatial": "random", "num_crops": 0}, "num_crops is 0; it must be from 1 to 1,024"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Views(**{"num_clips": 2, "num_crops": 1} | options)
