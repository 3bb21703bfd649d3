"""The scripts of examples/ run as their first lines say, on a rendered set."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tdn_data.pipeline.video import probe
from tdn_data.stages.cli import main

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with rendered clips, their shards, and a video."""
    folder = tmp_path_factory.mktemp("desk")
    few = [word for split in ("train", "val", "test") for word in (f"--{split}-per-class", "1")]
    render = ["demo", "--out", f"{folder}/clips", *few]
    extract = ["extract", "--dataset", "demo", "--root", f"{folder}/clips", "--out", f"{folder}/shards"]
    for words in (render, [*extract, "--fps", "10", "--size", "64x64", "--workers", "1"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
    next((folder / "clips").rglob("*.mp4")).rename(folder / "my.mp4")
    return folder


def typed(path, desk, *more):
    """Run a script with the words that its docstring has for it; return what it printed."""
    (line,) = re.findall(rf"^ *python examples/{path.name} (.*)$", path.read_text(), flags=re.M)
    ended = subprocess.run(
        [sys.executable, str(path), *shlex.split(line), *more], cwd=desk, text=True, capture_output=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_each_script_says_what_it_does_and_how_to_run_it():
    assert len(EXAMPLES) == 3
    for path in EXAMPLES:
        assert f"python examples/{path.name} " in path.read_text()


def test_shards_are_read_in_batches(desk):
    lines = typed(EXAMPLES[1], desk).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["(4,", "(4,"]
    assert "(4, 8, 3, 64, 64)" in lines[0] and "move_left" in " ".join(lines)


def test_the_flow_of_a_video_becomes_a_video(desk):
    printed = typed(EXAMPLES[0], desk, "--short-side", "64")
    fields = int(printed.split()[0])
    assert probe(desk / "flow.mp4").num_frames == fields > 5


def test_a_network_of_ones_own_learns(desk):
    *epochs, test = typed(EXAMPLES[2], desk).splitlines()
    losses = [float(line.rpartition(" ")[2]) for line in epochs]
    assert len(losses) == 20 and losses[-1] < losses[0] and test.endswith("of 8 videos right")
