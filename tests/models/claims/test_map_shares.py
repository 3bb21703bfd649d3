"""Maps on objects: where the box lies, which share of a map is inside, and that every video gets its own."""

import numpy as np
import pytest
import torch

from tdn_data.models.claims.map_shares import object_box, share_inside, shares_in_box
from tdn_data.models.networks import build_model
from tdn_data.pipeline.datasets.demo import render_clip, states_of_video
from tdn_data.pipeline.parameters import DemoParameters
from tests.models.conftest import write_shards

WIDE = DemoParameters(seed=3, size=64, object_size=24, noise=0)


def test_a_box_holds_the_object_in_all_its_states_and_is_cut_to_the_crop():
    states = np.array([[30.0, 20.0, 5.0, 0.0], [34.5, 20.0, 6.0, 1.0]])
    assert object_box(states, margin=0, size=64) == (slice(14, 26), slice(25, 41))
    assert object_box(states, margin=16, size=32) == (slice(0, 10), slice(9, 25))


def test_the_share_is_of_the_positive_part():
    maps = np.array([[[1.0, 0], [0, 0]], [[0, -5], [0, 3]]], np.float32)
    assert share_inside(maps, (slice(0, 1), slice(0, 1)), 2) == pytest.approx(1 / 4)
    assert share_inside(maps, (slice(1, 2), slice(1, 2)), 2) == pytest.approx(3 / 4)
    assert share_inside(-maps.clip(0), (slice(0, 2), slice(0, 2)), 2) == 0


def test_every_video_has_the_share_of_its_own_box(tmp_path):
    names = [("move_left", 0), ("grow", 1)]
    videos = [
        (f"videos/{name}/test_{number:03d}", "test", (label,), _rendered(name, number))
        for label, (name, number) in enumerate(names)
    ]
    reader = write_shards(tmp_path, videos, class_names=[name for name, _ in names], name="demo")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("tdn", num_classes=2, num_segments=2, backbone="resnet18", width=4).eval()
    shares = shares_in_box(model, reader, WIDE, split="test", size=64)
    assert shares.keys() == {"image", "difference", "even"}
    for place, video in enumerate(reader.videos):
        moving = np.abs(np.diff(_frames(video.video_id)[[4, 12]].astype(int), axis=0)).sum((0, 3)) > 0
        rows, columns = object_box(states_of_video(video.video_id, WIDE)[[4, 12]], margin=0, size=64)
        area = (rows.stop - rows.start) * (columns.stop - columns.start) / 64**2
        assert shares["even"][place] == pytest.approx(area, abs=1e-6)
        assert moving[rows, columns].sum() > 0.75 * moving.sum() > 0  # corners stick out of it
    assert all(((values >= 0) & (values <= 1)).all() for values in shares.values())
    with pytest.raises(ValueError, match="rendered at 96"):
        shares_in_box(model, reader, DemoParameters(), split="test", size=64)


def _rendered(name: str, number: int) -> np.ndarray:
    label = ("move_left", "move_right", "move_up", "move_down", "grow").index(name)
    return render_clip(name, seed=(3, 2, label, number), size=64, object_size=24, noise=0).frames


def _frames(video_id: str) -> np.ndarray:
    _, name, number = video_id.split("/")
    return _rendered(name, int(number.removeprefix("test_")))
