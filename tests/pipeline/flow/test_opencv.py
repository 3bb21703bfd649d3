"""OpenCV's own methods behind our interface."""

import cv2
import numpy as np
import pytest

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.flow import METHODS, iter_flow, optical_flow

ON_CPU = ("opencv-tvl1", "farneback", "dis")


def shifted_pair() -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(0).normal(size=(64, 72)).astype(np.float32)
    first = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return first, np.roll(first, (1, 2), axis=(0, 1))


@pytest.mark.parametrize("method", ON_CPU)
def test_every_method_finds_a_shift(method):
    flow = optical_flow(*shifted_pair(), method=method)
    assert flow.shape == (1, 64, 72, 2)
    assert flow.dtype == np.float32
    assert np.median(flow[0, 16:-16, 16:-16], axis=(0, 1)) == pytest.approx([2, 1], abs=0.25)


@pytest.mark.parametrize("method", ON_CPU)
def test_stream_gives_what_pairs_give(method):
    first, second = shifted_pair()
    frames = np.stack([first, second, first])
    assert np.array_equal(list(iter_flow(frames, method=method)), optical_flow(frames[:-1], frames[1:], method=method))


def test_a_small_image_before_does_not_take_scales_from_a_large_one():
    pair = shifted_pair()
    expected = cv2.optflow.DualTVL1OpticalFlow_create().calc(*pair, None)
    optical_flow(pair[0][:17, :17], pair[1][:17, :17], method="opencv-tvl1")
    assert np.array_equal(optical_flow(*pair, method="opencv-tvl1")[0], expected)


def test_images_too_small_for_a_method_are_refused_before_it_fails():
    tiny = np.zeros((2, 9), np.uint8)
    with pytest.raises(ValueError, match="2 x 9; opencv-tvl1 needs"):
        optical_flow(tiny, tiny, method="opencv-tvl1")
    with pytest.raises(ValueError, match="2 x 9; dis needs"):
        list(iter_flow([tiny, tiny], method="dis"))


def test_options_of_another_method_are_refused():
    image = np.zeros((32, 32), np.uint8)
    with pytest.raises(TypeError, match="dis takes no option tau; known options: preset"):
        optical_flow(image, image, method="dis", tau=0.25)
    with pytest.raises(ValueError, match="preset is 'best'; dis knows ultrafast, fast, medium"):
        optical_flow(image, image, method="dis", preset="best")
    with pytest.raises(ValueError, match="farneback runs on 'cpu' only"):
        optical_flow(image, image, method="farneback", device="cuda")


@pytest.mark.skipif(
    hasattr(cv2, "cuda") and cv2.cuda.getCudaEnabledDeviceCount() > 0, reason="this OpenCV sees a CUDA device"
)
def test_opencvs_cuda_class_says_what_to_use_where_it_is_missing():
    image = np.zeros((32, 32), np.uint8)
    with pytest.raises(InputError, match="tvl1"):
        optical_flow(image, image, method="opencv-cuda-tvl1")


def test_methods_are_the_documented_ones():
    assert METHODS == ("tvl1", "opencv-tvl1", "opencv-cuda-tvl1", "farneback", "dis")
