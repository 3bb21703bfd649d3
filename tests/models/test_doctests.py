"""The examples in the docstrings of everything that learns give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import tdn_data.models

NAMES = [module.name for module in pkgutil.walk_packages(tdn_data.models.__path__, "tdn_data.models.")]
WITH_EXAMPLES = [
    name for name in NAMES if any(test.examples for test in doctest.DocTestFinder().find(importlib.import_module(name)))
]
FOR_USERS = (  # what somebody calls who writes a program of their own
    "tdn_data.models.networks.build_model",
    "tdn_data.models.backbones.build_backbone",
    "tdn_data.models.weights.checkpoint.load_weights",
    "tdn_data.models.weights.checkpoint.read_checkpoint",
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_give_what_they_say(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed


@pytest.mark.parametrize("name", FOR_USERS)
def test_what_users_call_has_arguments_errors_and_an_example(name):
    module, _, function = name.rpartition(".")
    text = getattr(importlib.import_module(module), function).__doc__
    assert all(section in text for section in ("\n    Args:\n", "\n    Raises:\n", "\n    Example:\n        >>> "))
