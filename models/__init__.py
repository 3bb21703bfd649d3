"""Everything that learns: networks by name, their weights, clips, training, evaluation, retrieval and the report.

The three names below are found when they are asked for: image sets and records are read without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tdn_data.models.networks import MODELS, build_model
    from tdn_data.models.weights.checkpoint import load_weights

_HOME = {"MODELS": "networks", "build_model": "networks", "load_weights": "weights.checkpoint"}
__all__ = ["MODELS", "build_model", "load_weights"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
