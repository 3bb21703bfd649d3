"""The stages as `python -m tdn_data.stages.<name>` runs them, in the hands of somebody who does not know them."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
STAGES = {
    "demo": "NAME",
    "index": "",
    "extract": "MODALITY",
    "train": "NAME",
    "evaluate": "NAME",
    "fuse": "NAME",
    "report": "",
    "results": "",
}


@pytest.fixture
def stage(tmp_path, monkeypatch, capsys):
    """A function that runs a stage in a folder with params.yaml alone; gives exit code, stdout and stderr."""
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *words])
        monkeypatch.delitem(sys.modules, f"tdn_data.stages.{name}", raising=False)
        with pytest.raises(SystemExit) as left:
            runpy.run_module(f"tdn_data.stages.{name}", run_name="__main__", alter_sys=True)
        return left.value.code, *capsys.readouterr()

    return run


def said(stderr):
    return " ".join(stderr.split())


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_says_how_it_is_run(stage, name):
    usage = f"python -m tdn_data.stages.{name} {STAGES[name]}".strip()
    code, _, stderr = stage(name, *["word"] * 3)
    assert code == 2 and f"error: this stage is run as `{usage}`; 3 words came after its name." in said(stderr)
    code, stdout, _ = stage(name, "--help")
    assert code == 0 and stdout.startswith(usage)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("extract", [], "`python -m tdn_data.stages.extract MODALITY`; 0 words came after its name"),
        ("extract", ["depth"], "modality is 'depth'; it must be one of rgb, flow"),
        ("demo", ["other"], "demo is 'other'; it must be one of demo"),
        ("train", ["tsm-rgb"], "run is 'tsm-rgb'; it must be one of tsn-rgb, tsn-flow"),
        ("train", ["\0"], "it must be one of tsn-rgb, tsn-flow"),
        ("evaluate", ["../tsn"], "run is '../tsn'; it must be one of"),
        ("fuse", ["nan"], "fusion is 'nan'; it must be one of tsn-fused, tdn-fused"),
    ],
)
def test_a_word_that_a_stage_does_not_know_is_refused_with_those_that_it_knows(stage, name, words, message):
    code, _, stderr = stage(name, *words)
    assert code == 2 and message in said(stderr)
