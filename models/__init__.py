"""Everything that learns: networks by name, their weights, clips, training, evaluation, retrieval and the report."""

from __future__ import annotations

from tdn_data.models.networks import MODELS, build_model
from tdn_data.models.weights.checkpoint import load_weights

__all__ = ["MODELS", "build_model", "load_weights"]
