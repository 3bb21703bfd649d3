"""The house's rules on imports, read from the code and tried in a bare interpreter."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
LAYERS = ("pipeline", "models", "stages")  # each may import those before it
BARE = """
import importlib, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ImportError(name)

sys.meta_path.insert(0, Missing())
for name in {modules!r}:
    importlib.import_module(name)
"""


def sources():
    """Yield (file, name imported) for every import statement of the three layers, wherever it stands."""
    for layer in LAYERS:
        for path in sorted((PROJECT / layer).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in names:
                    yield path.relative_to(PROJECT).as_posix(), name


def importers_of(package):
    """Return the pipeline's files that import a package."""
    return {path for path, name in sources() if path.startswith("pipeline/") and name.partition(".")[0] == package}


def test_imports_run_one_way():
    for path, name in sources():
        own, other = path.partition("/")[0], name.partition(".")[0]
        if other in LAYERS:
            assert LAYERS.index(other) <= LAYERS.index(own), f"{path} imports {name}"


def test_av_ray_and_torch_stay_in_their_rooms():
    assert all(path.startswith("pipeline/video/") for path in importers_of("av"))
    assert importers_of("ray") == {"pipeline/extraction/workers.py"}
    assert all(path.startswith("pipeline/flow/") for path in importers_of("torch") | importers_of("triton"))


def networks():
    """The modules that define networks, and what counts and loads them."""
    data = ("clips", "flow_clips", "train", "evaluate", "report")  # these read shards
    return [
        ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for path in sorted((PROJECT / "models").rglob("*.py"))
        if path.stem not in (*data, "__init__")
    ]


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (["tdn_data.pipeline.flow"], ["av", "ray", "dvc", "click", "numba", "pyarrow", "pydantic", "lmdb", "rich"]),
        (["models", *networks()], ["av", "ray", "dvc", "click", "numba", "pyarrow", "pydantic", "lmdb", "rich"]),
        (
            ["tdn_data.models.clips.dataset", "tdn_data.models.training.train", "tdn_data.models.evaluation.evaluate"],
            ["av", "ray", "dvc", "click"],
        ),
    ],
)
def test_flow_and_networks_import_on_a_bare_gpu_machine(modules, absent):
    script = BARE.format(absent=absent, modules=modules)
    result = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, text=True, capture_output=True)
    assert result.returncode == 0, result.stderr


def test_importing_the_command_line_loads_nothing_heavy():
    heavy = ("torch", "ray", "av", "numba", "dvc")
    script = f"import tdn_data.stages.cli, sys; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, text=True, capture_output=True, check=True)
    assert result.stdout.strip() == "[]"
