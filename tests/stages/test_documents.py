"""Every command and every piece of Python in README.md and docs, typed as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from dvc.utils.hydra import apply_overrides

from tdn_data.models import build_model
from tdn_data.models.evaluation.evaluate import EvaluateConfig
from tdn_data.models.training.config import TrainConfig
from tdn_data.pipeline.flow import write_flo
from tdn_data.pipeline.video import write_video
from tdn_data.stages.cli import main
from tdn_data.stages.params import load_params

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
PROGRAMS = ("tdn-data", "dvc", "make", "pip", ".")
ABSENT = ("fcvid", "hmdb51", "holidays", "manifest.parquet")  # data sets that are not ours to give
NOT_HERE = {  # what no test types, word for word -> why
    "make repro": "the continuous integration runs it, with the installation and the whole pipeline",
    "make test": "that is this test suite",
    ". .venv/bin/activate": "it needs the installation of `make repro`",
    "pip install -c constraints.txt .": "the continuous integration installs, on a machine of its own",
    "tdn-data browse shards": "it answers until Ctrl-C; tests/pipeline/view/browse opens its pages",
    "tdn-data bench all": "it is for a GPU; tests/benchmarks runs it small",
    "tdn-data bench flow": "it measures for minutes; tests/benchmarks runs it small",
    "tdn-data bench networks": "it measures for minutes; tests/benchmarks runs it small",
    "tdn-data extract ... --plan": "words stand for arguments in it",
    "tdn-data demo --out clips": "800 clips; the pipeline's run renders a few",
}


NOT_INSTALLED = ("polars", "duckdb", "datasets", "webdataset")  # `make test-readers` installs them and runs this file


def code_of(page: Path) -> list[tuple[str, str]]:
    """Return a page's blocks of code: (language, text)."""
    return re.findall(r"^ *```(\w*)\n(.*?)^ *```", page.read_text(), flags=re.S | re.M)


def commands_of(page: Path) -> list[str]:
    """Return the commands of a page, in its blocks (indented ones, too) and in its lines, without comments."""
    text = re.sub(r"\\\n *", "", page.read_text())  # a line that goes on
    lines = "\n".join(block for _, block in code_of(page)).splitlines()
    lines += re.findall(r"^ {4,}(\S.*)", text, flags=re.M)
    plain = re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M)
    lines += re.findall(r"`([^`\n]+)`", plain)
    found = [" ".join(re.split(r"\s#\s|\s&&\s", one)[0].split()) for one in lines]
    return [one for one in found if one.split(" ")[0] in PROGRAMS and " " in one]


COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands_of(page)))


@pytest.fixture(scope="module")
def desk(project: Path) -> Path:
    """The project's folder with what a reader has at hand: two videos in a list, pictures, weights, finished shards."""
    generator = np.random.default_rng(0)
    texture = cv2.resize(generator.integers(0, 256, (12, 12, 3), np.uint8), (96, 96))
    for name in ("kitchen/a", "street/b"):
        path = project / "my_videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, np.stack([np.roll(texture, step, 1) for step in range(5)]), fps=5)
    readme = (PROJECT / "README.md").read_text()
    (listed,) = (block for _, block in code_of(PROJECT / "README.md") if block.startswith("path,split,labels"))
    assert listed in readme
    (project / "my_videos/videos.csv").write_text(listed)
    for name, step in (("a", 0), ("b", 2)):
        cv2.imwrite(str(project / f"{name}.png"), np.roll(texture, step, 1))
    write_flo(project / "truth.flo", np.full((96, 96, 2), (2, 0), np.float32))
    weights = build_model("tdn_wang", num_classes=174, num_segments=8).state_dict()
    torch.save(weights, project / "TDN_SomethingV1_8.pth")
    for number in (1, 2, 3):
        folder = project / f"runs-split{number}/tsn-rgb"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(f'{{"top1": 0.5, "mAP": 0.5, "list_split": {number}}}')
        (folder / "average_precision.csv").write_text("class,average_precision,accuracy\nrun,0.5,0.5\n")
    return project


