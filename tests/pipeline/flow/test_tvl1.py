"""Our TV-L1: equal to OpenCV's and to the oracle, true to known motions, polite to bad input."""

import cv2
import numpy as np
import pytest

from tdn_data.pipeline.flow import (
    end_point_error,
    flow_statistics,
    iter_flow,
    optical_flow,
    quantize,
    quantized_flow,
    read_flo,
    reference,
)
from tdn_data.pipeline.flow.reference import tvl1_reference
from tdn_data.pipeline.flow.tvl1_parameters import PRESETS, tvl1_parameters

CLIPS = (
    "v_SoccerJuggling_g23_c01.avi",
    "RATRACE_wave_f_nm_np1_fr_goo_37.avi",
    "R6llTwEh07w.mp4",
    "demo.mp4",
    "bigbuckbunny.mp4",
    "bikes.mp4",
)


def texture(height: int = 120, width: int = 140, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    smooth = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (1.5, 3, 6))
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)


def moved(image: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return uint8 images before and after an affine motion (2, 3) of the content, and the exact flow."""
    height, width = image.shape
    after = cv2.warpAffine(image, motion, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    flow = np.stack([motion[k, 0] * x + motion[k, 1] * y + motion[k, 2] - (x, y)[k] for k in range(2)], axis=-1)
    return image.round().astype(np.uint8), after.clip(0, 255).round().astype(np.uint8), flow


def motion_about_center(angle_degrees: float, scale: float, width: int = 140, height: int = 120) -> np.ndarray:
    return cv2.getRotationMatrix2D((width / 2, height / 2), angle_degrees, scale)


# what is known of the flow


def test_no_motion_gives_zero_flow():
    image = texture().astype(np.uint8)
    assert np.abs(optical_flow(image, image)).max() < 1e-3


@pytest.mark.parametrize("values", [(0, 0), (255, 255), (7, 200)])
def test_constant_images_give_zero_flow(values):
    prev, next = (np.full((48, 52), value, np.uint8) for value in values)
    assert not optical_flow(prev, next).any()


@pytest.mark.parametrize(
    "motion",
    [
        np.array([[1, 0, 3], [0, 1, -2]], float),
        np.array([[1, 0, 0.4], [0, 1, 0.7]], float),
        motion_about_center(2.0, 1.0),
        motion_about_center(0.0, 1.03),
    ],
    ids=["integer translation", "sub-pixel translation", "rotation", "zoom"],
)
@pytest.mark.parametrize("preset", PRESETS)
def test_known_motions_of_a_texture_come_back(motion, preset):
    prev, next, truth = moved(texture(), motion)
    flow = optical_flow(prev, next, preset=preset)[0]
    inner = np.s_[8:-8, 8:-8]  # what comes in at the edge was not there before
    assert end_point_error(flow[inner], truth[inner]).mean < 0.12


def test_x_is_right_and_y_is_down():
    prev, next, _ = moved(texture(), np.array([[1, 0, 2], [0, 1, -1]], float))
    x, y = np.median(optical_flow(prev, next)[0], axis=(0, 1))
    assert (x, y) == (pytest.approx(2, abs=0.1), pytest.approx(-1, abs=0.1))


def test_flow_of_rendered_clips_is_near_their_exact_flow():
    demo = pytest.importorskip("tdn_data.pipeline.datasets.demo")
    ours, still = [], []
    for name in demo.CLASS_NAMES:
        clip = demo.render_clip(name, seed=3, noise=0.0)
        prev, next = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip.frames[7:9])
        seen_and_moving = clip.valid[7] & clip.flow[7].any(axis=-1)
        truth = np.where(seen_and_moving[..., None], clip.flow[7], np.nan)
        ours.append(end_point_error(optical_flow(prev, next)[0], truth).mean)
        still.append(end_point_error(np.zeros_like(truth), truth).mean)
    assert np.mean(ours) < 0.25 * np.mean(still)
    assert np.mean(ours) < 0.35  # px


# equal to OpenCV's class, in this process and bit for bit


def assert_equals_opencv(prev: np.ndarray, next: np.ndarray, **options) -> None:
    ours, peer = optical_flow(prev, next, **options), optical_flow(prev, next, method="opencv-tvl1", **options)
    assert end_point_error(ours, peer).mean <= 0.02
    levels = np.abs(quantize(ours, 20).astype(int) - quantize(peer, 20))
    assert np.mean(levels == 0) >= 0.97
    assert np.mean(levels <= 1) >= 0.995


@pytest.mark.parametrize("shape", [(64, 64), (47, 83), (120, 140), (16, 16), (15, 40), (3, 50)])
def test_flow_is_opencvs_to_the_last_bit(shape):
    """Rounding is OpenCV's; its own differs on a CPU without fused multiply-adds, hence a bound and no ==."""
    prev, next, _ = moved(texture(*shape), motion_about_center(1.0, 1.01, shape[1], shape[0]))
    flow, peer = optical_flow(prev, next), optical_flow(prev, next, method="opencv-tvl1")
    assert end_point_error(flow, peer).mean < 1e-4


@pytest.mark.parametrize(
    "options",
    [
        {"num_scales": 1},
        {"num_warps": 2, "inner_iterations": 7, "outer_iterations": 3},
        {"median_size": 1},
        {"lambda_": 0.05, "theta": 0.5, "tau": 0.2},
        {"scale_step": 0.5, "num_scales": 3},
        {"epsilon": 0.0, "inner_iterations": 12, "outer_iterations": 2},
    ],
    ids=lambda options: "-".join(options),
)
def test_every_parameter_means_what_it_means_to_opencv(options):
    prev, next, _ = moved(texture(60, 76), motion_about_center(1.5, 0.99, 76, 60))
    assert_equals_opencv(prev, next, **options)


@pytest.mark.parametrize(
    "names", [("RubberWhale1.png", "RubberWhale2.png"), ("chairs_0_img0.png", "chairs_0_img1.png")]
)
def test_flow_of_benchmark_pairs_is_opencvs(shared_data, names):
    images = [cv2.imread(str(shared_data / "flow" / name), cv2.IMREAD_GRAYSCALE) for name in names]
    prev, next = (cv2.resize(image, (340, 256), interpolation=cv2.INTER_AREA) for image in images)
    assert_equals_opencv(prev, next)


@pytest.mark.parametrize("name", CLIPS)
def test_flow_of_consecutive_frames_is_opencvs(shared_data, name):
    video = pytest.importorskip("tdn_data.pipeline.video")
    frames = []
    for frame in video.iter_frames(shared_data / "clips" / name, size=(256, 340), pixel_format="gray"):
        frames.append(frame.data)
        if len(frames) == 12:
            break
    assert_equals_opencv(frames[10], frames[11])


def test_error_to_the_truth_is_not_above_opencvs(shared_data):
    folder = shared_data / "flow"
    prev, next = (cv2.imread(str(folder / f"RubberWhale{k}.png"), cv2.IMREAD_GRAYSCALE) for k in (1, 2))
    truth = read_flo(folder / "RubberWhale.flo")
    assert end_point_error(optical_flow(prev, next)[0], truth).mean <= 1.01 * 0.15625  # what OpenCV 5.0 gives


# the preset `fast`: nearly that


@pytest.mark.parametrize("name", ["RubberWhale", "chairs_0"])
def test_fast_flow_is_as_near_to_the_truth_and_nearly_the_exact_one(shared_data, name):
    folder = shared_data / "flow"
    files = ["chairs_0_img0.png", "chairs_0_img1.png"] if name == "chairs_0" else [f"{name}1.png", f"{name}2.png"]
    prev, next = (cv2.imread(str(folder / file), cv2.IMREAD_GRAYSCALE) for file in files)
    exact, fast = optical_flow(prev, next)[0], optical_flow(prev, next, preset="fast")[0]
    truth = read_flo(folder / f"{name}.flo")
    assert end_point_error(fast, truth).mean <= 1.005 * end_point_error(exact, truth).mean
    levels = np.abs(quantize(fast, 20).astype(int) - quantize(exact, 20))
    assert np.mean(levels == 0) >= 0.9
    assert np.mean(levels <= 1) >= 0.98  # a level that stops one step earlier moves what follows


# equal to the oracle


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", [(24, 31), (40, 33)])
def test_kernels_agree_with_the_reference(preset, shape):
    options = {"num_warps": 2, "inner_iterations": 12, "outer_iterations": 2, "epsilon": 0.0}
    prev, next, _ = moved(texture(*shape), motion_about_center(1.0, 1.0, shape[1], shape[0]))
    flow = optical_flow(prev, next, preset=preset, **options)[0]
    oracle = tvl1_reference(prev, next, tvl1_parameters(preset, **options))
    assert np.abs(flow - oracle).max() < 5e-3  # px; sampling and resizing differ in their last bit
    assert end_point_error(flow, oracle).mean < 1e-4


@pytest.mark.parametrize("preset", PRESETS)
def test_kernels_stop_where_the_reference_stops(preset):
    """One level only: over several, one step more of a level for a last bit's sake moves the levels after it."""
    prev, next, _ = moved(texture(40, 44), motion_about_center(0.5, 1.0, 44, 40))
    oracle = tvl1_reference(prev, next, tvl1_parameters(preset, num_scales=1, num_warps=2))
    flow = optical_flow(prev, next, preset=preset, num_scales=1, num_warps=2)[0]
    assert end_point_error(flow, oracle).mean < 1e-4


def test_the_reference_is_opencvs_class_when_it_samples_with_opencv(monkeypatch):
    def remap(image, u, v, parameters):
        y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
        return cv2.remap(image, x + u, y + v, cv2.INTER_CUBIC)

    def resize(image, shape, step, parameters):
        options = {"dsize": shape[::-1]} if step is None else {"dsize": None, "fx": 0.8, "fy": 0.8}
        return cv2.resize(image, interpolation=cv2.INTER_LINEAR, **options)

    monkeypatch.setattr(reference, "warp", remap)
    monkeypatch.setattr(reference, "resize", resize)
    prev, next, _ = moved(texture(40, 44), motion_about_center(0.5, 1.0, 44, 40))
    oracle = tvl1_reference(prev, next, tvl1_parameters())
    assert np.array_equal(oracle, optical_flow(prev, next, method="opencv-tvl1")[0])


# sizes, layouts, streams, threads


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (15, 15), (17, 300)])
def test_any_size_gives_finite_flow(shape):
    rng = np.random.default_rng(0)
    prev, next = (rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2))
    assert np.isfinite(optical_flow(prev, next)).all()


