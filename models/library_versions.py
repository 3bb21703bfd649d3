"""The versions of the libraries that decide a network's numbers."""

from __future__ import annotations

from tdn_data.pipeline import machine

LIBRARIES = ("torch", "numpy", "scikit-learn", "opencv-contrib-python-headless", "pyarrow")


def deciding_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide a run's numbers, those that are installed."""
    return machine.installed_versions(LIBRARIES)
