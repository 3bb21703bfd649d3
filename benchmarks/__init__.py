"""Ours against peers in one run on the machine at hand; RESULTS.md keeps the record.

Each module is a `Benchmark`, but `device`, a program that runs the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Times(Protocol):
    """What a benchmark measured: a frozen dataclass whose fields can be written as JSON."""

    versions: Mapping[str, str]  # of the libraries that took part: name -> version


class Benchmark(Protocol):
    """What each module of this package offers."""

    def run(self, *inputs: Any, num_rounds: int, **options: Any) -> Times:
        """Check that ours and its peers give the same, then time them in turn, `num_rounds` times.

        Raises InputError for files that cannot be read, ValueError for wrong options and where results differ.
        """

    def format_times(self, result: Times) -> str:
        """Return what `run` measured as lines of text: times, ratios, versions."""
