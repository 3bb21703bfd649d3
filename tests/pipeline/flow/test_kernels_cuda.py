"""The Triton kernels: their logic in Triton's interpreter, what they compile to, and their results where a GPU is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.flow import end_point_error, iter_flow, optical_flow, quantize, quantized_flow

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton")

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


def test_kernels_pass_their_tests_in_the_interpreter():
    tests = Path(__file__).with_name("interpreted_kernels.py")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", str(tests)],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        cwd=tests.parents[3],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert re.search(r"^1[0-9] passed in", result.stdout, re.MULTILINE), result.stdout


def test_kernels_compile_to_ieee_arithmetic_for_a_gpu_that_is_not_here():
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from tdn_data.pipeline.flow.kernels_triton import PLANES, solve_kernel

    constants = {"MEDIAN": True, "EDGE": False, "SPARSE": False, "PLANES": PLANES, "BLOCK": 512}
    kinds = dict.fromkeys(("frames", "flow", "work"), "*fp32") | dict.fromkeys(("firsts", "seconds"), "*i64")
    kinds |= dict.fromkeys(("theta", "limit", "dual_step", "cubic", "error_limit"), "fp32") | {"steps": "*i32"}
    signature = {name: "constexpr" if name in constants else kinds.get(name, "i32") for name in solve_kernel.arg_names}
    source = ASTSource(fn=solve_kernel, signature=signature, constexprs=constants)
    options = {"num_warps": 8, "num_stages": 1, "enable_fp_fusion": False}
    code = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]
    assert "div.rn.f32" in code
    assert "sqrt.rn.f32" in code
    assert not re.search(r"div\.(full|approx)|sqrt\.approx", code)
    assert "bar.sync" in code


def sequence(num_frames: int, height: int, width: int) -> np.ndarray:
    """Frames of a texture that moves by (1, -1) pixels a frame."""
    noise = np.random.default_rng(0).normal(size=(height + num_frames, width + num_frames)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    offsets = range(num_frames)
    return np.stack([texture[k : k + height, num_frames - k : num_frames - k + width] for k in offsets])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_asking_for_a_gpu_where_there_is_none_is_an_input_error():
    frames = sequence(2, 20, 24)
    with pytest.raises(InputError, match="sees no GPU"):
        optical_flow(frames[:1], frames[1:], device="cuda")
    assert optical_flow(frames[:1], frames[1:], device="auto").shape == (1, 20, 24, 2)


# on a GPU


@needs_gpu
@pytest.mark.parametrize("preset", ["opencv", "opencv-cuda"])
def test_gpu_gives_the_cpu_kernels_flow(preset):
    frames = sequence(6, 120, 160)
    gpu = optical_flow(frames[:-1], frames[1:], device="cuda", preset=preset)
    cpu = optical_flow(frames[:-1], frames[1:], device="cpu", preset=preset)
    assert end_point_error(gpu, cpu).mean <= 0.02
    assert np.mean(quantize(gpu, 20) == quantize(cpu, 20)) >= 0.97


@needs_gpu
def test_gpu_streams_and_discretises():
    frames = sequence(7, 64, 64)
    flow = optical_flow(frames[:-1], frames[1:], device="cuda")
    assert np.array_equal(list(iter_flow(frames, device="cuda", batch_size=4)), flow)
    assert np.array_equal(quantized_flow(frames[:-1], frames[1:], bound=20, device="cuda"), quantize(flow, 20))
