"""The kernels' parts, each against the plain statement of what it computes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdn_data.pipeline.flow import reference
from tdn_data.pipeline.flow.tvl1_parameters import PRESETS

numba = pytest.importorskip("numba")

from tdn_data.pipeline.flow import intrinsics, kernels_cpu, linearize_cpu, median_cpu, planes_cpu  # noqa: E402  (needs numba)
from tdn_data.pipeline.flow.intrinsics import _code_digest  # noqa: E402


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (5, 5), (33, 47), (40, 16), (17, 352)])
def test_median_is_opencvs(shape):
    plane = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    flat = plane.ravel().copy()
    scratch = np.zeros(median_cpu.median_scratch_size(*shape), np.float32)
    median_cpu.median5(flat, 0, shape[1], *shape, scratch)
    assert np.array_equal(flat.reshape(shape), cv2.medianBlur(plane, 5))


def test_median_of_the_reference_is_opencvs():
    plane = np.random.default_rng(0).normal(size=(20, 23)).astype(np.float32)
    assert np.array_equal(reference.median5(plane), cv2.medianBlur(plane, 5))


def test_median_of_equal_values_and_ties():
    plane = np.random.default_rng(0).integers(0, 3, (30, 30)).astype(np.float32)
    flat = plane.ravel().copy()
    median_cpu.median5(flat, 0, 30, 30, 30, np.zeros(median_cpu.median_scratch_size(30, 30), np.float32))
    assert np.array_equal(flat.reshape(30, 30), cv2.medianBlur(plane, 5))


@pytest.mark.parametrize("scale", [1e3, 1.0, 1e-3, 1e-7])
def test_length_is_correctly_rounded(scale):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=20_000) * scale).astype(np.float32), (rng.normal(size=20_000) * scale).astype(np.float32)
    lengths = np.array([kernels_cpu._length(*pair) for pair in zip(x, y, strict=True)], np.float32)
    assert np.array_equal(lengths, np.hypot(x.astype(np.float64), y).astype(np.float32))


def test_length_of_nothing_vanishes():
    assert 0 <= kernels_cpu._length(np.float32(0), np.float32(0)) < 1e-14


def test_sampling_is_opencvs_remap_also_outside_the_image():
    rng = np.random.default_rng(0)
    height, width = 37, 53
    image = (255 * rng.random((height, width))).astype(np.float32)
    u, v = (6 * rng.normal(size=(2, height, width))).astype(np.float32)
    u[0, :4], v[:4, 0] = (-1e-9, 1e6, -1e6, 0.5), (-1e-9, 1e6, -1e6, 0.5)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    sampled = cv2.remap(image, x + u, y + v, cv2.INTER_CUBIC)
    assert np.allclose(reference.warp(image, u, v, PRESETS["opencv"]), sampled, atol=1e-3)
    assert np.allclose(_sampled_by_kernel(image, u, v), sampled, atol=1e-3)


def _sampled_by_kernel(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return what the kernels see of `image` at (x + u, y + v): rho + grad u is that, where the first image is zero."""
    height, width = image.shape
    state, padded, scratch, shifts = planes_cpu.workspace(height, width)
    linearize_cpu.lay_out(image, padded, False)
    planes_cpu.load_flow(u, v, state)
    first = np.zeros((height, width), np.float32)
    linearize_cpu.linearize(first, height, width, padded, state, scratch, shifts, np.float32(-0.75))
    plane = (width + 15) // 16 * 16 + 16
    planes = state[: (height + 2) * 10 * plane].reshape(height + 2, 10, plane)[1:-1, :, 16 : 16 + width]
    grad_x, grad_y, rho = (planes[:, number].astype(np.float64) for number in (6, 7, 8))
    far = np.hypot(u, v) > 1e5  # there the sum would lose all digits; nothing is sampled there
    return np.where(far, 0, rho + grad_x * u + grad_y * v)


@pytest.mark.parametrize(
    ("size", "new_size", "step"), [(340, 272, 1.25), (272, 340, None), (41, 33, 1.25), (1, 3, None)]
)
def test_reference_resizes_as_opencv_does(size, new_size, step):
    image = (255 * np.random.default_rng(0).random((size, size))).astype(np.float32)
    shape = (new_size, new_size)
    ours = reference.resize(image, shape, step, PRESETS["opencv"])
    options = {"dsize": shape} if step is None else {"dsize": None, "fx": 1 / step, "fy": 1 / step}
    assert np.allclose(ours, cv2.resize(image, interpolation=cv2.INTER_LINEAR, **options), atol=1e-4)


def test_sparse_stopping_waits_as_many_steps_as_the_error_is_multiples_of_the_limit():
    stop = reference.stopping_test(PRESETS["opencv-cuda"], num_pixels=10_000)  # limit: 1.0
    errors = [9.0, 4.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    # step 1 sees 4.0; expected falls to 3, 2, 1 by step 4 and is below the limit from step 5 on
    assert [stop(step, error) for step, error in enumerate(errors)].index(True) == 7


def test_kernels_run_several_steps_only_far_from_stopping():
    assert kernels_cpu._steps_at_once(0, 1000.0, 1.0) == 1
    assert kernels_cpu._steps_at_once(9, 1000.0, 1.0) == kernels_cpu.MAX_STEPS_AT_ONCE
    assert kernels_cpu._steps_at_once(9, 4.0, 1.0) == 2
    assert kernels_cpu._steps_at_once(9, 1.5, 1.0) == 1


def test_the_inner_loops_are_vectorised():
    """A step must work on whole vectors: the alias scopes are what LLVM needs to be allowed to."""
    array, index, single = numba.float32[::1], numba.int64, numba.float32
    for kernel, signature in (
        (kernels_cpu._dual_row, (array, index, index, index, index, single)),
        (kernels_cpu._primal_row, (array, index, index, index, index, array, index, single, single)),
    ):
        compiled = numba.njit(nogil=True, error_model="numpy")(kernel.py_func)
        compiled.compile(signature)
        assembly = "\n".join(compiled.inspect_asm().values())
        assert re.search(r"v?divps|fdiv\s+v", assembly), kernel.__name__


def test_compiled_kernels_are_kept_apart_for_each_state_of_the_code(tmp_path):
    """Numba alone would go on with a kernel whose own file is as it was, whatever has changed in what it calls."""
    digest, code = _code_digest(), Path(intrinsics.__file__).parent
    assert f"kernels-{digest}" in kernels_cpu._primal_row.stats.cache_path
    same, other = tmp_path / "same", tmp_path / "other"
    for copy in (same, other):
        shutil.copytree(code, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "median_cpu.py").open("a") as file:
        file.write("\n")
    assert _code_digest(same) == digest != _code_digest(other)


@pytest.mark.slow
def test_a_processor_without_wide_vectors_or_fused_multiply_adds_gives_the_same_bytes(tmp_path):
    """The kernels hold no approximation of a processor's own: compiled for the plainest x86-64, they give the same."""
    program = (
        "import numpy as np, hashlib\n"
        "from tdn_data.pipeline.flow import optical_flow\n"
        "first = np.random.default_rng(0).integers(0, 256, (40, 53), dtype=np.uint8)\n"
        "for preset in ('opencv', 'fast'):\n"
        "    flow = optical_flow(first, np.roll(first, (1, 2), (0, 1)), preset=preset, device='cpu')\n"
        "    print(hashlib.sha256(flow.tobytes()).hexdigest())\n"
    )
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | changes, capture_output=True, text=True, check=True
        ).stdout
        for changes in ({}, plain)
    ]
    assert outputs[0] == outputs[1] and len(outputs[0].split()) == 2
