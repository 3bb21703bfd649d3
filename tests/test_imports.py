"""The house's rules on imports, read from the code and tried in a bare interpreter."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
LAYERS = ("pipeline", "models", "benchmarks", "stages")  # each may import those before it
ROOMS = {  # the same inside a layer; a file at the top of a layer is the ground floor, which imports no room
    "pipeline": ("video", "flow", "datasets", "shards", "extraction", "view", "export"),
    "models": ("backbones", "networks", "weights", "clips", "training", "evaluation", "retrieval", "report", "claims"),
}
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
NOT_THERE = ["av", "ray", "dvc", "click", "numba", "pyarrow", "pydantic", "lmdb", "rich"]


def sources():
    """Yield (file, name imported) for every import statement of the project, wherever it stands."""
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


def modules_of(*rooms):
    """The names of all modules below some folders."""
    files = [path for room in rooms for path in sorted((PROJECT / room).rglob("*.py"))]
    names = [".".join(("tdn_data", *path.relative_to(PROJECT).with_suffix("").parts)) for path in files]
    return [name.removesuffix(".__init__") for name in names]


def test_imports_run_one_way():
    for path, name in sources():
        if name.startswith("tdn_data."):
            own, other = path.partition("/")[0], name.split(".")[1]
            assert LAYERS.index(other) <= LAYERS.index(own), f"{path} imports {name}"


@pytest.mark.parametrize("layer", ROOMS)
def test_rooms_import_only_rooms_below_them(layer):
    order = ROOMS[layer]
    assert {path.name for path in (PROJECT / layer).iterdir() if (path / "__init__.py").exists()} == set(order)
    for path, name in sources():
        parts, names = path.split("/"), name.split(".")
        if parts[0] == layer and path != f"{layer}/__init__.py" and names[:2] == ["tdn_data", layer] and len(names) > 2:
            own = order.index(parts[1]) if len(parts) > 2 else -1
            other = order.index(names[2]) if names[2] in order else -1
            assert other <= own, f"{path} imports {name}"


def test_nothing_is_imported_by_its_folders_name_alone():
    assert not [(path, name) for path, name in sources() if name.partition(".")[0] in LAYERS]


def test_av_ray_and_torch_stay_in_their_rooms():
    assert all(path.startswith("pipeline/video/") for path in importers_of("av"))
    assert importers_of("ray") == {"pipeline/cluster.py"}
    assert all(path.startswith("pipeline/flow/") for path in importers_of("torch") | importers_of("triton"))


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (["tdn_data.pipeline.flow"], NOT_THERE),
        (["tdn_data.models", *modules_of("models/backbones", "models/networks", "models/weights")], NOT_THERE),
        (modules_of("models/clips", "models/training", "models/evaluation"), ["av", "ray", "dvc", "click"]),
    ],
    ids=["flow", "networks", "learning"],
)
def test_flow_and_networks_import_on_a_bare_gpu_machine(modules, absent):
    script = BARE.format(absent=absent, modules=modules)
    result = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True)
    assert result.returncode == 0, result.stderr


def test_importing_the_command_line_loads_nothing_heavy():
    heavy = ("torch", "ray", "av", "numba", "dvc")
    script = f"import tdn_data.stages.cli, sys; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_package_is_installed():
    listed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(PROJECT) for layer in LAYERS for path in (PROJECT / layer).rglob("__init__.py")}
    assert sorted(listed) == sorted(".".join(("tdn_data", *folder.parts)) for folder in folders)
