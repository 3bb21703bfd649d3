"""Every benchmark offers what the package says that it does."""

import importlib
import pkgutil
from dataclasses import fields, is_dataclass
from inspect import signature
from typing import get_type_hints

import pytest

import tdn_data.benchmarks as package

PROGRAMS = {"device"}  # that run the others
BENCHMARKS = {module.name for module in pkgutil.iter_modules(package.__path__)} - PROGRAMS


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_a_benchmark_runs_in_rounds_and_formats_what_it_returns(name):
    benchmark = importlib.import_module(f"tdn_data.benchmarks.{name}")
    times = get_type_hints(benchmark.run)["return"]
    assert signature(benchmark.run).parameters["num_rounds"].kind.name == "KEYWORD_ONLY"
    assert is_dataclass(times) and "versions" in {field.name for field in fields(times)}
    assert get_type_hints(benchmark.format_times) == {"result": times, "return": str}
