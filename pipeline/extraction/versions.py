"""What made a video's rows: the code of this project and the libraries that decode, compute and encode them.

The code is found by following imports from one module a modality, so that a new module cannot be forgotten. Comments,
docstrings and formatting do not count: what is hashed is the syntax tree without them. Two machines with the same code
and the same libraries have the same versions, and a shard says the same on both.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from tdn_data.pipeline.machine import installed_version

PACKAGE = Path(__file__).parents[1]
PREFIX = "tdn_data.pipeline"
ENTRIES = {"rgb": "tdn_data.pipeline.extraction.rows.frames", "flow": "tdn_data.pipeline.extraction.rows.flow"}
LIBRARIES = {
    "rgb": ("av", "numpy", "opencv"),
    "flow": ("av", "llvmlite", "numba", "numpy", "opencv"),
}
OPENCV_BUILDS = ("opencv-contrib-python-headless", "opencv-contrib-python", "opencv-python-headless", "opencv-python")
UNKNOWN = "made before versions were kept"


@dataclass(frozen=True)
class RowVersions:
    """The digest of the code, and name -> version of the libraries, that decide the rows of one modality."""

    code: str
    libraries: Mapping[str, str]

    @property
    def digest(self) -> str:
        """A short digest of all of it, which each ledger row keeps."""
        return _digest(json.dumps(asdict(self), sort_keys=True))

    def as_dict(self) -> dict[str, object]:
        """Return it as plain data, as a shard keeps it."""
        return {"code": self.code, "libraries": dict(self.libraries)}


@lru_cache(maxsize=2)
def row_versions(modality: str) -> RowVersions:
    """Return the versions of this installation for one modality's rows."""
    return RowVersions(code_digest(modality), _library_versions(modality))


def version_changes(old: Mapping[str, object] | None, new: RowVersions) -> str:
    """Return what differs between a shard's versions and today's in words, e.g. `code, numba 0.60 -> 0.61`."""
    if old is None:
        return UNKNOWN
    words = ["the code"] if old.get("code") != new.code else []
    before = old.get("libraries") or {}
    for name in sorted({*before, *new.libraries}):
        if before.get(name) != new.libraries.get(name):
            words.append(f"{name} {before.get(name, 'none')} -> {new.libraries.get(name, 'none')}")
    return ", ".join(words)


def _library_versions(modality: str) -> dict[str, str]:
    from tdn_data.pipeline.video.libraries import ffmpeg_versions

    found = ffmpeg_versions()
    for name in LIBRARIES[modality]:
        builds = OPENCV_BUILDS if name == "opencv" else (name,)
        versions = [version for build in builds if (version := installed_version(build)) is not None]
        if versions:
            found[name] = versions[0]
    return dict(sorted(found.items()))


def code_digest(modality: str, package: Path = PACKAGE) -> str:
    """Return a digest of the code of all modules that `row_modules` finds."""
    modules = row_modules(modality, package)
    return _digest(json.dumps({name: code_words(path) for name, path in modules.items()}, sort_keys=True))


def row_modules(modality: str, package: Path = PACKAGE) -> dict[str, Path]:
    """Return name -> file of the modules of this package that a modality's entry imports, at any depth.

    Only what imports name counts: `from pipeline.flow.quantize import ...` does not bring in `pipeline.flow`, whose
    names it does not use; importing a module does nothing in this project.
    """
    found: dict[str, Path] = {}
    waiting = [ENTRIES[modality]]
    while waiting:
        name = waiting.pop()
        path = _module_file(name, package)
        if path is not None and name not in found:
            found[name] = path
            waiting.extend(imported_modules(path, package))
    return dict(sorted(found.items()))


def imported_modules(path: Path, package: Path = PACKAGE) -> Iterator[str]:
    """Yield the modules of the package that a file names in its import statements, wherever they stand."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _module_file(alias.name, package))
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in inner if _module_file(name, package)]
            yield from modules
            if len(modules) < len(inner) and _module_file(node.module, package):
                yield node.module


def _module_file(name: str, package: Path) -> Path | None:
    """Return the file of a module of the package, None for any other name."""
    if name != PREFIX and not name.startswith(f"{PREFIX}."):
        return None
    base = package.joinpath(*name.removeprefix(PREFIX).split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def code_words(path: Path) -> str:
    """Return a file's code as one text that comments, docstrings and formatting do not change."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = node.body[ast.get_docstring(node, clean=False) is not None :]
    return _dump(tree)


def _dump(node: object) -> str:
    """Return a syntax tree as text, without fields that are empty: newer Pythons have more of those."""
    if isinstance(node, ast.AST):
        fields = [f"{name}={_dump(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])]
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    return repr(node)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