def type_in(folder: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Type a command of `tdn-data` in a folder; return its exit code and what it printed."""
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(main, shlex.split(command)[1:], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.output


def is_absent(command: str) -> bool:
    """Return whether a command reads one of the public data sets, or what was made of it."""
    return any(word.endswith(ABSENT) for word in shlex.split(command))


def test_the_pages_hold_the_commands_that_are_known_of_them() -> None:
    assert len(COMMANDS) >= 25
    assert {"dvc plots show", "tdn-data status shards", "tdn-data datasets"} <= set(COMMANDS)
    assert set(NOT_HERE) <= set(COMMANDS)  # a reason for what no page says any more goes, too


OURS = [one for one in COMMANDS if one.startswith("tdn-data") and one not in NOT_HERE]


def test_commands_of_the_pages_run_one_after_the_other(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (one for one in OURS if not is_absent(one)):
        code, printed = type_in(desk, command, monkeypatch)
        assert code == 0, f"{command}\n{printed}"
    for made in ("sheet.png", "flow.png", "flow.flo", "shards/ledger.parquet"):
        assert (desk / made).stat().st_size > 0


@pytest.mark.parametrize("command", [one for one in OURS if is_absent(one)])
def test_a_command_for_a_data_set_that_is_not_here_ends_in_a_sentence_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    code, printed = type_in(tmp_path, command, monkeypatch)
    assert code == 2 and "No such option" not in printed and "Usage" not in printed
    assert re.search("does not exist|is missing|no folder|not a folder|cannot be|needs", printed), printed


OF_DVC = [one for one in COMMANDS if one.startswith("dvc ")]


@pytest.mark.parametrize("command", [one for one in OF_DVC if not one.startswith("dvc exp run")])
def test_commands_of_dvc_run(desk: Path, run, command: str) -> None:
    assert "ERROR" not in run(desk, *shlex.split(command))  # which asserts the exit code, too


@pytest.mark.parametrize("command", [one for one in OF_DVC if one.startswith("dvc exp run")])
def test_experiments_set_parameters_that_there_are_and_name_stages(tmp_path: Path, command: str) -> None:
    # test_pipeline runs experiments whole; here it is what DVC does first with the words of each
    words = shlex.split(command.replace("$k", "1"))[3:]
    values = [words[place + 1] for place, word in enumerate(words) if word == "-S"]
    stages = [word for place, word in enumerate(words) if word != "-S" and words[place - 1 :][:1] != ["-S"]]
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    apply_overrides(tmp_path / "params.yaml", values)  # raises for a key that is not there
    assert load_params(tmp_path / "params.yaml") != load_params(PROJECT / "params.yaml")
    assert set(stages) <= set(yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"])


@pytest.mark.parametrize("number", range(sum(kind == "python" for page in PAGES for kind, _ in code_of(page))))
def test_python_of_the_pages_runs(desk: Path, tmp_path: Path, number: int) -> None:
    code = [text for page in PAGES for kind, text in code_of(page) if kind == "python"][number]
    caches = {"TORCH_HOME": str(tmp_path), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    nobody = {"https_proxy": "http://127.0.0.1:1", **caches}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=desk, env=dict(PATH="/usr/bin:/bin", **nobody), text=True, capture_output=True
    )
    absent = re.search(rf"No module named '({'|'.join(NOT_INSTALLED)})'", result.stderr)
    if absent:
        pytest.skip(f"{absent[1]} is not installed here")
    if '"imagenet"' in code:  # its last line needs the internet, and says so
        assert "resnet50-0676ba61.pth cannot be downloaded" in result.stderr, result.stderr
    else:
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("section", "config"), [("train", TrainConfig), ("test", EvaluateConfig)])
def test_every_key_stands_in_the_parameters_so_that_it_can_be_set_by_its_name(section: str, config: type) -> None:
    written = yaml.safe_load((PROJECT / "params.yaml").read_text())["defaults"][section]
    assert written.keys() == {field.name for field in fields(config)}
