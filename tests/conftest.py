"""What all tests share: where the real data lie, and a small rendered data set."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the real data are not here (no folder shared/{name} beside the project)")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real clips, broken files, lists and flow truth."""
    return _folder("data")


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """The folder with the expected logits of public networks."""
    return _folder("reference")
