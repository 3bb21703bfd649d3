"""What works without the extras, and what the rest says; what the doctor finds."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdn_data.stages.cli import MODULES
from tdn_data.stages.cli.extras import DISTRIBUTIONS, EXTRAS

PROJECT = Path(__file__).resolve().parents[2]
LIGHT = f"""
import sys

class Light:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in {sorted(EXTRAS)!r}
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path = [Light(finder) for finder in sys.meta_path]
sys.argv[0] = "tdn-data"
from tdn_data.stages.start import main
main()
"""


def light(*words):
    """Run the program where no extra is installed; return its exit code, stdout and stderr."""
    command = [sys.executable, "-c", LIGHT, *map(str, words)]
    ended = subprocess.run(command, text=True, capture_output=True, timeout=120)
    return ended.returncode, ended.stdout, ended.stderr


def test_the_extras_named_in_messages_bring_what_is_missing():
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for package, (extra, _) in EXTRAS.items():
        names = {re.split(r"[\[>]", requirement)[0] for requirement in extras[extra]}
        assert DISTRIBUTIONS.get(package, package) in names, f"{extra} does not bring {package}"


def test_flow_and_indexing_need_no_extra(clip_folder, tmp_path):
    image, flow = tmp_path / "a.png", tmp_path / "flow.png"
    cv2.imwrite(str(image), np.full((40, 40, 3), 90, np.uint8))
    code, _, stderr = light("flow", image, image, "--method", "dis", "--out", flow)
    assert code == 0 and flow.exists(), stderr
    code, stdout, stderr = light("index", "--dataset", "folder", "--root", clip_folder, "--out", tmp_path / "m.parquet")
    assert "12 videos" in stdout, stderr


@pytest.mark.parametrize(("words", "extra"), [(["extract"], "cluster"), (["models"], "train")])
def test_what_needs_an_extra_names_it_and_begins_nothing(words, extra, clip_folder, tmp_path):
    if words == ["extract"]:
        words += ["--dataset", "folder", "--root", clip_folder, "--out", tmp_path / "shards"]
    code, stdout, stderr = light(*words)
    assert (code, stdout) == (2, ""), stderr
    assert f"pip install 'tdn-data[{extra}]'" in stderr.replace("\n", " ") and stderr.startswith("error: this needs")
    assert not (tmp_path / "shards").exists()


def test_every_command_explains_itself_without_any_extra():
    every = LIGHT.replace(
        "main()\n",
        "from tdn_data.stages.cli import MODULES, main as commands\n"
        "for name in MODULES:\n"
        "    commands([name, '--help'], standalone_mode=False)\n",
    )
    ended = subprocess.run([sys.executable, "-c", every], text=True, capture_output=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("Usage: ") == len(MODULES)


def test_the_doctor_says_what_is_missing_and_what_to_type():
    code, stdout, stderr = light("doctor", "--json")
    assert code == 0, stderr
    found = {one["name"]: one for one in json.loads(stdout)["diagnoses"]}
    assert found["ray"]["found"] == "not installed" and "tdn-data[cluster]" in found["ray"]["advice"]
    assert found["CPU kernels"]["found"].startswith("Numba for ") and "libavcodec" in found["PyAV with FFmpeg"]["found"]
