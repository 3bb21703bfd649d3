"""What this machine is and has: its processor, its memory and disks, the libraries that are installed."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")


def processor() -> str:
    """Return the processor's name, e.g. `AMD EPYC 9R14`."""
    named = _cpu_lines("model name")
    return named[0] if named else platform.processor() or platform.machine()


def instruction_sets() -> tuple[str, ...]:
    """Return which of the wide instruction sets that kernels ask for this processor has, e.g. ("avx2", "avx512f")."""
    flags = set(next(iter(_cpu_lines("flags")), "").split())
    return tuple(name for name in ("avx", "avx2", "fma", "avx512f", "amx_tile") if name in flags)


def usable_cores() -> int:
    """Return how many cores this process may use; a container often has fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Return name -> version of those distributions that are installed, in the order of `names`."""
    found = {name: installed_version(name) for name in names}
    return {name: version for name, version in found.items() if version is not None}


def installed_version(name: str) -> str | None:
    """Return the version of one distribution, None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def free_bytes(folder: Path | str) -> int | None:
    """Return how many bytes can still be written below a folder, None where that cannot be known."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def available_memory() -> int:
    """Return how many bytes of memory programs can still have."""
    import psutil  # not above: benchmarks run on machines that have torch and OpenCV alone

    return psutil.virtual_memory().available


def _cpu_lines(key: str) -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [value.strip() for line in lines for name, _, value in [line.partition(":")] if name.strip() == key]
