"""The examples in docstrings do what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
FILES = [
    path.relative_to(PROJECT)
    for top in ("pipeline", "models", "stages", "benchmarks")
    for path in sorted((PROJECT / top).rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_examples_run(file):
    module = importlib.import_module(".".join(("tdn_data", *file.with_suffix("").parts)).removesuffix(".__init__"))
    tried = doctest.testmod(module)
    assert tried.attempted and not tried.failed
