"""What somebody calls who writes a program of their own says what it takes and raises, and shows an example."""

from __future__ import annotations

import importlib

import pytest

FOR_USERS = (
    "tdn_data.models.networks.build_model",
    "tdn_data.models.backbones.build_backbone",
    "tdn_data.models.weights.checkpoint.load_weights",
    "tdn_data.models.weights.checkpoint.read_checkpoint",
    "tdn_data.models.clips.dataset.ClipDataset",
    "tdn_data.models.evaluation.predict.Predictor",
    "tdn_data.models.evaluation.evaluate.evaluate",
)


@pytest.mark.parametrize("name", FOR_USERS)
def test_arguments_errors_and_an_example_are_written_down(name):
    module, _, function = name.rpartition(".")
    text = getattr(importlib.import_module(module), function).__doc__
    assert all(section in text for section in ("\n    Args:\n", "\n    Raises:\n", "\n    Example:\n        >>> "))