def test_below_16_pixels_there_is_a_single_scale():
    assert tvl1_parameters().level_shapes(15, 15) == [(15, 15)]
    assert tvl1_parameters().level_shapes(19, 400) == [(19, 400)]
    assert tvl1_parameters().level_shapes(64, 64) == [(64, 64), (51, 51), (41, 41), (33, 33), (26, 26)]


@pytest.mark.parametrize("preset", PRESETS)
def test_noise_never_gives_a_value_that_is_not_a_number(preset):
    rng = np.random.default_rng(1)
    prev, next = (255 * rng.integers(0, 2, (3, 40, 50), dtype=np.uint8) for _ in range(2))
    assert np.isfinite(optical_flow(prev, next, preset=preset)).all()


def test_layout_in_memory_does_not_matter():
    prev, next, _ = moved(texture(40, 48), motion_about_center(1.0, 1.0, 48, 40))
    expected = optical_flow(prev, next)
    wide = np.zeros((40, 96), np.uint8)
    wide[:, ::2] = next
    assert np.array_equal(optical_flow(np.asfortranarray(prev), wide[:, ::2]), expected)


def test_inputs_are_not_changed_and_may_be_read_only():
    prev, next, _ = moved(texture(32, 32), motion_about_center(1.0, 1.0, 32, 32))
    copies = prev.copy(), next.copy()
    prev.flags.writeable = next.flags.writeable = False
    optical_flow(prev, next)
    assert np.array_equal(prev, copies[0])
    assert np.array_equal(next, copies[1])


