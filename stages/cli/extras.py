"""Which part of an installation brings which package: what `pyproject.toml` names, for messages and for `doctor`."""

from __future__ import annotations

EXTRAS = {  # package that is imported -> (extra of tdn-data that brings it, what it is for)
    "ray": ("cluster", "extraction on all cores and on clusters"),
    "torch": ("train", "networks, and flow on a GPU"),
    "sklearn": ("train", "metrics and image retrieval"),
    "dvc": ("pipeline", "dvc repro"),
    "dvclive": ("pipeline", "curves while a network trains"),
    "tensorboardX": ("tensorboard", "curves for TensorBoard"),
}
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where pip calls it otherwise


def missing_package(error: ImportError) -> str | None:
    """Return a sentence that says how to get the package that an import did not find; None for one of no extra."""
    package = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package not in EXTRAS:
        return None
    extra, purpose = EXTRAS[package]
    name = DISTRIBUTIONS.get(package, package)
    return f"this needs {name} ({purpose}), which is not installed: {pip_line(extra)}."


def pip_line(extra: str) -> str:
    """Return what to type for an extra."""
    return f"pip install 'tdn-data[{extra}]'"
