"""How the process treats memory that torch has freed."""

from __future__ import annotations

import ctypes
import platform

# of glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep what is freed for the next allocation, for the rest of the process; tell whether that could be set.

    glibc gives large blocks back to the system at once, and a network asks for the same blocks again at its next
    layer: each of their pages is then fetched and zeroed again. On virtual machines, where that is slow, it takes a
    fifth to a third of a network's time on the CPU. The process keeps its largest size until it ends. Elsewhere than
    on Linux with glibc nothing is set. For programs, not for libraries: it holds for everything in the process.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))