def test_stream_gives_what_pairs_give():
    frames = np.stack([np.roll(texture(48, 52), step, axis=1) for step in range(4)]).astype(np.uint8)
    streamed = list(iter_flow(frames))
    assert np.array_equal(streamed, optical_flow(frames[:-1], frames[1:]))


def test_stream_takes_one_frame_at_a_time():
    taken = []

    def frames():
        for step in range(4):
            taken.append(step)
            yield np.roll(texture(24, 24), step, axis=1).astype(np.uint8)

    flows = iter_flow(frames())
    next(flows)
    assert taken == [0, 1]


@pytest.mark.parametrize("num_frames", [0, 1])
def test_stream_of_less_than_two_frames_is_empty(num_frames):
    assert list(iter_flow(np.zeros((num_frames, 24, 24), np.uint8))) == []


def test_threads_do_not_change_the_result():
    frames = np.stack([np.roll(texture(40, 40), step, axis=0) for step in range(5)]).astype(np.uint8)
    one = optical_flow(frames[:-1], frames[1:])
    assert np.array_equal(optical_flow(frames[:-1], frames[1:], num_threads=3), one)


def test_images_of_another_size_use_no_leftovers_of_the_one_before():
    small = [image.astype(np.uint8) for image in (texture(32, 40), np.roll(texture(32, 40), 1, axis=1))]
    large = [image.astype(np.uint8) for image in (texture(64, 70), np.roll(texture(64, 70), 2, axis=0))]
    before = optical_flow(*small)
    optical_flow(*large)
    assert np.array_equal(optical_flow(*small), before)


