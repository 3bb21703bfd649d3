"""What `make test-avx2` sets takes effect: every library computes as on a processor without AVX-512."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="AVX2 is x86-64's")

REPORT = """
import cv2, numba, numpy as np, pyarrow, torch
from numpy._core._multiarray_umath import __cpu_features__ as numpy_features

@numba.njit(fastmath=True)
def total(values):
    result = 0.0
    for value in values:
        result += value
    return result

total(np.ones(64))
torch.set_num_threads(1)
torch.nn.functional.conv2d(torch.randn(8, 16, 28, 28), torch.randn(16, 16, 3, 3))  # large enough for oneDNN
print("torch", torch.backends.cpu.get_cpu_capability())
print("numba zmm", any("zmm" in code for code in total.inspect_asm().values()))
# 13 and 256: CPU_AVX_512F and CPU_AVX512_SKX of opencv2/core/cvdef.h
print("opencv", *(cv2.checkHardwareSupport(feature) for feature in (13, 256)))
print("numpy", numpy_features.get("X86_V4", False))  # what its loops are chosen by
print("arrow", "512" in pyarrow.runtime_info().simd_level)
"""


def test_no_library_uses_avx512(avx2_variables):
    variables = avx2_variables | {"ONEDNN_VERBOSE": "2"}
    environment = os.environ | variables
    done = subprocess.run(
        [sys.executable, "-c", REPORT], env=environment, check=True, capture_output=True, text=True, timeout=300
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("onednn_verbose")]
    assert lines == ["torch AVX2", "numba zmm False", "opencv False False", "numpy False", "arrow False"]
    one_dnn = [line for line in done.stdout.splitlines() if line.startswith("onednn_verbose")]
    assert any("isa:Intel AVX2" in line for line in one_dnn)
    assert not any("avx512" in line for line in one_dnn)
