"""A copy of the project after its first run, which several modules of tests go on from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
CODE = ("pipeline", "models", "stages", "benchmarks")
NAME = {"NAME": "t", "EMAIL": "t@example.org"}
ENVIRONMENT = (
    os.environ
    | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    | {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in NAME.items()}
)


def run_in(folder: Path, *command: str, code: int = 0) -> str:
    """Run a command in a copy of the project, with the copy's own code; return what it printed on both streams."""
    environment = ENVIRONMENT | {"PYTHONPATH": str(installed(folder))}
    result = subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert result.returncode == code, result.stdout
    return result.stdout


def installed(project: Path) -> Path:
    """Return a folder that puts a copy of the project on Python's path as `tdn_data`, before the installed one."""
    package = project.parent / f"{project.name}.path" / "tdn_data"
    package.mkdir(parents=True, exist_ok=True)
    for name in CODE:
        if not (package / name).exists():
            (package / name).symlink_to(project / name)
    return package.parent


@pytest.fixture(scope="session")
def run():
    """The function `run_in`."""
    return run_in


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project under git with a tiny demo, after its first `dvc repro`; not to be changed."""
    folder = tmp_path_factory.mktemp("first") / "project"
    folder.mkdir()
    for name in (*CODE, "fusions", ".dvc", "dvc.yaml", ".dvcignore", ".gitignore", "params.yaml"):
        source = PROJECT / name
        ignore = shutil.ignore_patterns("__pycache__", "tmp", "cache")
        shutil.copytree(source, folder / name, ignore=ignore) if source.is_dir() else shutil.copy(source, folder / name)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["demos"]["demo"] |= {"train_per_class": 2, "val_per_class": 1, "test_per_class": 1}
    params["defaults"]["train"] |= {"epochs": 1, "batch_size": 8}
    for name in ("tdn-rgb", "tdn-flow"):
        params["runs"][name]["train"] = {}  # an epoch has no share that could be fixed
    params["defaults"]["test"] |= {"num_clips": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    run_in(folder, "git", "init", "-q")
    run_in(folder, "git", "add", ".")
    run_in(folder, "git", "commit", "-qm", "start")
    run_in(folder, "dvc", "repro")
    run_in(folder, "git", "add", ".")
    run_in(folder, "git", "commit", "-qm", "first results")
    return folder


@pytest.fixture(scope="module")
def project(first_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `first_run` that one module of tests may change."""
    return Path(shutil.copytree(first_run, tmp_path_factory.mktemp("copy") / "project", symlinks=True))
