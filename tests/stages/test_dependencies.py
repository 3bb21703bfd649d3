"""Each DVC stage depends on all code that it runs: what it imports is computed and compared with its `deps`."""

import ast
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
STAGES = {
    name: stage.get("do", stage) for name, stage in yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"].items()
}
ABOUT_WORDS = {
    "stages/cli/__init__.py",
    "stages/cli/console.py",
    "stages/cli/findings.py",
    "stages/cli/group.py",
    "stages/cli/progress.py",
    "stages/cli/training.py",
    "stages/params.py",
}  # what is said and accepted, no result


def file_of(module):
    """The file of one of the project's modules, None for any other name."""
    if not module.startswith("tdn_data."):
        return None
    base = PROJECT.joinpath(*module.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imported(path):
    """The project's modules that a file imports, wherever the statement stands, with their packages."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from filter(None, map(file_of, names))


def code_of(command):
    """The files of the project that a stage's command runs, but for `ABOUT_WORDS`."""
    found, waiting = set(), [file_of(command.split()[2])]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(PROJECT).as_posix()
        if name not in found | ABOUT_WORDS:
            found.add(name)
            waiting.extend(imported(path))
    return found


def covered(name, deps):
    return any(name == dep or name.startswith(f"{dep}/") for dep in deps)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_it_imports(stage):
    code = code_of(STAGES[stage]["cmd"]) - {"stages/__init__.py"}
    assert len(code) > 10
    assert [name for name in sorted(code) if not covered(name, STAGES[stage]["deps"])] == []


def test_all_files_that_stand_beside_the_code_are_in_its_folders():
    report = STAGES["report"]["deps"]
    templates = [
        path.relative_to(PROJECT).as_posix() for path in PROJECT.glob("*/**/*.j2") if ".venv" not in path.parts
    ]
    assert templates and all(covered(name, report) for name in templates)
