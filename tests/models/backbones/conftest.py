"""The expected names, shapes and logits of public networks."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from torch import Tensor


@dataclass(frozen=True)
class Reference:
    """`shapes`: network -> parameter name -> shape; `golden`: network -> first logits and cost; `fill`: the filler."""

    shapes: dict[str, dict[str, list[int]]]
    golden: dict[str, dict]
    fill: ModuleType

    def weights(self, network: str) -> dict[str, Tensor]:
        """The reproducible weights that `golden` was computed with."""
        return self.fill.filled_state_dict(self.shapes[network])

    def images(self) -> Tensor:
        """The two images that `golden` was computed on."""
        return self.fill.test_input(11, (2, 3, 224, 224))


@pytest.fixture(scope="session")
def reference(shared_reference: Path) -> Reference:
    """The public networks' names, shapes and logits."""
    spec = importlib.util.spec_from_file_location("fill", shared_reference / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    shapes, golden = (
        json.loads((shared_reference / f"{name}.json").read_text()) for name in ("state_dict_shapes", "golden")
    )
    return Reference(shapes, golden, fill)
