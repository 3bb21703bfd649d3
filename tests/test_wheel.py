"""What is published: the wheel, built from a copy of the project and installed where nothing else is."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = ("pipeline", "models", "stages", "benchmarks", "pyproject.toml", "README.md", "LICENSE")


def run(*command):
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source, copy = PROJECT / name, folder / "project" / name
        copy.parent.mkdir(exist_ok=True)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, copy, ignore=ignore) if source.is_dir() else shutil.copy(source, copy)
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(folder / "project"))
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_holds_one_name_and_every_file_of_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"tdn_data"}
    here = {
        f"tdn_data/{path.relative_to(PROJECT).as_posix()}"
        for top in ("pipeline", "models", "stages", "benchmarks")
        for path in (PROJECT / top).rglob("*")
        if path.suffix in (".py", ".j2", ".css", ".js", ".svg") or path.name == "py.typed"
    }
    assert {name for name in names if name.startswith("tdn_data/")} == here


def test_it_puts_nothing_else_into_a_fresh_environment(wheel, tmp_path):
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    python = str(tmp_path / "venv/bin/python")
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    before = {path.name for path in site.iterdir()} | {path.name for path in (tmp_path / "venv/bin").iterdir()}
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", str(wheel))
    after = {path.name for path in site.iterdir()} | {path.name for path in (tmp_path / "venv/bin").iterdir()}
    assert {name for name in after - before if not name.endswith(".dist-info")} == {"tdn_data", "tdn-data"}
    assert run(python, "-c", "import tdn_data.pipeline as pipeline; print(pipeline.__version__)").strip()


@pytest.fixture(scope="module")
def typed(wheel, tmp_path_factory):
    """A Python that has the wheel, and sees what is installed here beside it."""
    folder = tmp_path_factory.mktemp("typed")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
    python = str(folder / "venv/bin/python")
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    zipfile.ZipFile(wheel).extractall(site)
    (site / "beside.pth").write_text(sysconfig.get_path("purelib"))
    return python


def test_the_annotations_of_public_interfaces_hold_in_the_installed_wheel(typed, tmp_path):
    options = ("--strict", "--disable-error-code=type-arg", "--cache-dir", str(tmp_path), "--python-executable", typed)
    command = [sys.executable, "-m", "mypy", *options, str(PROJECT / "tests/public_interface.py")]
    ended = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
    assert ended.stdout.startswith("Success"), ended.stdout + ended.stderr