def test_no_pairs_give_no_flow():
    assert optical_flow(np.zeros((0, 20, 30), np.uint8), np.zeros((0, 20, 30), np.uint8)).shape == (0, 20, 30, 2)


def test_quantized_flow_is_the_flow_discretised():
    prev, next, _ = moved(texture(40, 40), motion_about_center(2.0, 1.0, 40, 40))
    assert np.array_equal(quantized_flow(prev, next, bound=4), quantize(optical_flow(prev, next), 4))
    assert flow_statistics(optical_flow(prev, next), 4).clipped_share == 0


# wrong arguments


@pytest.mark.parametrize(
    ("prev", "next", "error", "message"),
    [
        (np.zeros((20, 20), np.uint8), np.zeros((20, 21), np.uint8), ValueError, r"\(1, 20, 20\).*\(1, 20, 21\)"),
        (np.zeros((20, 20), np.float32), np.zeros((20, 20), np.uint8), TypeError, "prev has dtype float32"),
        (np.zeros((1, 20, 20, 3), np.uint8), np.zeros((1, 20, 20, 3), np.uint8), ValueError, "COLOR_RGB2GRAY"),
        (np.zeros((0, 0), np.uint8), np.zeros((0, 0), np.uint8), ValueError, "at least one pixel"),
        (np.zeros((2, 20, 20), np.uint8), np.zeros((3, 20, 20), np.uint8), ValueError, "must be equal"),
    ],
)
def test_wrong_images_are_refused(prev, next, error, message):
    with pytest.raises(error, match=message):
        optical_flow(prev, next)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "lucas"}, ValueError, "'lucas'; known methods: tvl1, opencv-tvl1"),
        ({"device": "tpu"}, ValueError, "'tpu'; known devices: auto, cpu, cuda"),
        ({"preset": "quick"}, ValueError, "'quick'; known presets: opencv, fast, opencv-cuda"),
        ({"gamma": 1.0}, TypeError, "no option gamma; known options: preset, tau"),
        ({"tau": 0.0}, ValueError, "tau is 0.0; it must be above 0"),
        ({"num_scales": 2.5}, TypeError, "num_scales is 2.5; it must be of type int"),
        ({"epsilon": float("nan")}, TypeError, "epsilon is nan"),
        ({"scale_step": 1.0}, ValueError, "between 0 and 1"),
        ({"median_size": 3}, ValueError, "5, or 1 for none"),
        ({"num_threads": 0}, ValueError, "num_threads is 0"),
    ],
)
def test_wrong_options_name_what_is_allowed(options, error, message):
    image = np.zeros((20, 20), np.uint8)
    with pytest.raises(error, match=message):
        optical_flow(image, image, **options)
    with pytest.raises(error, match=message):
        iter_flow([image, image], **options)


def test_a_frame_of_another_size_is_named_when_it_comes():
    frames = [np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8), np.zeros((20, 22), np.uint8)]
    flows = iter_flow(frames)
    next(flows)
    with pytest.raises(ValueError, match="frame 2"):
        next(flows)
