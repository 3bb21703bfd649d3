"""The rendered data set: reversal symmetry, exact flow, reproducible files."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdn_data.pipeline.datasets import demo
from tdn_data.pipeline.datasets.demo import CLASS_NAMES, PAIRS, draw_states, render_clip, render_demo, states_of_video
from tdn_data.pipeline.parameters import DemoParameters


def _warp_back(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Read `image` where each pixel went."""
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return cv2.remap(image.astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_reversed_clip_is_the_partners_clip(first: str, second: str, seed: int) -> None:
    forwards, backwards = render_clip(first, seed=seed), render_clip(second, seed=seed)
    np.testing.assert_array_equal(forwards.frames[::-1], backwards.frames)
    assert CLASS_NAMES[forwards.label] == first
    assert CLASS_NAMES[backwards.label] == second


@pytest.mark.parametrize("class_name", CLASS_NAMES)
@pytest.mark.parametrize("seed", [3, 4])
def test_flow_leads_from_each_valid_pixel_to_the_same_surface_point(class_name: str, seed: int) -> None:
    clip = render_clip(class_name, seed=seed, noise=0)
    for before, after, flow, valid in zip(clip.frames, clip.frames[1:], clip.flow, clip.valid, strict=False):
        moving = valid & (np.abs(flow).max(-1) > 0)
        error = np.abs(_warp_back(after, flow) - before).max(-1)
        assert moving.any()
        assert error[moving].mean() < 5  # bilinear reading of a texture of some 50 levels' contrast
        assert error[valid & ~moving].max() == 0
        assert error[moving].mean() < 0.5 * np.abs(after.astype(float) - before)[moving].mean() + 2


@pytest.mark.parametrize(
    ("class_name", "sign_x", "sign_y"),
    [("move_left", -1, 0), ("move_right", 1, 0), ("move_up", 0, -1), ("move_down", 0, 1)],
)
def test_translations_point_where_the_class_says(class_name: str, sign_x: int, sign_y: int) -> None:
    clip = render_clip(class_name, seed=5)
    vectors = clip.flow[clip.valid & (np.abs(clip.flow).max(-1) > 0)]
    assert (np.sign(np.round(vectors, 3)) == (sign_x, sign_y)).all()
    np.testing.assert_allclose(vectors, np.broadcast_to(vectors[0], vectors.shape), atol=1e-4)


@pytest.mark.parametrize(("class_name", "radial", "turning"), [
    ("grow", 1, 0), ("shrink", -1, 0), ("turn_clockwise", 0, 1), ("turn_counterclockwise", 0, -1),
])  # fmt: skip
def test_divergence_and_rotation_have_the_class_sign(class_name: str, radial: int, turning: int) -> None:
    clip = render_clip(class_name, seed=6)
    flow, inside = clip.flow[7].astype(np.float64), clip.valid[7] & (np.abs(clip.flow[7]).max(-1) > 0)
    y, x = np.mgrid[:96, :96].astype(np.float64)
    matrix, *_ = np.linalg.lstsq(np.stack([x, y, np.ones_like(x)], -1)[inside], flow[inside], rcond=None)
    divergence = matrix[0, 0] + matrix[1, 1]
    rotation = matrix[0, 1] - matrix[1, 0]  # dv/dx - du/dy: positive is clockwise where y points down
    assert np.sign(round(divergence, 1)) == radial  # a turn by a finite angle has cos - 1 left in it
    assert np.sign(round(rotation, 1)) == turning


def test_shapes_and_types() -> None:
    clip = render_clip("grow", seed=0, num_frames=5, size=40)
    assert (clip.frames.shape, clip.frames.dtype) == ((5, 40, 40, 3), np.uint8)
    assert (clip.flow.shape, clip.flow.dtype) == ((4, 40, 40, 2), np.float32)
    assert (clip.valid.shape, clip.valid.dtype) == ((4, 40, 40), bool)


def test_noise_is_the_sensors_and_changes_nothing_else() -> None:
    noisy, clean = render_clip("move_up", seed=1), render_clip("move_up", seed=1, noise=0)
    difference = noisy.frames.astype(float) - clean.frames
    assert difference.std() == pytest.approx(demo.NOISE_LEVELS, rel=0.05)
    np.testing.assert_array_equal(noisy.flow, clean.flow)


def test_an_object_of_a_smaller_clip_lies_anywhere_in_a_larger_one() -> None:
    sizes = {"size": 96, "object_size": 32}
    starts = []
    for seed in range(8):
        clip = render_clip("turn_clockwise", seed=seed, noise=0, **sizes)
        assert clip.frames.shape == (16, 96, 96, 3)
        assert np.array_equal(
            clip.frames, render_clip("turn_counterclockwise", seed=seed, noise=0, **sizes).frames[::-1]
        )
        wide = draw_states("turn_clockwise", seed=seed, **sizes)
        small = draw_states("turn_clockwise", seed=seed, size=32)
        assert np.array_equal(wide[:, 2:], small[:, 2:])  # radius and angle
        offset = wide[:, :2] - small[:, :2]
        assert np.allclose(offset, offset[0]) and ((offset >= 0) & (offset <= 64)).all()
        moving = np.argwhere(np.abs(clip.flow).sum(3)[0] > 0)[:, ::-1]  # x, y
        assert np.abs(moving - wide[0, :2]).max() <= 1.35 * wide[0, 2] + 1
        starts.append(offset[0])
    assert np.ptp(starts, axis=0).min() > 20


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"class_name": "jump"}, "class_name is 'jump'; known classes: move_left"),
        ({"num_frames": 1}, "num_frames is 1; it must be at least 2"),
        ({"size": 8}, "size is 8; it must be at least 16"),
        ({"noise": -1}, "noise is -1; it must be at least 0"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_clip(**({"class_name": "grow", "seed": 0} | wrong))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    assert render_demo(root, seed=3, train_per_class=2, val_per_class=1, test_per_class=1) == 32
    return root


def test_folder_holds_every_listed_video_and_nothing_else(rendered: Path) -> None:
    with (rendered / "videos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {path.relative_to(rendered).as_posix() for path in rendered.rglob("*.mp4")}
    assert [row["split"] for row in rows].count("train") == 16
    assert {row["labels"] for row in rows} == set(CLASS_NAMES)
    assert (rendered / "classes.txt").read_text().split() == list(CLASS_NAMES)
    assert {path.suffix for path in rendered.rglob("*") if path.is_file()} == {".mp4", ".csv", ".txt"}


def test_files_are_h264_and_show_the_clip(rendered: Path) -> None:
    from tdn_data.pipeline.video import probe, sample_frames

    path = rendered / "videos/move_left/train_001.mp4"
    info = probe(path)
    assert (info.codec, info.width, info.height, info.num_frames) == ("h264", 96, 96, 16)
    clip = render_clip("move_left", seed=(3, 0, 0, 1))
    decoded = sample_frames(path, fps=demo.FPS).data
    assert np.abs(decoded.astype(float) - clip.frames).mean() < 8  # halved chroma and compressed noise
    assert np.abs(decoded.astype(float)[::-1] - clip.frames).mean() > np.abs(decoded.astype(float) - clip.frames).mean()


def test_same_seed_same_bytes_for_any_number_of_threads(rendered: Path, tmp_path: Path) -> None:
    render_demo(tmp_path, seed=3, train_per_class=2, val_per_class=1, test_per_class=1, num_workers=1)
    for path in sorted(path for path in rendered.rglob("*") if path.is_file()):
        again = tmp_path / path.relative_to(rendered)
        assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest(), path


def test_progress_counts_every_clip(tmp_path: Path) -> None:
    seen = []
    render_demo(
        tmp_path, train_per_class=1, val_per_class=1, test_per_class=1, on_progress=lambda *state: seen.append(state)
    )
    assert seen == [(done, 24) for done in range(1, 25)]


def test_empty_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="test_per_class\n.*greater than or equal to 1"):
        render_demo(tmp_path, test_per_class=0)


def test_noise_is_a_parameter_of_the_data_set(tmp_path: Path) -> None:
    from tdn_data.pipeline.video import sample_frames

    render_demo(tmp_path, seed=3, train_per_class=1, val_per_class=1, test_per_class=1, noise=60)
    decoded = sample_frames(tmp_path / "videos/grow/train_000.mp4", fps=demo.FPS).data.astype(float)
    plain = render_clip("grow", seed=(3, 0, 4, 0)).frames.astype(float)
    assert np.abs(np.diff(decoded, axis=0)).mean() > 2 * np.abs(np.diff(plain, axis=0)).mean()


def test_sizes_are_parameters_and_leave_the_digest_of_what_does_not_use_them(tmp_path: Path) -> None:
    from tdn_data.pipeline.video import sample_frames

    parameters = DemoParameters(size=48, object_size=24, train_per_class=1, val_per_class=1, test_per_class=1)
    render_demo(tmp_path, **parameters.model_dump())
    frames = sample_frames(tmp_path / "videos/grow/val_000.mp4", fps=demo.FPS).data
    assert frames.shape[1:3] == (48, 48)
    states = states_of_video("videos/grow/val_000", parameters)
    clip = render_clip("grow", seed=(0, 1, CLASS_NAMES.index("grow"), 0), size=48, object_size=24)
    assert np.abs(clip.frames.astype(int) - frames).mean() < 8
    assert np.array_equal(states, draw_states("grow", seed=(0, 1, 4, 0), size=48, object_size=24))
    assert DemoParameters().model_dump().keys() == {
        "seed",
        "train_per_class",
        "val_per_class",
        "test_per_class",
        "noise",
    }
    with pytest.raises(ValueError, match="no video of the built-in"):
        states_of_video("videos/grow/val_0.mp4", parameters)
    with pytest.raises(ValueError, match="object_size is 97, more than size, which is 96"):
        DemoParameters(object_size=97)
