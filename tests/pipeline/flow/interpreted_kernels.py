"""The Triton kernels' logic in Triton's interpreter, on small images.

Not collected by itself: Triton decides when it is imported whether it interprets, so `test_kernels_cuda` runs these in
a process of their own.
"""

import logging

import cv2
import numpy as np
import pytest
import torch

from tdn_data.pipeline.flow import end_point_error, optical_flow, quantize
from tdn_data.pipeline.flow.tvl1_parameters import tvl1_parameters


@pytest.fixture
def interpreted():
    """The module with the solver, its kernels run by Triton's interpreter on the CPU."""
    import tdn_data.pipeline.flow.kernels_cuda as module

    return module


def sequence(num_frames: int, height: int = 20, width: int = 24) -> np.ndarray:
    """Frames of a texture that moves by (1, -1) pixels a frame."""
    noise = np.random.default_rng(0).normal(size=(height + num_frames, width + num_frames)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    offsets = range(num_frames)
    return np.stack([texture[k : k + height, num_frames - k : num_frames - k + width] for k in offsets])


@pytest.mark.parametrize(("preset", "shape"), [("opencv", (20, 24)), ("opencv-cuda", (20, 24)), ("opencv", (5, 1))])
def test_kernels_give_the_cpu_kernels_flow(interpreted, preset, shape):
    """The interpreter rounds fused multiply-adds twice, hence the tolerance; on a GPU they are fused."""
    options = {"num_warps": 2, "inner_iterations": 2, "outer_iterations": 2, "epsilon": 0.0}
    frames = sequence(3, *shape)
    solver = interpreted.TVL1CudaSolver(tvl1_parameters(preset, **options), batch_size=4, device="cpu")
    expected = optical_flow(frames[:-1], frames[1:], device="cpu", preset=preset, **options)
    assert np.abs(solver.pairs(frames[:-1], frames[1:]) - expected).max() < 2e-3


def test_every_pair_stops_by_its_own_error(interpreted):
    parameters = tvl1_parameters(num_scales=1, num_warps=1)
    frames = sequence(2)
    solver = interpreted.TVL1CudaSolver(parameters, batch_size=4, device="cpu")
    prev, next = frames[[0, 0]], frames[[1, 0]]  # one pair moves, the other does not
    flow = solver.pairs(prev, next)
    expected = optical_flow(prev, next, device="cpu", num_scales=1, num_warps=1)
    assert end_point_error(flow[0], expected[0]).mean < 1e-3
    assert not flow[1].any()


def test_blocks_smaller_than_the_image_overlap_rightly(interpreted, monkeypatch):
    options = {"num_scales": 1, "num_warps": 1, "inner_iterations": 2, "outer_iterations": 1, "epsilon": 0.0}
    frames = sequence(2, 9, 11)
    expected = optical_flow(frames[:1], frames[1:], device="cpu", **options)
    for block in (8, 32):  # below and above an image row
        monkeypatch.setattr(interpreted, "_BLOCK", block)
        solver = interpreted.TVL1CudaSolver(tvl1_parameters(**options), batch_size=1, device="cpu")
        assert np.abs(solver.pairs(frames[:1], frames[1:]) - expected).max() < 1e-4


def quick_solver(interpreted, batch_size: int):
    parameters = tvl1_parameters(num_scales=1, num_warps=1, inner_iterations=2, outer_iterations=1, median_size=1)
    return interpreted.TVL1CudaSolver(parameters, batch_size=batch_size, device="cpu")


@pytest.mark.parametrize("num_frames", [0, 1, 2, 3, 5])
def test_stream_gives_what_pairs_give_whatever_the_batch(interpreted, num_frames):
    frames = sequence(5, 8, 9)[:num_frames]
    streamed = list(quick_solver(interpreted, batch_size=2).stream(frames))
    assert len(streamed) == max(num_frames - 1, 0)
    if streamed:
        assert np.array_equal(streamed, quick_solver(interpreted, batch_size=9).pairs(frames[:-1], frames[1:]))


def test_discretisation_is_that_of_quantize(interpreted):
    frames = sequence(3)
    solver = quick_solver(interpreted, batch_size=4)
    levels = solver.quantized_pairs(frames[:-1], frames[1:], 1.0)
    assert np.array_equal(levels, quantize(solver.pairs(frames[:-1], frames[1:]), 1.0))


def test_short_memory_halves_the_batch_and_says_so_once(interpreted, monkeypatch, caplog):
    frames = sequence(5, 8, 9)
    expected = quick_solver(interpreted, batch_size=9).pairs(frames[:-1], frames[1:])
    solver = quick_solver(interpreted, batch_size=4)
    solve = solver.solve

    def solve_small_batches_only(images, firsts, seconds):
        if len(firsts) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return solve(images, firsts, seconds)

    monkeypatch.setattr(solver, "solve", solve_small_batches_only)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(solver.pairs(frames[:-1], frames[1:]), expected)
        solver.pairs(frames[:-1], frames[1:])
    assert [record.getMessage() for record in caplog.records] == [
        "GPU memory is short: optical flow goes on with 2 pairs at a time"
    ]


def test_a_pair_too_large_by_itself_is_reported(interpreted, monkeypatch):
    solver = quick_solver(interpreted, batch_size=1)

    def never(*_):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(solver, "solve", never)
    frames = sequence(2)
    with pytest.raises(torch.OutOfMemoryError):
        solver.pairs(frames[:1], frames[1:])


def test_frames_go_over_once_only_where_the_second_of_a_pair_is_the_next_ones_first(interpreted):
    frames = sequence(3, 6, 8)
    crops = frames[:, :, :6], frames[:, :, 2:]
    for prev, next in (
        (frames[:-1], frames[1:]),
        (crops[0][:-1], crops[1][1:]),
        (frames[1:], frames[:-1]),
    ):
        expected = quick_solver(interpreted, batch_size=9).pairs(prev.copy(), next.copy())
        assert np.array_equal(quick_solver(interpreted, batch_size=9).pairs(prev, next), expected)


def test_batches_are_sized_by_their_bytes(interpreted, monkeypatch):
    assert interpreted.pairs_at_once(256, 340, most=256) == 256
    assert interpreted.pairs_at_once(2160, 3840, most=256) == 5
    assert interpreted.pairs_at_once(16384, 16384, most=256) == 1
    frames = sequence(6, 8, 9)
    expected = quick_solver(interpreted, batch_size=9).pairs(frames[:-1], frames[1:])
    monkeypatch.setattr(interpreted, "MAX_BATCH_BYTES", 2 * 96 * 8 * 9 + 95)  # two pairs and nearly a pixel
    solver, sizes = quick_solver(interpreted, batch_size=4), []
    batch = solver._batch
    monkeypatch.setattr(
        solver, "_batch", lambda prev, *rest, out: (sizes.append(len(prev)), batch(prev, *rest, out=out))
    )
    assert np.array_equal(list(solver.stream(frames)), expected)
    assert np.array_equal(solver.pairs(frames[:-1], frames[1:]), expected)
    assert sizes == [2, 2, 1, 2, 2, 1]
