"""The versions of the libraries that decide a network's numbers."""

from __future__ import annotations

from importlib import metadata

LIBRARIES = ("torch", "numpy", "scikit-learn", "opencv-contrib-python-headless", "pyarrow")


def installed_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide a run's numbers, those that are installed."""
    return {name: metadata.version(name) for name in LIBRARIES if _is_installed(name)}


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
