"""Every part of the GPU's benchmark runs in tiny form, on a processor and without what a bare machine lacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
ABSENT = ("av", "ray", "dvc", "click", "pyarrow", "pydantic", "lmdb", "rich")
MISSING = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ImportError(name)

sys.meta_path.insert(0, Missing())
"""


def test_every_part_runs_where_only_torch_numpy_and_opencv_are(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(MISSING.format(absent=ABSENT))
    script = PROJECT / "benchmarks/gpu.sh"
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(tmp_path)}
    words = [script, "--device", "cpu", "--quick", "--out", tmp_path / "gpu.json"]
    result = subprocess.run(words, env=environment, text=True, capture_output=True)
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert list(found["parts"]) == ["flow", "networks float32", "networks bfloat16", "training"]
    steps = found["parts"]["training"]["steps"]
    assert [(one["network"], one["way"]) for one in steps] == [
        (name, way) for name in ("tsn", "tdn") for way in ("float32", "bf16")
    ]
    assert all(one["steps_per_second"] > 0 for one in steps)
