"""The examples in docstrings do what they say."""

import doctest
import importlib
import shutil
from pathlib import Path

import pytest

from tdn_data.pipeline.parameters import FrameParameters
from tests.models.evaluation.small import checkpoint_for, shards_of

PROJECT = Path(__file__).resolve().parents[1]
FILES = [
    path.relative_to(PROJECT)
    for top in ("pipeline", "models", "stages", "benchmarks")
    for path in sorted((PROJECT / top).rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.fixture(scope="module")
def project(clip_folder, tmp_path_factory):
    """A folder with what examples read: `shards` of ten clips, a network trained on them for no step, and a video."""
    folder = tmp_path_factory.mktemp("project")
    frames = FrameParameters(codec="png", fps=5, height=48, width=64)
    reader = shards_of(clip_folder, folder / "shards", frames=frames)
    (folder / "runs/tsn-rgb").mkdir(parents=True)
    checkpoint_for(reader, folder / "runs/tsn-rgb/checkpoint.pt")
    shutil.copy(clip_folder / "videos/clip 03.mp4", folder / "new.mp4")
    return folder


@pytest.mark.parametrize("file", FILES, ids=str)
def test_examples_run(file, project, monkeypatch):
    monkeypatch.chdir(project)
    module = importlib.import_module(".".join(("tdn_data", *file.with_suffix("").parts)).removesuffix(".__init__"))
    tried = doctest.testmod(module)
    assert tried.attempted and not tried.failed
