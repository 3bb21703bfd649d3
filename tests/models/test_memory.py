"""Freed memory is asked for again without being fetched from the system again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tdn_data.models.memory import keep_freed_memory

COUNT_FAULTS = """
import resource, sys
import torch
from tdn_data.models.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for number in range(60):
    if number == 40:  # until then the heap may still look for a place that fits
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB, 16,384 pages
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    """Count in a process of its own: the setting holds until a process ends."""
    run = subprocess.run([sys.executable, "-c", COUNT_FAULTS, mode], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
def test_memory_that_was_freed_is_not_fetched_again() -> None:
    assert page_faults("give back") > 19 * 16_000
    assert page_faults("keep") < 16_000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdn_data.models.memory.platform.libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
