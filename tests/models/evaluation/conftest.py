"""What several tests of tests start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.evaluation.small import write_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The file of an untrained network for the coloured videos."""
    return write_checkpoint(tmp_path)
